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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import psutil

from lablib.errors import TracerBusyError, TracerError
from lablib.language import term
from lablib.records import (
    Frame,
    HeapSnapshot,
    HeapTrace,
    MemleakReport,
    ReachabilityScan,
    StackUsage,
    Target,
    TraceOptions,
    UnwindTables,
)
from lablib.resources import read_resources
from lablib.tracing import protocol
from lablib.tracing.census import BlockCensus, Words, decode_census, decode_extents
from lablib.tracing.decoder import SnapshotDecoder, decode_events
from lablib.tracing.memleak import parse_memleak
from lablib.tracing.standstill import Standstill

SOURCE = "ebpf"

_DEFAULT_OPTIONS = TraceOptions()

REPLY_TIMEOUT_S = 240.0
"""How long the service may take for one answer; a run of memleak takes longest."""


STOP_TIMEOUT_S = 10.0

BUSY_TIMEOUT_S = 5.0
"""How long to wait for a place among the service's sessions."""


class Symbolizer(Protocol):
    """What knows the code of one process: how to walk its stacks, and how to name them."""

    def read_unwind_tables(self, max_pages: int, max_rows: int) -> UnwindTables:
        """Return how the code that the process has mapped is unwound."""
        ...

    def resolve_stack(
        self, addresses: Sequence[int], certain: int | None
    ) -> tuple[tuple[Frame, ...], bool]:
        """Return the frames, callers last, and whether callers are missing.

        The first `certain` addresses were found by rules, the others by frame pointers.
        """
        ...


class HeapSession(Protocol):
    """What counts the heap of one process: the service by eBPF, or the process itself."""

    @property
    def source(self) -> str:
        """Its name, as a trace says it."""
        ...

    @property
    def description(self) -> Mapping[str, Any]:
        """What there is to know beforehand: opened_ns, max_frames, has_unwind_tables."""
        ...

    def ask(self, operation: str) -> protocol.Message:
        """Return the answer to "snapshot", "stop", "open_window", "close_window" or "census"."""
        ...

    def hold(self) -> Standstill:
        """Stop the threads of the process; raises `TargetError` where that can't be."""
        ...

    def close(self) -> None:
        """Detach; the process runs on."""
        ...


class ServiceSession:
    """A session of the tracer service's, which counts by eBPF."""

    source = SOURCE

    def __init__(self, pid: int, symbolizer: Symbolizer, options: TraceOptions) -> None:
        """Attach to process `pid`; raises `TargetError` and `TracerError`."""
        self._connection = connect()
        wanted = {name: value for name, value in vars(options).items() if value is not None}
        try:
            self.description = open_session(
                self._connection, "trace_heap", pid, symbolizer, **wanted
            )
        except BaseException:
            self._connection.close()
            raise

    def ask(self, operation: str) -> protocol.Message:
        """Have the service answer."""
        return ask(self._connection, operation=operation)

    def hold(self) -> Standstill:
        """Have the service stop the process."""
        return Standstill(self._connection)

    def close(self) -> None:
        """Detach."""
        self._connection.close()


