"""The notebook's side of the tracer: ask the service, get records.

    with Tracer(pid, symbolizer) as tracer:
        snapshot = tracer.snapshot()

Symbols are resolved here, by the ordinary user, from the target's own mapped files.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil

from lablib import errors
from lablib.errors import LabError, TracerError
from lablib.records import (
    Frame,
    HeapSnapshot,
    HeapTrace,
    MemleakReport,
    StackUsage,
    Target,
    TraceEvents,
)
from lablib.tracing import protocol
from lablib.tracing.memleak import parse_memleak

SOURCE = "ebpf"

REPLY_TIMEOUT_S = 90.0
"""How long the service may take for one answer; a run of memleak takes longest."""


class Symbolizer(Protocol):
    """What turns the return addresses of one process into frames."""

    def resolve_stack(self, addresses: Iterable[int]) -> tuple[tuple[Frame, ...], bool]:
        """Return the frames, callers last, and whether callers are missing above them."""
        ...


class Tracer(AbstractContextManager["Tracer"]):
    """A heap tracing session on one live process; a context manager that detaches."""

    def __init__(self, pid: int, symbolizer: Symbolizer) -> None:
        """Attach to process `pid`; its heap is counted from now on.

        Raises `TargetError` when the process is gone or not yours, `TracerError` when the service
        does not run or can't attach.
        """
        self._symbolizer = symbolizer
        self._frames_by_stack: dict[bytes, tuple[tuple[Frame, ...], bool]] = {}
        self.target = Target(pid, read_command(pid))
        self._connection = connect()
        try:
            self._description, _ = _ask(self._connection, operation="trace_heap", pid=pid)
        except BaseException:
            self._connection.close()
            raise
        self._opened_ns = int(self._description["opened_ns"])
        self._snapshots: list[HeapSnapshot] = []

    def __exit__(self, *_: object) -> None:
        """Detach; the target runs on."""
        self._connection.close()

    @property
    def trace(self) -> HeapTrace:
        """All snapshots taken so far, as one record."""
        return HeapTrace(SOURCE, os.uname().release, self.target, tuple(self._snapshots))

    def snapshot(self) -> HeapSnapshot:
        """Return the heap as it is now, and keep it in `trace`. Works after the target's end."""
        return self._take_snapshot("snapshot")

    def stop(self) -> HeapSnapshot:
        """Stop counting and return the last snapshot, which no event can change; then detach."""
        return self._take_snapshot("stop")

    def sample(
        self,
        seconds: float | None,
        interval_s: float = 0.5,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[HeapSnapshot]:
        """Yield a snapshot every `interval_s` until `seconds` are over or the target has ended.

        The last one is the final one: the counting has stopped before it was read.
        """
        end_s = self._opened_ns / 1e9 + seconds if seconds is not None else float("inf")
        next_s = time.monotonic() + interval_s
        while next_s < end_s and not should_stop():
            time.sleep(max(0.0, next_s - time.monotonic()))
            next_s += interval_s
            snapshot = self.snapshot()
            yield snapshot
            if not snapshot.is_running:
                break
        else:
            if not should_stop():
                time.sleep(max(0.0, end_s - time.monotonic()))
        yield self.stop()

    def _take_snapshot(self, operation: str) -> HeapSnapshot:
        header, rows = _ask(self._connection, operation=operation)
        stacks = self._decode_stacks(rows, header["stacks"], header["now_ns"])
        snapshot = HeapSnapshot(
            elapsed_s=(header["now_ns"] - self._opened_ns) / 1e9,
            stacks=tuple(sorted(stacks, key=lambda stack: -stack.live_bytes)),
            events=_decode_events(header["counters"], stacks),
            rss_bytes=_read_rss_bytes(self.target.pid) if header["is_running"] else None,
            is_running=header["is_running"],
        )
        self._snapshots.append(snapshot)
        return snapshot

    def _decode_stacks(self, payload: bytes, count: int, now_ns: int) -> list[StackUsage]:
        """Return a record per stack, those that resolve to the same frames added together."""
        fields = len(protocol.STACK_FIELDS)
        words = fields + int(self._description["max_frames"])
        rows = np.frombuffer(payload, dtype=np.uint64).reshape(count, words)
        totals: dict[tuple[tuple[Frame, ...], bool], list[int]] = {}
        for row in rows:
            allocated_bytes, allocated, freed_bytes, freed, born_ns, depth = row[:fields].tolist()
            key = self._resolve(row[fields : fields + depth])
            total = totals.setdefault(key, [0, 0, 0, 0, 0])
            for i, value in enumerate((allocated_bytes, allocated, freed_bytes, freed, born_ns)):
                total[i] += value
        return [_make_usage(*key, total, now_ns) for key, total in totals.items()]

    def _resolve(self, addresses: np.ndarray[Any, Any]) -> tuple[tuple[Frame, ...], bool]:
        key = addresses.tobytes()
        if key not in self._frames_by_stack:
            self._frames_by_stack[key] = self._symbolizer.resolve_stack(addresses.tolist())
        return self._frames_by_stack[key]


def _make_usage(
    frames: tuple[Frame, ...],
    is_cut: bool,
    totals: list[int],
    now_ns: int,
) -> StackUsage:
    allocated_bytes, allocated_blocks, freed_bytes, freed_blocks, born_sum_ns = totals
    live = allocated_blocks - freed_blocks
    # The kernel adds and subtracts birth times modulo 2**64; the difference comes out right.
    age_sum_ns = (live * now_ns - born_sum_ns) % (1 << 64)
    return StackUsage(
        frames=frames,
        allocated_bytes=allocated_bytes,
        allocated_blocks=allocated_blocks,
        freed_bytes=freed_bytes,
        freed_blocks=freed_blocks,
        mean_age_s=age_sum_ns / live / 1e9 if live > 0 else None,
        is_cut=is_cut,
    )


def _decode_events(counters: dict[str, int], stacks: list[StackUsage]) -> TraceEvents:
    lost = {name: n for name, n in counters.items() if name.startswith("lost_") and n}
    return TraceEvents(
        allocations=sum(stack.allocated_blocks for stack in stacks),
        frees=sum(stack.freed_blocks for stack in stacks),
        from_before=counters["frees_from_before"] + counters["returns_from_before"],
        failed_allocations=counters["failed_allocations"],
        missed_by_reason={name.removeprefix("lost_"): n for name, n in lost.items()},
    )


def run_memleak(
    pid: int, seconds: int = 5, symfs: Path | None = None, debug_root: Path | None = None
) -> MemleakReport:
    """Return what bcc's memleak says of process `pid` after `seconds` (1 to 30).

    `symfs` and `debug_root` are folders with unstripped files at the target's paths, and with
    debug files by build-id. Raises `TracerError` unless you are root or started the service.
    """
    with contextlib.closing(connect()) as connection:
        answer, _ = _ask(
            connection,
            operation="run_memleak",
            pid=pid,
            seconds=seconds,
            symfs=str(symfs) if symfs else None,
            debug_root=str(debug_root) if debug_root else None,
        )
    return parse_memleak(answer["command"], answer["output"])


def connect() -> socket.socket:
    """Return a connection to the service, or raise `TracerError` if none of this version runs."""
    status = read_status()
    if status["fingerprint"] != protocol.service_fingerprint():
        raise TracerError(
            f"the tracer service that runs is of another version ({status['fingerprint']}, "
            f"this is {protocol.service_fingerprint()})",
            "run: ./lab tracer stop && ./lab tracer start",
        )
    return _open_connection()


def read_status() -> dict[str, Any]:
    """Return what the running service says of itself: fingerprint, pid, owner_uid, kernel."""
    with contextlib.closing(_open_connection()) as connection:
        return _ask(connection, operation="status")[0]


def stop_service() -> None:
    """Ask the service to end; it detaches every session first."""
    with contextlib.closing(_open_connection()) as connection:
        _ask(connection, operation="stop_service")


def read_command(pid: int) -> str:
    """Return the command line of a process, from /proc/PID/cmdline, or "" if it has gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")


def _open_connection() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(REPLY_TIMEOUT_S)
    deadline = time.monotonic() + REPLY_TIMEOUT_S
    while True:
        try:
            connection.connect(str(protocol.socket_path()))
            return connection
        except BlockingIOError:  # so many are asking that the kernel's queue is full
            if time.monotonic() > deadline:
                connection.close()
                raise TracerError("the tracer service is too busy to answer") from None
            time.sleep(0.05)
        except OSError:
            connection.close()
            raise TracerError(
                "the tracer service does not run", "run: ./lab tracer start"
            ) from None


def _ask(connection: socket.socket, **request: Any) -> protocol.Message:
    try:
        protocol.send(connection, request)
        message = protocol.receive(connection, protocol.MAX_REPLY_BYTES, protocol.MAX_REPLY_BYTES)
    except OSError:
        message = None
    if message is None:
        raise TracerError(
            "the tracer service ended the session", "see its log, which ./lab tracer status names"
        )
    if "error" in message[0]:
        error = message[0]["error"]
        kind = getattr(errors, error["kind"], TracerError)
        assert issubclass(kind, LabError)
        raise kind(error["message"], error["fix"])
    return message


def _read_rss_bytes(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
