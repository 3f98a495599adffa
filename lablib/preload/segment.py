"""The segment on the lab's side: made, and read while the program writes to it.

The program never waits for us: what is read is looked at twice where it may have been changed on
the way.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lablib.errors import TracerError
from lablib.language import term
from lablib.preload.layout import (
    BIRTH_SHIFT,
    BLOCK_WORDS,
    CLOCK_OF_BIRTHS,
    COUNTERS,
    EVENT_WORDS,
    EVENTS_LEN,
    SEGMENT_FIELDS,
    SHARD_WORDS,
    SHARDS,
    SLOT_WORDS,
    SLOTS,
    STACK_BITS,
    STACK_WORDS,
    USAGE_WORDS,
    VERSION,
    Layout,
)
from lablib.reachability.mappings import LAB_SEGMENT
from lablib.records import UnwindTables
from lablib.tracing.protocol import MAX_UNWIND_PAGES, MAX_UNWIND_ROWS
from lablib.wording import os_reason

_FIELD = {name: number for number, name in enumerate(SEGMENT_FIELDS)}
_VERSION_WORD = USAGE_WORDS - 1
_ATTEMPTS = 50

Words = NDArray[np.uint64]


class MappingReport(NamedTuple):
    """A `struct mapping_event` behind its sequence number."""

    kind: int
    mapping_class: int
    thread: int
    address: int
    length_bytes: int
    stack_id: int
    time_ns: int


class Segment(AbstractContextManager["Segment"]):
    """Memory that a program will share with us; a context manager that lets go of our side."""

    def __init__(self, max_stacks: int, max_blocks: int) -> None:
        """Make it, closed: nothing counts yet. Raises `TracerError` where there is no memory."""
        self.max_stacks = max_stacks
        self._layout = layout = Layout.of(MAX_UNWIND_PAGES, MAX_UNWIND_ROWS, max_stacks, max_blocks)
        try:
            self.descriptor = os.memfd_create(LAB_SEGMENT, os.MFD_CLOEXEC)
            os.ftruncate(self.descriptor, layout.pieces_end)
            self._memory = mmap.mmap(self.descriptor, layout.pieces_end)
        except OSError as error:
            raise TracerError(
                term("there is no memory to share ({reason})", reason=os_reason(error))
            ) from None
        self._words: Words = np.frombuffer(self._memory, np.uint64)
        written = {
            "version": VERSION,
            "window": 1,
            "tracer": os.getpid(),
            "begin_ns": time.clock_gettime_ns(CLOCK_OF_BIRTHS),
            "max_stacks": max_stacks,
            "index_slots": layout.index_slots,
            "page_numbers_at": layout.page_numbers_at,
            "places_at": layout.places_at,
            "rows_at": layout.rows_at,
            "index_at": layout.index_at,
            "stacks_at": layout.stacks_at,
            "usages_at": layout.usages_at,
            "events_at": layout.events_at,
            "events_len": EVENTS_LEN,
            "pieces_at": layout.pieces_at,
            "pieces_end": layout.pieces_end,
            "size_bytes": layout.pieces_end,
            "blocks_left": max_blocks,
        }
        for name, value in written.items():
            self.write(name, value)

    def __exit__(self, *_: object) -> None:
        """Let go of it; the program keeps its own side."""
        self.close()

    def close(self) -> None:
        """Let go of it; safe more than once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            self._words = np.zeros(0, np.uint64)
            self._memory.close()

    @property
    def allocated_bytes(self) -> int:
        """The memory that it takes so far, on both sides together."""
        return 512 * os.fstat(self.descriptor).st_blocks

    def read(self, name: str) -> int:
        """Return one of SEGMENT_FIELDS."""
        return int(self._words[_FIELD[name]])

    def write(self, name: str, value: int) -> None:
        """Set one of SEGMENT_FIELDS."""
        self._words[_FIELD[name]] = value

    def write_unwind_tables(self, tables: UnwindTables) -> None:
        """Say how the program's code is unwound; the pages are put in order."""
        numbers = np.frombuffer(tables.page_numbers, np.uint64)
        places = np.frombuffer(tables.pages, np.uint64).reshape(-1, 2)
        order = np.argsort(numbers)
        self._view(self._layout.page_numbers_at, len(numbers))[:] = numbers[order]
        self._view(self._layout.places_at, 2 * len(numbers))[:] = places[order].reshape(-1)
        rows = np.frombuffer(tables.rows, np.uint64)
        self._view(self._layout.rows_at, len(rows))[:] = rows
        self.write("unwind_pages", len(numbers))

    def read_counters(self) -> dict[str, int]:
        """Return COUNTERS by name, over all threads."""
        slots = self._slots()[:, 2 : 2 + len(COUNTERS)]
        return dict(zip(COUNTERS, slots.sum(axis=0).tolist(), strict=True))

    def is_recording(self) -> bool:
        """Whether a thread is just recording something."""
        return bool(self._slots()[:, 1].any())

    def read_stacks(self) -> Words:
        """Return a row of STACK_WORDS for each stack that was seen, by number."""
        seen = min(self.read("stacks_seen"), self.max_stacks)
        stacks = self._view(self._layout.stacks_at, seen * STACK_WORDS)
        rows: Words = stacks.reshape(seen, STACK_WORDS).copy()
        return rows

    def read_usages(self, count: int) -> Words:
        """Return a row of USAGE_WORDS for each of the first `count` stacks, over all threads.

        A block that is freed by another thread than its own may seem to be freed before it is
        allocated, if both come while we read: then we read again.
        """
        all_rows = self._view(
            self._layout.usages_at, SLOTS * self.max_stacks * USAGE_WORDS
        ).reshape(SLOTS, self.max_stacks, USAGE_WORDS)
        used = np.flatnonzero(self._slots()[:, 0])
        numbers = sorted({*used.tolist(), SLOTS - 1})
        total: Words = np.zeros((count, USAGE_WORDS), np.uint64)
        for _ in range(_ATTEMPTS):
            total[:] = 0
            for number in numbers:
                total += _read_rows(all_rows[number, :count])
            if not (total[:, 3] > total[:, 1]).any():
                break
        return total

    def read_blocks(self) -> Words:
        """Return a row for each live block: its address, size, birth (ns) and stack number."""
        begin_ns = np.uint64(self.read("begin_ns"))
        parts = [self._read_shard(number) for number in range(SHARDS)]
        blocks = np.concatenate(parts)
        births = (blocks[:, 2] >> np.uint64(STACK_BITS) << np.uint64(BIRTH_SHIFT)) + begin_ns
        stacks = blocks[:, 2] & np.uint64((1 << STACK_BITS) - 1)
        return np.column_stack([blocks[:, 0], blocks[:, 1], births, stacks])

    def take_reports(self) -> Iterator[MappingReport]:
        """Yield the reports of mappings since the last time, in order, and forget them."""
        taken, seen = self.read("events_taken"), self.read("events_seen")
        events = self._view(self._layout.events_at, EVENTS_LEN * EVENT_WORDS)
        events = events.reshape(EVENTS_LEN, EVENT_WORDS)
        while taken < seen:
            sequence, *values = events[taken % EVENTS_LEN].tolist()
            if sequence != taken + 1:
                break  # it is being written
            taken += 1
            self.write("events_taken", taken)
            yield MappingReport(*values)

    def _read_shard(self, number: int) -> Words:
        """Return the blocks of one table, as they are there: it may change while we read."""
        shards = self._view(self._layout.shards_at, SHARDS * SHARD_WORDS)
        shard = shards[number * SHARD_WORDS : (number + 1) * SHARD_WORDS]
        blocks: Words = np.zeros((0, BLOCK_WORDS), np.uint64)
        for _ in range(_ATTEMPTS):
            lock, version, blocks_at = shard[:3].tolist()
            if not blocks_at:
                return blocks
            count = 1 << (lock >> 32)
            table = self._view(blocks_at, count * BLOCK_WORDS).reshape(count, BLOCK_WORDS).copy()
            blocks = table[table[:, 0] != 0]
            if int(shard[1]) == version and not version & 1:
                break
        return blocks

    def _slots(self) -> Words:
        slots = self._view(self._layout.slots_at, SLOTS * SLOT_WORDS)
        return slots.reshape(SLOTS, SLOT_WORDS)

    def _view(self, offset: int, words: int) -> Words:
        return self._words[offset // 8 : offset // 8 + words]


def _read_rows(rows: Words) -> Words:
    """Return a copy; a row that was being changed, as its version says, is read again."""
    copy: Words = rows.copy()
    for _ in range(_ATTEMPTS):
        torn = np.flatnonzero(copy[:, _VERSION_WORD] & np.uint64(1))
        if not len(torn):
            break
        for number in torn.tolist():
            copy[number] = rows[number]
    return copy