class Tracer(AbstractContextManager["Tracer"]):
    """A heap tracing session on one live process; a context manager that detaches."""

    def __init__(
        self,
        pid: int,
        symbolizer: Symbolizer,
        options: TraceOptions = _DEFAULT_OPTIONS,
        session: HeapSession | None = None,
    ) -> None:
        """Attach to process `pid`; its heap is counted from now on, or as `options` say.

        It is counted by the `session`, which ends with this; without one, by the tracer service.
        Raises `TargetError` when the process is gone or not yours, `TracerError` when the service
        does not run or can't attach.
        """
        self.target = Target(pid, read_command(pid))
        self.options = options
        self._session = session or ServiceSession(pid, symbolizer, options)
        self.opened_ns = int(self._session.description["opened_ns"])
        self._decoder = SnapshotDecoder(self._session.description, symbolizer, options.sample_bytes)
        self._scans: list[ReachabilityScan] = []
        self._commands: dict[int, str] = {pid: self.target.command}
        self._snapshots: dict[int, list[HeapSnapshot]] = {pid: []}

    def __exit__(self, *_: object) -> None:
        """Detach; the target runs on."""
        self._session.close()

    @property
    def trace(self) -> HeapTrace:
        """All snapshots of the target taken so far, as one record."""
        return self._make_trace(self.target.pid)

    @property
    def traces(self) -> tuple[HeapTrace, ...]:
        """The target's trace, and behind it that of each child that was followed."""
        return tuple(self._make_trace(pid) for pid in self._snapshots)

    def snapshot(self) -> HeapSnapshot:
        """Return the heap as it is now, and keep it in `trace`. Works after the target's end."""
        return self._take_snapshot("snapshot")

    def stop(self) -> HeapSnapshot:
        """Stop counting and return the last snapshot, which no event can change; then detach."""
        return self._take_snapshot("stop")

    def open_window(self) -> HeapSnapshot:
        """Count from now on what is allocated, and nothing from before; return the empty heap."""
        return self._take_snapshot("open_window")

    def begin_now(self) -> HeapSnapshot:
        """Open the window, and have the time begin with it; earlier snapshots are forgotten.

        For programs that are traced together and begin together, however long attaching takes.
        """
        self.opened_ns = time.monotonic_ns()
        for snapshots in self._snapshots.values():
            snapshots.clear()
        return self.open_window()

    def close_window(self) -> HeapSnapshot:
        """Count no more allocations; go on following those of the window to their end."""
        return self._take_snapshot("close_window")

    def read_census(self, born_before_ns: int | None = None) -> BlockCensus:
        """Return the live blocks of the window one by one; the target goes on meanwhile.

        With `born_before_ns`, on the kernel's monotonic clock, only those born before that time.
        """
        header, payload = self._session.ask("census")
        return decode_census(header, payload, self._decoder.stacks, born_before_ns)

    def read_extents(self) -> tuple[int, tuple[Words, Words]]:
        """Return the time (monotonic, ns), and where the live blocks begin and end, by address."""
        header, payload = self._session.ask("census")
        return int(header["now_ns"]), decode_extents(header, payload, self._decoder.stacks)

    def hold(self) -> Standstill:
        """Stop the target's threads, for at most 2 seconds, so that its memory can be read.

        Raises `TargetError` where that can't be; the session goes on.
        """
        return self._session.hold()

    def keep_scan(self, scan: ReachabilityScan) -> None:
        """Put a scan into `trace`."""
        self._scans.append(scan)

    def sample(
        self,
        seconds: float | None,
        interval_s: float = 0.5,
        should_stop: Callable[[], bool] = lambda: False,
        before_last: Callable[[], None] = lambda: None,
    ) -> Iterator[HeapSnapshot]:
        """Yield a snapshot every `interval_s` until `seconds` are over or the target has ended.

        The last one is the final one: the counting has stopped before it was read. If the target
        still runs then, `before_last` is called first.
        """
        end_s = self.opened_ns / 1e9 + seconds if seconds is not None else float("inf")
        next_s = time.monotonic() + interval_s
        while next_s < end_s and not should_stop():
            time.sleep(max(0.0, next_s - time.monotonic()))
            next_s += interval_s
            snapshot = self.snapshot()
            yield snapshot
            if not snapshot.is_running and not self._has_running_child():
                break
        else:
            if not should_stop():
                time.sleep(max(0.0, end_s - time.monotonic()))
            before_last()
        yield self.stop()

    def _take_snapshot(self, operation: str) -> HeapSnapshot:
        header, payload = self._session.ask(operation)
        elapsed_s = (header["now_ns"] - self.opened_ns) / 1e9
        pid_by_number = {0: self.target.pid}
        running = {self.target.pid: header["is_running"]}
        executed = {self.target.pid: header["has_executed"]}
        for number, pid, has_executed in sorted(header["processes"], key=lambda each: each[1]):
            if number and pid:
                pid_by_number[number] = pid
                running[pid] = not has_executed and psutil.pid_exists(pid)
                executed[pid] = bool(has_executed)
        # Before the decoding, which takes a second where many symbols are new.
        resources = {pid: read_resources(pid) for pid in pid_by_number.values() if running[pid]}
        usages = self._decoder.decode(header, payload)
        for number, pid in pid_by_number.items():
            mine = usages.get(number, [])
            heap = [usage for usage in mine if usage.kind == "heap"]
            snapshot = HeapSnapshot(
                elapsed_s=elapsed_s,
                stacks=_sort_by_size(heap),
                events=decode_events(header["counters"], heap),
                resources=resources.get(pid),
                is_running=running[pid],
                has_executed=executed[pid],
                mappings=_sort_by_size([usage for usage in mine if usage.kind != "heap"]),
            )
            self._commands.setdefault(pid, read_command(pid) or self.target.command)
            self._snapshots.setdefault(pid, []).append(snapshot)
        return self._snapshots[self.target.pid][-1]

    def _has_running_child(self) -> bool:
        return any(snapshots[-1].is_running for snapshots in self._snapshots.values())

    def _make_trace(self, pid: int) -> HeapTrace:
        return HeapTrace(
            source=self._session.source,
            kernel=os.uname().release,
            target=Target(pid, self._commands[pid]),
            snapshots=tuple(self._snapshots[pid]),
            sample_bytes=self.options.sample_bytes,
            scans=tuple(self._scans) if pid == self.target.pid else (),
        )


