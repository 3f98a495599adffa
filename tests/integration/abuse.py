"""Clients that abuse the tracer service: strangers, garblers, the silent and the suddenly dead.

All of it needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from lablib.tracing import protocol

ANSWER_TIMEOUT_S = 60.0
"""No answer takes longer, on however busy a machine: the service has hung."""

_LENGTHS = struct.Struct("!II")


def frame(request: Any, payload_bytes: int = 0) -> bytes:
    """Return a request as bytes; the payload itself is the caller's to add."""
    text = json.dumps(request).encode()
    return _LENGTHS.pack(len(text), payload_bytes) + text


@contextlib.contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Be another user for a while; a socket keeps the id that was effective when it connected."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def connect_as(uid: int) -> socket.socket:
    """Return a connection to the service, which takes it for one of user `uid`."""
    connection = socket.socket(socket.AF_UNIX)
    with as_user(uid):
        connection.connect(str(protocol.socket_path()))
    return connection


def read_refusal(answer: Any) -> str:
    """Return the sentence of a reply that is an error."""
    return protocol.read_error(answer["error"]).message


def converse(connection: socket.socket, data: bytes, replies: int | None = None) -> list[Any]:
    """Send `data` while reading; return the replies' headers: that many, or all until the end.

    With `replies` None it says that no more is coming once all is sent. Fewer come back where the
    service has ended the connection. Raises `AssertionError` when it does nothing at all.
    """
    connection.setblocking(False)
    pending, received = memoryview(data), bytearray()
    headers: list[Any] = []
    is_sending = True  # also where there is nothing to send: to say so
    while replies is None or len(headers) < replies:
        wants = [connection] if is_sending else []
        readable, writable, _ = select.select([connection], wants, [], ANSWER_TIMEOUT_S)
        assert readable or writable, f"no answer to {data[:1000]!r}"
        try:
            if writable:
                pending = pending[connection.send(pending) :]
                is_sending = bool(pending)
                if not is_sending and replies is None:
                    connection.shutdown(socket.SHUT_WR)
            if readable:
                chunk = connection.recv(1 << 20)
                if not chunk:
                    break
                received += chunk
                headers += _take_headers(received)
        except ConnectionResetError:
            break  # it has ended the connection with words of ours unread
        except BrokenPipeError:
            is_sending = False  # it listens no longer, but may have answered
    return headers


def _take_headers(received: bytearray) -> list[Any]:
    """Take the whole messages off the front of what was received, and return their headers."""
    headers = []
    while len(received) >= _LENGTHS.size:
        header_bytes, payload_bytes = _LENGTHS.unpack_from(received)
        end = _LENGTHS.size + header_bytes + payload_bytes
        if len(received) < end:
            break
        headers.append(json.loads(received[_LENGTHS.size : _LENGTHS.size + header_bytes]))
        del received[:end]
    return headers


_PUPPET = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from lablib.tracing import protocol
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[2])
print("connected", flush=True)
for line in sys.stdin:
    verb, _, word = line.strip().partition(" ")
    if verb == "send":
        connection.sendall(bytes.fromhex(word))
    elif verb == "read":
        connection.recv(int(word), socket.MSG_WAITALL)
    else:
        print(protocol.receive(connection, 1 << 30, 1 << 30)[0], flush=True)
    print("done", flush=True)
"""


class Puppet(contextlib.AbstractContextManager["Puppet"]):
    """A client in a process of its own that does one step at a time, until it is killed."""

    def __init__(self) -> None:
        """Start it, and have it connect."""
        root = Path(protocol.__file__).parents[2]
        command = [sys.executable, "-I", "-B", "-S", "-c", _PUPPET, root, protocol.socket_path()]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read_line() == "connected"

    def send(self, data: bytes) -> None:
        """Have it send bytes, and return when they are on their way."""
        self._do(f"send {data.hex()}")

    def read(self, size_bytes: int) -> None:
        """Have it read so many bytes of the answer and no more."""
        self._do(f"read {size_bytes}")

    def receive(self) -> str:
        """Have it read one whole reply, and return the header as text."""
        return self._do("receive")

    def kill(self) -> None:
        """SIGKILL: it has no chance to say goodbye."""
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()

    def __exit__(self, *_: object) -> None:
        """Killed, if it was not yet."""
        if self._process.poll() is None:
            self.kill()

    def _do(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        said = ""
        while (word := self._read_line()) != "done":
            assert word, "the client ended by itself"
            said += word
        return said

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


WORDS = sorted(
    {
        word
        for path in Path(protocol.__file__).parent.glob("*.py")
        for word in re.findall(r'"([a-z_]+)"', path.read_text())
    }
)
"""All plain words in the tracer's code: its operations, its options, and much that is neither."""

TRACING = ("trace_heap", "trace_memory")
OPERATIONS = (
    *("status", "stop_service", *TRACING, "trace_pressure", "run_memleak", "make_group"),
    *("snapshot", "open_window", "read", "take", "set_limit", "kill", "close"),
)

