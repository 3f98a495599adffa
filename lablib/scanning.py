"""Scans of a live process: which of its live blocks nothing points at any more.

A scan stops the target, reads its registers and all that it has written to memory, and lets it go
on. Only then it works out what leads where. The census of blocks is taken before, to know where to
look, and after, for what is judged: only blocks that were born before the stop and are live behind
it, so that both are true of the moment of the stop. What was freed in between counts as memory in
use, whose pointers lead on.

A block that malloc has just returned is in a register, so that nothing has to be guessed about a
block in passing. What only the kernel holds is looked up where it can be (epoll, timers). A pointer
on its way through a pipe can't be seen; so a block is only called lost `MIN_AGE_S` after its birth.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lablib.errors import LabError, TargetError
from lablib.language import term
from lablib.reachability import (
    Books,
    Freed,
    Mapping,
    Memory,
    MemoryWords,
    WordsInPieces,
    find_freed,
    find_mapping,
    mark_blocks,
    read_books,
    read_mappings,
    read_pointers,
    select_ranges,
)
from lablib.records import AgeBand, HeapSnapshot, ReachabilityScan, StackReach
from lablib.tracing.census import BlockCensus
from lablib.tracing.client import Tracer
from lablib.tracing.holder import HeldThread

MIN_AGE_S = 0.2
"""Younger blocks count as reached; the clock of their births goes by steps of 0.05 s."""

AGE_BANDS = 10
FIRST_SCAN_S = 1.0
"""When `sample_and_scan` looks first; then after twice the time, again and again."""

MAX_MAPPED_BYTES = 1 << 38
"""More than that is not looked through: each TiB has 2 GiB of page table entries."""

_WORD_BYTES = 8
_THREAD_POINTER = {"x86_64": 21}
"""Where user_regs_struct has fs_base, in words; on aarch64 it comes behind all the others."""
_CALL_NUMBER, _INSTRUCTION_POINTER, _GENERAL_WORDS = 15, 16, 27
"""Of user_regs_struct on x86-64, in words."""
_EPOLL_DATA = re.compile(rb"\bdata:\s*([0-9a-f]+)")
_TIMER_DATA = re.compile(rb"^signal: \d+/([0-9a-f]+)", re.MULTILINE)

Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]


def sample_and_scan(
    tracer: Tracer,
    seconds: float | None,
    interval_s: float = 0.5,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[HeapSnapshot]:
    """Yield what `tracer.sample` yields, and scan on the way; the scans are in `tracer.trace`.

    There is one after 1 s, 2, 4, 8 ... and one at the end if the target lives. One that can't be
    made is in the trace as well: it has no stacks, and `limits` say why.
    """
    due_s = FIRST_SCAN_S
    refusal = _find_refusal(tracer)
    if refusal:
        refuse_scans(tracer, refusal)
        yield from tracer.sample(seconds, interval_s, should_stop)
        return
    for snapshot in tracer.sample(seconds, interval_s, should_stop, lambda: _try_scan(tracer)):
        is_last = seconds is not None and snapshot.elapsed_s >= seconds
        if snapshot.elapsed_s >= due_s and snapshot.is_running and not is_last:
            _try_scan(tracer)
            while due_s <= snapshot.elapsed_s:
                due_s *= 2
        yield snapshot


def refuse_scans(tracer: Tracer, reason: str) -> None:
    """Say in the trace why there is no scan in it."""
    tracer.keep_scan(_make_refused(0.0, reason))


def scan(tracer: Tracer) -> ReachabilityScan:
    """Return which live blocks of a tracer's target something still points at, by call stack.

    The target stands still for a part of the time. Raises `TargetError` where it has ended, or
    can't be held: another tracer has it, a thread waits for a disk, it has too much memory.
    """
    refusal = _find_refusal(tracer)
    if refusal:
        raise TargetError(refusal)
    begin_s = time.monotonic()
    now_ns, before = tracer.read_extents()
    if not len(before[0]):
        elapsed_s = (now_ns - tracer.opened_ns) / 1e9
        return ReachabilityScan(elapsed_s, 0.0, time.monotonic() - begin_s, 0, ())
    with tracer.hold() as held:
        try:
            look = _look(tracer.target.pid, Memory(held.memory), held.threads, before)
        except OSError:
            raise TargetError(
                term("process {pid} ended while it was held", pid=tracer.target.pid)
            ) from None
        held.end()
    census = tracer.read_census(born_before_ns=held.began_ns)
    words = look.pieces.join()
    freed = find_freed(census.addresses, census.sizes, words, look.books)
    marks = mark_blocks(
        census.addresses,
        census.sizes,
        freed.extents,
        words.addresses,
        words.pointers,
        freed.covers(words.addresses),
        look.roots,
    )
    is_young = census.born_ns.astype(np.int64) > held.began_ns - int(MIN_AGE_S * 1e9)
    is_lost = ~marks.is_reached & ~is_young & _are_inside(look.heap, census.addresses)
    opened_ns = tracer.opened_ns
    return ReachabilityScan(
        elapsed_s=(held.began_ns - opened_ns) / 1e9,
        pause_s=held.seconds,
        seconds=time.monotonic() - begin_s,
        scanned_bytes=words.scanned_bytes,
        stacks=_make_stacks(census, is_lost, marks.is_interior, opened_ns, held.began_ns),
        limits=_find_limits(look, words, freed),
    )


def _find_refusal(tracer: Tracer) -> str:
    """Return why this trace can't be scanned at all, or ""."""
    if tracer.options.sample_bytes:
        return term(
            "what points at a block is not looked at in a sampled trace, which has only some"
        )
    if tracer.options.follows_forks:
        return term("what points at a block is not looked at where forks are followed")
    return ""