def open_session(
    connection: socket.socket, operation: str, pid: int, symbolizer: Symbolizer, **wanted: Any
) -> dict[str, Any]:
    """Have the service trace process `pid`, and return what it says of the session.

    Raises `TargetError` or `TracerError`.
    """
    tables = symbolizer.read_unwind_tables(protocol.MAX_UNWIND_PAGES, protocol.MAX_UNWIND_ROWS)
    header, _ = ask(
        connection,
        tables.page_numbers + tables.pages + tables.rows,
        operation=operation,
        pid=pid,
        pages=len(tables.page_numbers) // protocol.PAGE_KEY_BYTES,
        rows=len(tables.rows) // protocol.ROW_BYTES,
        **wanted,
    )
    return header


def _sort_by_size(usages: Iterable[StackUsage]) -> tuple[StackUsage, ...]:
    return tuple(sorted(usages, key=lambda usage: -usage.live_bytes))


def run_memleak(
    pid: int, seconds: int = 5, symfs: Path | None = None, debug_root: Path | None = None
) -> MemleakReport:
    """Return what bcc's memleak says of process `pid` after `seconds` (1 to 30).

    `symfs` and `debug_root` are folders with unstripped files at the target's paths, and with
    debug files by build-id. Raises `TracerError` unless you are root or started the service.
    """
    with contextlib.closing(connect()) as connection:
        answer, _ = ask(
            connection,
            operation="run_memleak",
            pid=pid,
            seconds=seconds,
            symfs=str(symfs) if symfs else None,
            debug_root=str(debug_root) if debug_root else None,
        )
    return parse_memleak(answer["command"], answer["output"])


def connect() -> socket.socket:
    """Return a connection to the service, or raise `TracerError` if none of this version runs.

    A session that was closed takes up to a second to end, while the kernel removes its probes. So a
    busy service is asked again for `BUSY_TIMEOUT_S` before `TracerBusyError` is raised.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            return _connect_once()
        except TracerBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _connect_once() -> socket.socket:
    connection = _open_connection()
    try:
        status, _ = ask(connection, operation="status")
        if status["fingerprint"] != protocol.service_fingerprint():
            raise TracerError(
                term(
                    "the tracer service that runs is of another version ({status}, this is "
                    "{fingerprint})",
                    status=status["fingerprint"],
                    fingerprint=protocol.service_fingerprint(),
                ),
                term("run: ./lab tracer stop && ./lab tracer start"),
            )
    except BaseException:
        connection.close()
        raise
    return connection


def read_status() -> dict[str, Any]:
    """Return what the running service says of itself: fingerprint, pid, owner_uid, kernel."""
    with contextlib.closing(_open_connection()) as connection:
        return ask(connection, operation="status")[0]


def stop_service() -> None:
    """Have the service end, and return when it has; it detaches every session first."""
    with contextlib.closing(_open_connection()) as connection:
        ask(connection, operation="stop_service")
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while protocol.socket_path().exists() and time.monotonic() < deadline:
        time.sleep(0.02)


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
                raise TracerError(term("the tracer service is too busy to answer")) from None
            time.sleep(0.05)
        except OSError:
            connection.close()
            raise TracerError(
                term("the tracer service does not run"), term("run: ./lab tracer start")
            ) from None


def ask(connection: socket.socket, payload: bytes = b"", **request: Any) -> protocol.Message:
    """Send a request and return the answer; an error in it is raised as what it is."""
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            protocol.send(connection, request, payload)  # refused unread: the answer says why
        message = protocol.receive(connection, protocol.MAX_REPLY_BYTES, protocol.MAX_REPLY_BYTES)
    except OSError:
        message = None
    if message is None:
        raise TracerError(
            term("the tracer service ended the session"),
            term("see its log, which ./lab tracer status names"),
        )
    if "error" in message[0]:
        raise protocol.read_error(message[0]["error"])
    return message
