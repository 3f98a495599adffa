"""One tracing session, on the service's side: probes on a process, its totals, its mappings.

The probes are file descriptors of the process that the session lives in: whatever ends that process
takes them and the maps away, so nothing can be left attached.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
import time
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lablib.errors import TargetError, TracerError
from lablib.language import term
from lablib.tracing.attach import ALL_PROCESSES
from lablib.tracing.heap_program import HeapProgram
from lablib.tracing.holder import Holder
from lablib.tracing.mappings import EVENT_KINDS, MappingEvent, MappingLedger
from lablib.tracing.permission import Target
from lablib.tracing.probes import find_allocators
from lablib.tracing.program import (
    CLOSED,
    FREES_ONLY,
    MAX_FRAMES,
    OPEN,
    SIZES,
    Session,
    TracerProgram,
    await_running_programs,
)
from lablib.tracing.protocol import (
    MAPPING_CLASSES,
    MAX_BLOCKS_LIMIT,
    MAX_SAMPLE_BYTES,
    STACK_LIMITS,
    Message,
    Reply,
    describe_error,
    read_numbers,
)

RSS_BYTES_PER_BLOCK = 256
"""A target may have one live block for so many bytes of its memory before its table is full."""

_EVENT_KEY, _EVENT = struct.Struct("=2Q"), struct.Struct("=6Q")
_Report = tuple[tuple[Any, ...], tuple[Any, ...]]
"""A mapping's report: (time in ns, thread), and the fields of `struct mapping_event`."""


@dataclass(frozen=True)
class SessionOptions:
    """What a client may ask for; the defaults are those of a request that says nothing."""

    sample_bytes: int = 0
    follows_forks: bool = False
    max_blocks: int | None = None
    max_stacks: int = SIZES["MAX_STACKS"]
    opens_window: bool = True
    pages: int = 0
    rows: int = 0

    @classmethod
    def parse(cls, request: dict[str, Any]) -> SessionOptions:
        """Return the options of a request; raises `TracerError` for one that is out of range."""
        limits = {
            "sample_bytes": (0, MAX_SAMPLE_BYTES),
            "max_blocks": (1, MAX_BLOCKS_LIMIT),
            **STACK_LIMITS,
        }
        given: dict[str, Any] = read_numbers(request, limits)
        for name in ("follows_forks", "opens_window"):
            value = request.get(name)
            if value is not None:
                if type(value) is not bool:
                    raise TracerError(term("{name} must be true or false", name=name))
                given[name] = value
        return cls(**given)


