"""Messages between client and service, also those that an attacker would send."""

import json
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lablib.errors import TargetError, TracerError
from lablib.language import term
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


def test_an_error_crosses_in_english_and_is_said_in_the_readers_language(monkeypatch):
    error = TargetError(term("there is no process {pid}", pid=7), term("trace it again"))
    crossed = protocol.read_error(json.loads(json.dumps(protocol.describe_error(error))))
    assert type(crossed) is TargetError
    assert str(crossed) == str(error) == "there is no process 7; trace it again"
    monkeypatch.setenv("LAB_LANG", "zh")
    assert str(crossed) == "没有进程 7；请重新跟踪它"
    assert crossed.message == "there is no process 7"


@pytest.mark.parametrize(
    "described",
    [
        None,
        {"kind": "LabError", "message": "a"},
        {"kind": "say", "message": "a", "fix": ""},
        {"kind": 1, "message": "a", "fix": ""},
        {"kind": "LabError", "message": {"text": "a", "template": "{", "fields": {}}, "fix": ""},
    ],
)
def test_an_error_that_cant_be_read_is_one_too(described):
    with pytest.raises(TracerError, match="an error that can't be read"):
        raise protocol.read_error(described)
