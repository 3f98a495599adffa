"""What the tracer's client and its service say to each other, over a unix socket.

A message is a JSON header and an optional run of bytes behind it:

    4 bytes  length of the header, big endian
    4 bytes  length of the payload, big endian
    header   a JSON object, UTF-8
    payload  packed arrays, as the header describes them

One connection is one session. This module needs nothing but the standard library: the service
runs it in the system's Python, the client in the notebook's.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lablib import errors
from lablib.errors import LabError, TracerError
from lablib.language import pack_text, term, unpack_text

RUN_DIR = Path("/run/memory-leak-lab")
"""Where the service keeps its socket and its log; made by the service, owned by root."""

MAX_REQUEST_BYTES = 64 * 1024
"""The longest header that the service reads from a client."""

MAX_REPLY_BYTES = 1 << 30
"""The longest payload that a client takes from the service."""

MAX_UNWIND_PAGES = 1 << 16
MAX_UNWIND_ROWS = 1 << 20
PAGE_KEY_BYTES, PAGE_BYTES, ROW_BYTES = 8, 16, 8
MAX_UNWIND_BYTES = MAX_UNWIND_PAGES * (PAGE_KEY_BYTES + PAGE_BYTES) + MAX_UNWIND_ROWS * ROW_BYTES
"""The longest payload of a request: how the code of the target is unwound (see UnwindTable)."""

MAX_SAMPLE_BYTES = 1 << 20
MAX_BLOCKS_LIMIT = 1 << 26
MAX_FAULTS_LIMIT = 1 << 22
STACK_LIMITS = {
    "max_stacks": (1, 1 << 20),
    "pages": (0, MAX_UNWIND_PAGES),
    "rows": (0, MAX_UNWIND_ROWS),
}
"""Lowest and highest of what a request may say about call stacks."""

COUNTERS = (
    "frees_from_before",
    "returns_from_before",
    "failed_allocations",
    "failed_mappings",
    "lost_blocks_full",
    "lost_stacks_full",
    "lost_threads_full",
    "lost_unwound",
    "lost_interrupted",
    "lost_unseen",
    "lost_unreadable",
    "lost_raced",
    "lost_mappings_full",
    "lost_processes_full",
    "lost_faults_full",
    "lost_calls_full",
    "lost_unmatched",
)
"""The kernel side's event counters, in the order of `enum counter` in session.bpf.c."""

STACK_FIELDS = (
    "number",
    "process",
    "window",
    "is_mapping",
    "ending",
    "certain_frames",
    "depth",
)
"""The first words of `struct stack` in stack.bpf.c; the return addresses follow them."""

USAGE_FIELDS = (
    "allocated_bytes",
    "allocated_blocks",
    "freed_bytes",
    "freed_blocks",
    "live_born_sum_ns",
    "live_records",
    "live_variance",
    "padding",
)
"""The words of `struct usage` in stack.bpf.c."""

BLOCK_KEY_FIELDS = ("address", "process")
BLOCK_FIELDS = ("size_bytes", "born_ns", "stack_number")
PLACE_FIELDS = ("address", *BLOCK_FIELDS, "others")
"""The words of `struct block_key`, `struct block` and `struct place` in blocks.bpf.c."""

FIRST_BLOCK_ADDRESS = 2
"""A lower address in a place says that no block is there."""

ENDINGS = ("reached_top", "is_cut", "is_too_deep")
"""How a walk of a stack ended, in the order of `enum ending` in stack.bpf.c."""

SAMPLE_UNIT = 65536
"""With sampling, blocks are counted in fractions of so many."""

MAPPING_CLASSES = ("mapping", "thread_stack", "arena", "file")
"""Whose a mapping is, in the order of `enum mapping_class` in mappings.bpf.c."""

FAULT_FIELDS = ("page_and_flags", "stack_id", "count", "first_ns")
"""The words of `struct fault_key` and `struct fault` in faults.bpf.c."""

FAULT_FLAGS = {"is_write": 1, "is_instruction": 2, "was_present": 4, "by_kernel": 8, "is_major": 16}
"""Bits in the lower end of `page_and_flags`: `enum fault_sort` in faults.bpf.c."""

CALL_FIELDS = ("time_ns", "thread", "name", "address", "length_bytes", "result", "stack_id")
"""The words of `struct memory_call_key` and `struct memory_call` in memory_calls.bpf.c."""

MAX_SWAP_BYTES = 256 << 20
"""How much swap the lab makes at most, for all experiments together."""

GROUP_LIMITS = {"limit_bytes": (8 << 20, 1 << 30), "swap_bytes": (0, MAX_SWAP_BYTES)}
"""Lowest and highest of what a request for a capped cgroup may say."""

RECLAIM_KINDS = ("memcg_reclaim", "direct_reclaim", "by_limit")
RECLAIM_FIELDS = (
    "count",
    "ns",
    "longest_ns",
    "reclaimed_pages",
    "written_pages",
    "swapped_out_pages",
)
"""The totals of each kind of reclaim, in the order of the enums in pressure.bpf.c."""