class HeapSession:
    """Probes on one process's allocator, until this process ends."""

    def __init__(
        self, program: TracerProgram, target: Target, options: SessionOptions, unwind_tables: bytes
    ) -> None:
        """Find the target's allocators and attach; raises `TargetError` or `TracerError`."""
        self._program = HeapProgram(program)
        self._target = target
        self._options = options
        self._ledgers: dict[int, MappingLedger] = defaultdict(_make_ledger)
        self._waiting_reports: list[_Report] = []
        self._has_lost_leader = False
        self._probed_thread = target.pid
        self._holder: Holder | None = None
        self._memory: int | None = None
        max_blocks = options.max_blocks or choose_max_blocks(target.pid)
        self._program.make_maps(
            {
                "blocks": max_blocks,
                "stacks": options.max_stacks,
                "usages": options.max_stacks,
                "unwind_pages": max(1, options.pages),
                "unwind_rows": max(1, options.rows),
            }
        )
        self._program.load()
        self._session = Session(
            target.pid, follows_forks=options.follows_forks, sample_bytes=options.sample_bytes
        )
        self._program.write_unwind_tables(options.pages, options.rows, unwind_tables)
        self._program.write_clock(time.monotonic_ns())
        self._program.write_session(self._session)
        self._program.watch(options.follows_forks)
        target.check()  # who it is now; an exec from here on is noticed
        self._allocators = find_allocators(target.pid)
        self._session = dataclasses.replace(
            self._session,
            frees_nest=_count_frees(self._allocators) > 1,
            allocator_spans=tuple((each.start, each.end) for each in self._allocators),
        )
        try:
            thread = ALL_PROCESSES if options.follows_forks else target.pid
            self._program.attach(self._allocators, thread)
        finally:
            target.check()  # that it has not ended, nor its number been reused meanwhile
        self.set_state(OPEN if options.opens_window else CLOSED)
        if self._program.read_fate()[0]:  # asked last: an exec from now on closes the window itself
            raise TargetError(
                term("process {pid} became another program", pid=target.pid), term("trace it again")
            )
        self.description = {
            "opened_ns": time.monotonic_ns(),
            "allocators": [allocator.path for allocator in self._allocators],
            "max_frames": MAX_FRAMES,
            "max_blocks": max_blocks,
            "has_unwind_tables": options.pages > 0,
        }

    def set_state(self, state: int) -> None:
        """Open or close the window; each opening after the first begins a new one."""
        reopens = state == OPEN and self._session.state == FREES_ONLY
        self._session = dataclasses.replace(
            self._session, state=state, window=self._session.window + reopens
        )
        self._program.write_session(self._session)
        if self._program.read_fate()[0] and not self._options.follows_forks:
            self._program.write_session(dataclasses.replace(self._session, state=CLOSED))

    def open_window(self) -> None:
        """Count from now on what is allocated, apart from what was allocated before."""
        self.set_state(OPEN)

    def close_window(self) -> None:
        """Count no more allocations, but go on following the window's blocks to their end."""
        self.set_state(FREES_ONLY)

    def answer(self, operation: object) -> Reply:
        """Do what the client asks for, and return what there is to say; raises `TracerError`."""
        if operation == "census":
            return self.read_census()
        if operation == "hold":
            return self.hold()
        if operation == "resume":
            return {"held_s": self._resume()}, b""
        if operation == "open_window":
            self.open_window()
        elif operation == "close_window":
            self.close_window()
        elif operation not in ("snapshot", "stop"):
            raise TracerError(term("the tracer service does not know this request"))
        return self.snapshot(final=operation == "stop")

    def tend(self) -> None:
        """Do what can't wait for a snapshot: set the clock, take reports, keep the probes alive."""
        self._program.write_clock(time.monotonic_ns())
        self._take_mapping_events()
        if not self._options.follows_forks:
            self._keep_attached()

    def snapshot(self, final: bool) -> tuple[dict[str, Any], bytes]:
        """Return (header, packed ids, rows and totals) as of now; `final` stops the counting first.

        `now_ns` is on the kernel's monotonic clock, the one that its blocks' birth times are on.
        """
        if final:
            self.set_state(CLOSED)
            await_running_programs()
        self.tend()
        has_executed, _ = self._program.read_fate()
        header: dict[str, Any] = {
            "now_ns": time.monotonic_ns(),
            "is_running": self._target.is_running() and not has_executed,
            "has_executed": has_executed,
            "window": self._session.window,
        }
        counters = self._program.read_counters()
        counters["lost_first_thread_gone"] = int(self._has_lost_leader)
        ids, rows = self._program.read_stack_rows()
        totals = self._program.read_totals(self._options.max_stacks)
        header |= {
            "stacks": len(ids) // 8,
            "counters": counters,
            "mappings": self._describe_mappings(),
            "processes": self._describe_processes(),
        }
        return header, ids + rows + totals

    def read_census(self) -> Message:
        """Return the live blocks, one by one, and the rows of the stacks that allocated them.

        The program goes on meanwhile: the header's `now_ns` is of the beginning.
        """
        now_ns = time.monotonic_ns()
        self.tend()
        places, keys, values = self._program.read_blocks()
        self.tend()
        ids, rows = self._program.read_stack_rows()
        header = {
            "now_ns": now_ns,
            "window": self._session.window,
            "places": len(places),
            "keys": len(keys),
            "values": len(values),
            "stacks": len(ids) // 8,
        }
        return header, places + keys + values + rows

    def hold(self) -> Reply:
        """Stop the target's threads; return their registers, and its memory as a descriptor.

        It goes on with `resume`, with the end of this session, or after MAX_HOLD_S. Blocks that are
        born later are no older than the header's `now_ns`. A target that can't be held is no error
        of the session, which goes on: then the header says why.
        """
        self._resume()
        try:
            self._check_identity()
            self._holder = Holder(self._target.pid)
            now_ns = time.monotonic_ns()
            self._program.write_clock(now_ns)
            threads = self._holder.threads
            self._memory = _open_memory(self._target.pid, threads[0].thread)
            self._check_identity()  # asked again of whose memory has been opened
        except TargetError as error:
            self._resume()
            return {"refusal": describe_error(error)}, b""
        header = {
            "now_ns": now_ns,
            "threads": [(each.thread, each.stack_pointer, len(each.registers)) for each in threads],
        }
        return header, b"".join(each.registers for each in threads), self._memory

    def _check_identity(self) -> None:
        """Raise `TargetError` unless the target is the program that it was, and the caller's."""
        self._target.check()
        if self._program.read_fate()[0]:
            raise TargetError(term("process {pid} became another program", pid=self._target.pid))

    def _resume(self) -> float | None:
        """Let the target go on; return for how long it stood still, None: it had gone on before."""
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None
        if self._holder is None:
            return None
        holder, self._holder = self._holder, None
        return holder.release()

    def _take_mapping_events(self) -> None:
        """Enter the reports up to now, in the order of time.

        A map is read bucket by bucket, so a younger report may be found where an older one is
        missed: it came into a bucket that had been read. What is younger than the first read waits
        for the next time; the second read finds what was on its way into the map at the first.
        """
        now_ns = time.monotonic_ns()
        reports = self._waiting_reports
        for _ in range(2):
            keys, values = self._program.take_mapping_events()
            reports += zip(_EVENT_KEY.iter_unpack(keys), _EVENT.iter_unpack(values), strict=True)
        reports.sort()
        count = bisect_right(reports, now_ns, key=_time_of)
        for (time_ns, thread), (kind, process, address, length, stack, its_class) in reports[
            :count
        ]:
            self._ledgers[process].apply(
                MappingEvent(
                    time_ns,
                    EVENT_KINDS[kind],
                    thread,
                    address,
                    length,
                    stack,
                    MAPPING_CLASSES[its_class],
                )
            )
        self._waiting_reports = reports[count:]

    def _describe_mappings(self) -> list[list[Any]]:
        return [
            [process, its_class, stack_id, *dataclasses.astuple(total)]
            for process, ledger in self._ledgers.items()
            for (its_class, stack_id), total in ledger.totals().items()
        ]

    def _describe_processes(self) -> list[list[int]]:
        if not self._options.follows_forks:
            return []
        return [
            [process.number, process.pid, int(process.has_executed)]
            for process in self._program.read_processes()
        ]

    def _keep_attached(self) -> None:
        """Without its first thread the kernel no longer knows a process as the one to probe.

        Then probe it by another of its threads; what happened meanwhile is counted as lost.
        """
        if self._probed_thread != self._target.pid or not self._program.read_fate()[1]:
            return
        for thread in self._target.list_other_threads()[:1]:
            self._has_lost_leader = True
            self._probed_thread = thread
            with contextlib.suppress(TracerError):  # that thread may end, too
                self._program.attach(self._allocators, thread)


def choose_max_blocks(pid: int) -> int:
    """Return how large a table a process gets that asked for none: by its resident memory."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        pages = 0
    by_memory = pages * os.sysconf("SC_PAGE_SIZE") // RSS_BYTES_PER_BLOCK
    return min(MAX_BLOCKS_LIMIT, max(SIZES["MAX_BLOCKS"], by_memory))


def _open_memory(pid: int, thread: int) -> int:
    """Return a descriptor of a process's memory, by a thread of its own that has not ended."""
    try:
        return os.open(f"/proc/{pid}/task/{thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise TargetError(term("process {pid} ended while it was held", pid=pid)) from None


def _time_of(report: _Report) -> int:
    return int(report[0][0])


def _make_ledger() -> MappingLedger:
    return MappingLedger(os.sysconf("SC_PAGE_SIZE"))


def _count_frees(allocators: Any) -> int:
    return sum(site.program == "on_free" for each in allocators for site in each.sites)