MAX_PID = 1 << 22
"""The kernel's own limit (PID_MAX_LIMIT): a number above it is no process's."""

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 100)
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
"""Everything that json.dumps writes, NaN and infinity among it."""

_options = st.dictionaries(st.sampled_from(WORDS), json_values, max_size=3)

_not_objects = (
    st.binary(max_size=100)
    | json_values.filter(lambda value: not isinstance(value, dict)).map(json.dumps).map(str.encode)
    | st.integers(1, protocol.MAX_REQUEST_BYTES).map(lambda depth: b"[" * depth)
    | st.integers(1, protocol.MAX_REQUEST_BYTES).map(lambda digits: b"9" * digits)
)

_lengths = st.integers(0, 300) | st.integers(0, (1 << 32) - 1)

broken_frames = (
    st.binary(max_size=300)
    | st.builds(
        lambda *parts: _LENGTHS.pack(*parts[:2]) + parts[2], _lengths, _lengths, _not_objects
    )
    | _not_objects.map(lambda text: _LENGTHS.pack(len(text), 0) + text)
)
"""Bytes that are no message: noise, false lengths, what is not JSON or not an object."""

session_messages = st.builds(
    lambda options, operation: frame({**options, "operation": operation}),
    _options,
    st.sampled_from(["snapshot", "open_window", "close_window"]),
)
"""Messages that a session answers and goes on, whatever else they say."""

session_endings = (
    frame({"operation": "stop"}),
    frame({"operation": "status"}),
    frame({"operation": "snapshot"}, payload_bytes=1),
    frame([]),
    b"\xff" * 8,
    _LENGTHS.pack(2, 0) + b"{]",
)
"""Messages that a session answers last."""


def openings(uid: int, pid_of_root: int) -> st.SearchStrategy[bytes]:
    """Return a strategy for what to begin a connection with that gets an error or the status.

    An ordinary user asks for all that only root may have. Root, which may do everything, does not
    end the service here, nor ask about a process that there is.
    """
    known = {
        "operation": st.sampled_from(OPERATIONS) | st.sampled_from(WORDS) | json_values,
        "pid": st.just(pid_of_root) | st.integers(min_value=MAX_PID + 1) | json_values,
    }
    own = st.fixed_dictionaries({}, optional=known)
    requests = st.builds(lambda options, own: {**options, **own}, _options, own)
    if uid == 0:
        return requests.filter(_is_harmless).map(frame) | broken_frames
    return requests.map(frame) | _misprinted(requests) | broken_frames


def trace_requests(pid: int) -> st.SearchStrategy[bytes]:
    """Return a strategy for requests to trace a process: whatever options, whatever unwind tables.

    A session that comes of it walks stacks by tables that lie.
    """
    word = st.sampled_from([0, 1, 1 << 32, 1 << 47, (1 << 64) - 1]) | st.integers(0, (1 << 64) - 1)
    tables = st.tuples(st.lists(word, max_size=15), st.lists(word, max_size=50))
    options = st.fixed_dictionaries(
        {},
        optional={
            "sample_bytes": st.integers(0, protocol.MAX_SAMPLE_BYTES),
            "max_blocks": st.integers(-1, 1 << 16),
            "max_stacks": st.integers(-1, 1 << 16),
            "max_faults": st.integers(-1, 1 << 16),
            "opens_window": st.booleans() | json_values,
            "follows_forks": st.just(False) | json_values,
        },
    )

    def write(
        operation: str, options: dict[str, Any], tables: tuple[list[int], list[int]]
    ) -> bytes:
        entry_words = (protocol.PAGE_KEY_BYTES + protocol.PAGE_BYTES) // 8
        pages = len(tables[0]) // entry_words
        words = tables[0][: pages * entry_words] + tables[1]
        payload = struct.pack(f"={len(words)}Q", *words)
        sizes = {"pages": pages, "rows": len(tables[1])}
        request = {**options, **sizes, "operation": operation, "pid": pid}
        return frame(request, len(payload)) + payload

    return st.builds(write, st.sampled_from(TRACING), options, tables)


def _is_harmless(request: dict[str, Any]) -> bool:
    operation, pid = request.get("operation"), request.get("pid")
    if operation in (*TRACING, "trace_pressure"):
        return type(pid) is not int or not 0 < pid <= MAX_PID
    return operation not in ("stop_service", "run_memleak")


def _misprinted(requests: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    """Return a strategy for framed requests with some bytes of them replaced."""

    def replace(request: dict[str, Any], place: float, by: bytes) -> bytes:
        data = frame(request)
        start = int(place * len(data))
        return data[:start] + by + data[start + len(by) :]

    return st.builds(replace, requests, st.floats(0, 1), st.binary(min_size=1, max_size=4))