def _make_refused(elapsed_s: float, reason: str) -> ReachabilityScan:
    return ReachabilityScan(elapsed_s, 0.0, 0.0, 0, (), (reason,))


def _try_scan(tracer: Tracer) -> None:
    """Scan, and keep the scan or why there is none; of a target that has ended keep nothing."""
    try:
        found = scan(tracer)
    except LabError as error:
        if not _is_alive(tracer.target.pid):
            return
        elapsed_s = time.monotonic() - tracer.opened_ns / 1e9
        found = _make_refused(elapsed_s, error.message)
    tracer.keep_scan(found)


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@dataclass(frozen=True)
class _Look:
    """What was seen while the target stood still."""

    heap: list[tuple[int, int]]
    books: Books | None
    pieces: WordsInPieces
    roots: Words
    has_rings: bool


def _look(
    pid: int, memory: Memory, threads: Sequence[HeldThread], before: tuple[Words, Words]
) -> _Look:
    folder = Path(f"/proc/{pid}/task/{threads[0].thread}")
    mappings = read_mappings(folder)
    mapped_bytes = sum(each.end - each.start for each in mappings if each.may_hold_pointers)
    if mapped_bytes > MAX_MAPPED_BYTES:
        raise TargetError(
            term(
                "process {pid} maps too much to look through: {mapped_bytes:,} bytes",
                pid=pid,
                mapped_bytes=mapped_bytes,
            )
        )
    thread_pointers = [_find_thread_pointer(thread) for thread in threads]
    books = read_books(folder, memory, mappings, thread_pointers)
    heap = _find_heap(mappings, before[0])
    ranges = select_ranges(folder, mappings, [thread.stack_pointer for thread in threads])
    pieces = read_pointers(memory, ranges, heap, books.heaps if books else (), before)
    registers = b"".join(_select_registers(thread, mappings) for thread in threads)
    kept, has_rings = _read_kept_by_kernel(pid)
    roots = np.concatenate([np.frombuffer(registers, np.uint64), np.array(kept, np.uint64)])
    return _Look(heap, books, pieces, roots, has_rings)


def _find_thread_pointer(thread: HeldThread) -> int:
    words = memoryview(thread.registers).cast("Q")
    return words[_THREAD_POINTER.get(os.uname().machine, -1)]


def _select_registers(thread: HeldThread, mappings: Sequence[Mapping]) -> bytes:
    """Return a thread's registers, without those of which it is known that they are out of use.

    On x86-64 no function keeps anything in a vector register over a call of another. So in a system
    call that the C library makes they hold what the last copy of memory has left there.
    """
    if os.uname().machine != "x86_64":
        return thread.registers
    words = memoryview(thread.registers).cast("q")
    number = find_mapping(mappings, words[_INSTRUCTION_POINTER])
    name = "" if number is None else mappings[number].name.rpartition("/")[2]
    if words[_CALL_NUMBER] >= 0 and name.startswith(("libc.so.", "libc-2.", "ld-musl-")):
        return thread.registers[: _WORD_BYTES * _GENERAL_WORDS]
    return thread.registers


