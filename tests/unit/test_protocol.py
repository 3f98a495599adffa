"""Messages between client and service, also those that an attacker would send."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lablib.errors import TracerError
from lablib.tracing import protocol


def pair_with(data: bytes):
    ours, theirs = socket.socketpair()
    theirs.sendall(data)
    theirs.close()
    return ours


def test_a_message_arrives_as_it_was_sent():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        protocol.send(theirs, {"stacks": 2}, b"\0\1" * 1000)
        assert protocol.receive(ours, 100, 5000) == ({"stacks": 2}, b"\0\1" * 1000)


def test_a_closed_connection_is_none():
    with pair_with(b"") as connection:
        assert protocol.receive(connection) is None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!II", 1 << 31, 0),
        struct.pack("!II", 2, 1) + b"{}x",
        struct.pack("!II", 100, 0) + b"{}",
        struct.pack("!II", 2, 0) + b"[]",
        struct.pack("!II", 3, 0) + b"\xff\xfe\xfd",
        b"\0\0",
    ],
    ids=["too long", "payload", "cut short", "no object", "no text", "half a length"],
)
def test_a_garbled_message_is_refused(data):
    with pair_with(data) as connection, pytest.raises(TracerError):
        protocol.receive(connection)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_otherwise(data):
    with pair_with(data) as connection:
        try:
            message = protocol.receive(connection)
        except TracerError:
            return
        assert message is None or isinstance(message[0], dict)
