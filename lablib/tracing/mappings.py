"""The ledger of what a process maps by itself: events in, totals by call stack out.

A munmap need not match a mmap: it may take a part of a mapping, or parts of several, or a hole.
So the ledger knows the pieces that are mapped, and which mapping each of them is from.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

REMEMBERED_EVENTS = 4096
"""A failure is undone if it comes within so many events of its "unmap"; they are usually next to
each other."""

EVENT_KINDS: tuple[Literal["map", "unmap", "unmap_failed"], ...] = ("map", "unmap", "unmap_failed")
"""Of mapping events, in the order of `enum mapping_kind` in mappings.bpf.c."""

Key: TypeAlias = "tuple[int | str, int]"
"""What totals are kept by: (mapping_class, stack_id)."""


@dataclass(frozen=True)
class MappingEvent:
    """One change of a process's address space, as the kernel side reports it.

    "map": the range is mapped now, whatever was there before. "unmap": a thread enters munmap or
    mremap for this range. "unmap_failed": this call of the same thread failed. A mremap that
    succeeds is an "unmap" of the old range and a "map" of the new one.

    `mapping_class` and `stack_id` say what totals a "map" belongs to; the others have none.
    """

    time_ns: int
    kind: Literal["map", "unmap", "unmap_failed"]
    thread: int
    address: int
    length_bytes: int
    stack_id: int = 0
    mapping_class: int | str = 0


@dataclass
class MappingTotals:
    """What the mappings of one class made from one call stack add up to.

    A mapping counts as freed when its last page goes, its bytes as they go. `live_born_sum_ns` is
    the sum of the birth times of the mappings that have a page left, on the events' clock.
    """

    allocated_bytes: int = 0
    allocated_count: int = 0
    freed_bytes: int = 0
    freed_count: int = 0
    live_born_sum_ns: int = 0


@dataclass
class _Mapping:
    """One mapping as it was made, and how much of it is left."""

    born_ns: int
    totals: MappingTotals
    live_bytes: int = 0


class _Piece(NamedTuple):
    """A range of addresses that is mapped, and the mapping that it is from."""

    start: int
    end: int
    mapping: _Mapping


class _Unmap(NamedTuple):
    """What a thread's last "unmap" did, should it fail."""

    number: int
    removed: list[_Piece]
    unknown_bytes: int


class MappingLedger:
    """The mappings of one process; an event costs some 20 microseconds at 100,000 live pieces."""

    def __init__(self, page_bytes: int) -> None:
        """Begin with nothing on record. Ranges are rounded outwards to pages of `page_bytes`."""
        self.from_before_bytes = 0
        """Bytes that were unmapped, in whole pages, but not on record as mapped."""
        self._page_bytes = page_bytes
        self._pieces = _Pieces()
        self._totals: dict[Key, MappingTotals] = {}
        self._number = 0
        self._unmap_by_thread: OrderedDict[int, _Unmap] = OrderedDict()  # oldest first
        self._ranges: deque[tuple[int, int, int]] = deque(maxlen=REMEMBERED_EVENTS)

    def apply(self, event: MappingEvent) -> None:
        """Enter one event; they come in the order of time. One of no length does nothing."""
        last_unmap = self._unmap_by_thread.pop(event.thread, None)
        if event.kind == "unmap_failed":
            if last_unmap:
                self._restore(last_unmap)
            return
        start, end = self._find_range(event)
        if start == end:
            return
        removed = self._remove(start, end)
        self._number += 1
        self._ranges.append((self._number, start, end))
        self._forget_old_unmaps()
        if event.kind == "map":
            self._add(event, start, end)
        else:
            unknown_bytes = end - start - sum(piece.end - piece.start for piece in removed)
            self.from_before_bytes += unknown_bytes
            self._unmap_by_thread[event.thread] = _Unmap(self._number, removed, unknown_bytes)

    def totals(self) -> dict[Key, MappingTotals]:
        """Return the totals as of now, by (mapping_class, stack_id)."""
        return {key: replace(totals) for key, totals in self._totals.items()}

    def _find_range(self, event: MappingEvent) -> tuple[int, int]:
        """Return the event's first address and the one behind its last, in whole pages."""
        end = event.address + event.length_bytes
        return event.address - event.address % self._page_bytes, end + -end % self._page_bytes

    def _add(self, event: MappingEvent, start: int, end: int) -> None:
        totals = self._totals.setdefault((event.mapping_class, event.stack_id), MappingTotals())
        totals.allocated_bytes += end - start
        totals.allocated_count += 1
        totals.live_born_sum_ns += event.time_ns
        self._pieces.insert(_Piece(start, end, _Mapping(event.time_ns, totals, end - start)))

    def _remove(self, start: int, end: int) -> list[_Piece]:
        """Unmap a range and return what of it was on record."""
        removed = self._pieces.remove(start, end)
        for piece in removed:
            size_bytes, mapping = piece.end - piece.start, piece.mapping
            mapping.live_bytes -= size_bytes
            mapping.totals.freed_bytes += size_bytes
            if not mapping.live_bytes:
                mapping.totals.freed_count += 1
                mapping.totals.live_born_sum_ns -= mapping.born_ns
        return removed

    def _restore(self, unmap: _Unmap) -> None:
        """Undo an "unmap", but for what was mapped over or unmapped by others meanwhile."""
        self.from_before_bytes -= unmap.unknown_bytes
        pieces: Iterable[_Piece] = unmap.removed
        for number, start, end in self._ranges:
            if number > unmap.number:
                pieces = list(_cut_out(pieces, start, end))
        for piece in pieces:
            size_bytes, mapping = piece.end - piece.start, piece.mapping
            if not mapping.live_bytes:
                mapping.totals.freed_count -= 1
                mapping.totals.live_born_sum_ns += mapping.born_ns
            mapping.live_bytes += size_bytes
            mapping.totals.freed_bytes -= size_bytes
            self._pieces.insert(piece)

    def _forget_old_unmaps(self) -> None:
        """Drop those whose following events are no longer all remembered: they did not fail."""
        unmaps = self._unmap_by_thread
        while unmaps and self._number - next(iter(unmaps.values())).number > REMEMBERED_EVENTS:
            unmaps.popitem(last=False)


class _Pieces:
    """Pieces sorted by address, none overlapping another."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []

    def insert(self, piece: _Piece) -> None:
        """Add a piece that overlaps none."""
        insort(self._pieces, piece, key=_start_of)

    def remove(self, start: int, end: int) -> list[_Piece]:
        """Take a range out and return the pieces, or parts of pieces, that were in it."""
        first = bisect_left(self._pieces, start, key=_start_of)
        if first and self._pieces[first - 1].end > start:
            first -= 1
        last = bisect_left(self._pieces, end, first, key=_start_of)
        touched = self._pieces[first:last]
        self._pieces[first:last] = _cut_out(touched, start, end)
        return [_Piece(max(p.start, start), min(p.end, end), p.mapping) for p in touched]


def _start_of(piece: _Piece) -> int:
    return piece.start


def _cut_out(pieces: Iterable[_Piece], start: int, end: int) -> Iterator[_Piece]:
    """Yield what is left of the pieces outside of a range."""
    for piece in pieces:
        if piece.start < start:
            yield _Piece(piece.start, min(piece.end, start), piece.mapping)
        if piece.end > end:
            yield _Piece(max(piece.start, end), piece.end, piece.mapping)