def _find_heap(mappings: Sequence[Mapping], before: Words) -> list[tuple[int, int]]:
    """Return the mappings that have a block in them, neighbours as one, by address."""
    starts = np.array([mapping.start for mapping in mappings], np.uint64)
    numbers = np.unique(np.searchsorted(starts, before, "right") - 1)
    heap: list[tuple[int, int]] = []
    for number in numbers[numbers >= 0].tolist():
        start, end = mappings[number].start, mappings[number].end
        if heap and heap[-1][1] == start:
            start, _ = heap.pop()
        heap.append((start, end))
    return heap


def _are_inside(ranges: Sequence[tuple[int, int]], addresses: Words) -> Flags:
    edges = np.array(ranges, np.uint64).reshape(-1)
    is_inside: Flags = np.searchsorted(edges, addresses, "right") & 1 == 1
    return is_inside


def _read_kept_by_kernel(pid: int) -> tuple[list[int], bool]:
    """Return the words that a process has given the kernel to keep, and whether it has io_uring.

    They are epoll's, by /proc/PID/fdinfo, and the timers', by /proc/PID/timers. Of a request that
    is under way in an io_uring the kernel doesn't tell.
    """
    kept: list[int] = []
    has_rings = False
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            kind = os.readlink(entry.path)
            has_rings |= kind == "anon_inode:[io_uring]"
            if kind == "anon_inode:[eventpoll]":
                info = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_bytes()
                kept += [int(word, 16) for word in _EPOLL_DATA.findall(info)]
    with contextlib.suppress(OSError):  # a kernel without checkpoints
        timers = Path(f"/proc/{pid}/timers").read_bytes()
        kept += [int(word, 16) for word in _TIMER_DATA.findall(timers)]
    return kept, has_rings


def _find_limits(look: _Look, words: MemoryWords, freed: Freed) -> tuple[str, ...]:
    limits = []
    if look.books is None:
        limits.append(
            "the allocator is not one whose records can be read: what lies in freed memory and in "
            "its own lists counts as pointers"
        )
    elif not look.books.has_all_waiting:
        limits.append("more freed blocks wait to be used again than could be looked at")
    if freed.unexplained_bytes:
        limits.append(
            f"{freed.unexplained_bytes:,} bytes of the heap could not be told: freed or in use"
        )
    if words.unread_bytes:
        limits.append(f"{words.unread_bytes:,} bytes could not be read")
    if look.has_rings:
        limits.append("what is under way in an io_uring could not be looked at")
    return tuple(limits)


def _make_stacks(
    census: BlockCensus, is_lost: Flags, is_interior: Flags, opened_ns: int, now_ns: int
) -> tuple[StackReach, ...]:
    """Return the stacks, those that have lost most first."""
    born_s = (census.born_ns.astype(np.int64) - opened_ns).clip(0) / 1e9
    width_s = max(1, now_ns - opened_ns) / 1e9 / AGE_BANDS
    bands = np.minimum((born_s / width_s).astype(np.int64), AGE_BANDS - 1)
    cells = census.stack_numbers * AGE_BANDS + bands
    count = len(census.stacks) * AGE_BANDS
    sizes = census.sizes.astype(np.int64)
    table = np.column_stack(
        [
            np.bincount(cells, minlength=count),
            _sum(cells, sizes, count),
            np.bincount(cells[is_lost], minlength=count),
            _sum(cells[is_lost], sizes[is_lost], count),
        ]
    ).reshape(-1, AGE_BANDS, 4)
    interior = np.bincount(
        census.stack_numbers[is_interior & ~is_lost], minlength=len(census.stacks)
    )
    found = []
    for number, frames in enumerate(census.stacks):
        live_blocks, live_bytes, lost_blocks, lost_bytes = table[number].sum(axis=0).tolist()
        ages = tuple(
            AgeBand(band * width_s, (band + 1) * width_s, *row)
            for band, row in enumerate(table[number].tolist())
            if row[0]
        )
        reached = (live_blocks - lost_blocks, live_bytes - lost_bytes)
        its_interior = int(interior[number])
        found.append(
            StackReach("heap", frames, lost_blocks, lost_bytes, *reached, its_interior, ages)
        )
    return tuple(sorted(found, key=lambda stack: -stack.lost_bytes))


def _sum(cells: NDArray[np.int64], sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the sums of sizes by cell, exactly."""
    sums = np.zeros(count, np.int64)
    np.add.at(sums, cells, sizes)
    return sums