VICTIM_FIELDS = ("tgid", "time_ns", "vm_kib", "anon_kib", "file_kib", "shared_kib")
"""The words of `struct victim` in pressure.bpf.c."""

_LENGTHS = struct.Struct("!II")
_TRACING_DIR = Path(__file__).parent

Message = tuple[dict[str, Any], bytes]
Reply = Message | tuple[dict[str, Any], bytes, int]
"""What the service answers; some answers pass on a file descriptor."""


def socket_path() -> Path:
    """Return where the service listens: `LAB_TRACER_SOCKET`, or the place that all users share."""
    return Path(os.environ.get("LAB_TRACER_SOCKET", RUN_DIR / "tracer.sock"))


def service_fingerprint() -> str:
    """Return 12 hex digits that change whenever the tracer's code does (Python and C)."""
    digest = hashlib.sha256()
    package = _TRACING_DIR.parent
    base = [package / name for name in ("errors.py", "ptrace.py", "resources.py")]
    base += [*(package / "records").glob("*.py"), *(package / "system").glob("*.py")]
    tracing = [*_TRACING_DIR.glob("*.py"), *_TRACING_DIR.glob("programs/*.c")]
    for path in sorted(base + tracing):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def send(
    connection: socket.socket,
    header: dict[str, Any],
    payload: bytes = b"",
    descriptor: int | None = None,
) -> None:
    """Send one message; the payload's bytes go as they are.

    A `descriptor` is passed on behind it, for `receive_descriptor`.
    """
    text = json.dumps(header).encode()
    connection.sendall(_LENGTHS.pack(len(text), len(payload)) + text)
    if payload:
        connection.sendall(payload)
    if descriptor is not None:
        socket.send_fds(connection, [b"\0"], [descriptor])


def receive_descriptor(connection: socket.socket) -> int:
    """Return the file descriptor that was passed on behind a message, now this process's own.

    Raises `TracerError` where none comes.
    """
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    if len(descriptors) != 1:
        raise TracerError(term("the tracer's connection ended where a file should have come"))
    return descriptors[0]


def receive(
    connection: socket.socket,
    max_header_bytes: int = MAX_REQUEST_BYTES,
    max_payload_bytes: int = 0,
) -> Message | None:
    """Return the next message, or None when the other side has closed the connection.

    Raises `TracerError` for a message that is too long, cut short, or not a JSON object.
    """
    lengths = _receive_exactly(connection, _LENGTHS.size, may_end=True)
    if not lengths:
        return None
    header_bytes, payload_bytes = _LENGTHS.unpack(lengths)
    if header_bytes > max_header_bytes or payload_bytes > max_payload_bytes:
        raise TracerError(term("a message on the tracer's socket is longer than any that is valid"))
    try:
        header = json.loads(_receive_exactly(connection, header_bytes))
    except (ValueError, RecursionError):
        raise TracerError(term("a message on the tracer's socket is not JSON")) from None
    if not isinstance(header, dict):
        raise TracerError(term("a message on the tracer's socket is not a JSON object"))
    return header, _receive_exactly(connection, payload_bytes)


def read_numbers(
    request: Mapping[str, Any], limits: Mapping[str, tuple[int, int]]
) -> dict[str, int]:
    """Return the numbers of these names that a request gives.

    Raises `TracerError` for one that is none, or out of its limits.
    """
    given = {}
    for name, (lowest, highest) in limits.items():
        value = request.get(name)
        if value is None:
            continue
        if type(value) is not int or not lowest <= value <= highest:
            raise TracerError(
                term(
                    "{name} must be a number from {lowest:,} to {highest:,}",
                    name=name,
                    lowest=lowest,
                    highest=highest,
                )
            )
        given[name] = value
    return given


def read_pid(request: Mapping[str, Any]) -> int:
    """Return the process id that a request names; raises `TracerError` for one that can't be."""
    pid = request.get("pid")
    if type(pid) is not int or not 0 < pid < 1 << 31:
        raise TracerError(term("the request names no valid process id"))
    return pid


def describe_error(error: LabError) -> dict[str, Any]:
    """Return an error as a reply says it, for `read_error`: `kind` is the name of its class."""
    kind = type(error).__name__
    kind = kind if hasattr(errors, kind) else "TracerError"
    return {"kind": kind, "message": pack_text(error.message), "fix": pack_text(error.fix)}


def read_error(described: Any) -> LabError:
    """Return the error that a reply describes; it says so where it describes none."""
    try:
        kind: type[LabError] = getattr(errors, described["kind"])
        if not issubclass(kind, LabError):
            raise TypeError
        return kind(unpack_text(described["message"]), unpack_text(described["fix"]))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return TracerError(
            term("the tracer service reported an error that can't be read"),
            term("see its log, which ./lab tracer status names"),
        )


def _receive_exactly(connection: socket.socket, size: int, may_end: bool = False) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = connection.recv(min(size - len(received), 1 << 20))
        if not chunk:
            if may_end and not received:
                return b""
            raise TracerError(term("the tracer's connection ended in the middle of a message"))
        received += chunk
    return bytes(received)
