"""The words of a process's memory that could be pointers into its heap.

A word is 8 bytes at a multiple of 8. The memory is read in pieces and only what passes is kept, so
that it takes no more room than there are pointers.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lablib.reachability.mappings import Mapping

Words = NDArray[np.uint64]

RED_ZONE_BYTES = 128
"""Below the stack pointer, a function that calls none may keep so much (the x86-64 ABI)."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_WORD_BYTES = 8
_PIECE_BYTES = 1 << 20
_MIN_HEADER = 16
_MANY_HEADERS = 8
"""More than one header in so many times 16 bytes is more than blocks of 128 bytes have."""
_READERS = min(4, os.cpu_count() or 1)
_PAGEMAP_PAGES = 1 << 17

# Bits of an entry of /proc/PID/pagemap (the kernel's admin-guide/mm/pagemap.rst)
_PRESENT, _SWAPPED, _OF_FILE = np.uint64(1 << 63), np.uint64(1 << 62), np.uint64(1 << 61)

Range = tuple[int, int]
Blocks = tuple[Words, Words]


class Memory:
    """A process's memory by address: an open /proc/PID/mem, which stays its opener's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_into(self, address: int, buffer: memoryview) -> int:
        """Read to the end of a buffer; return how many bytes came before what can't be read."""
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self._descriptor, [buffer[done:]], address + done)
            except (OSError, OverflowError):
                break
            if not count:
                break
            done += count
        return done

    def read_words(self, address: int, count: int) -> memoryview[int]:
        """Return `count` words, or as many as can be read."""
        buffer = bytearray(8 * count)
        done = self.read_into(address, memoryview(buffer))
        return memoryview(buffer)[: done - done % 8].cast("Q")


@dataclass(frozen=True)
class MemoryWords:
    """Words that were read, with their addresses, both in order of address.

    `pointers` lie somewhere in the heap's mappings, `headers` could be what malloc writes before a
    block (the addresses are those of the words themselves). `scanned_bytes` have been read and
    `unread_bytes` could not be.
    """

    addresses: Words
    pointers: Words
    header_addresses: Words
    headers: Words
    scanned_bytes: int
    unread_bytes: int


def select_ranges(
    folder: Path, mappings: Sequence[Mapping], stack_pointers: Sequence[int]
) -> list[Range]:
    """Return where a process may keep pointers: ranges of pages that are in memory or swapped out.

    `folder` is its /proc/PID, or a thread's. The part of a thread's stack that is not in use counts
    for nothing: what lies below its stack pointer, if it is known that there is nothing else in
    that mapping, because it is the first thread's or has a guard page. Raises `OSError`.
    """
    pointers = np.sort(np.array(stack_pointers, np.uint64))
    ranges: list[Range] = []
    with (folder / "pagemap").open("rb", buffering=0) as pagemap:
        previous: Mapping | None = None
        for mapping in mappings:
            if mapping.may_hold_pointers:
                start = mapping.start
                inside = pointers[(pointers >= mapping.start) & (pointers < mapping.end)]
                if len(inside) and _is_stack_alone(mapping, previous):
                    start = max(start, (int(inside[0]) - RED_ZONE_BYTES) & -8)
                for low, high in _find_resident(pagemap.fileno(), mapping, start):
                    ranges.append((max(low, start), high))
            previous = mapping
    return ranges


def _is_stack_alone(mapping: Mapping, previous: Mapping | None) -> bool:
    return mapping.name == "[stack]" or (
        previous is not None
        and previous.end == mapping.start
        and previous.permissions.startswith("---")
        and not mapping.is_file
    )


def _find_resident(pagemap: int, mapping: Mapping, start: int) -> Iterator[Range]:
    """Yield the runs of pages, from `start` on, that hold what the process has written."""
    first, last = start // _PAGE_BYTES, mapping.end // _PAGE_BYTES
    for page in range(first, last, _PAGEMAP_PAGES):
        raw = os.pread(pagemap, 8 * min(_PAGEMAP_PAGES, last - page), 8 * page)
        entries: Words = np.frombuffer(raw, np.uint64)
        is_held = (entries & (_PRESENT | _SWAPPED)) != 0
        if mapping.is_file and not mapping.is_shared:
            is_held &= (entries & _OF_FILE) == 0  # what was not written is as it is in the file
        edges = np.flatnonzero(np.diff(is_held.astype(np.int8), prepend=0, append=0)) + page
        for low, high in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            yield low * _PAGE_BYTES, high * _PAGE_BYTES


@dataclass(frozen=True)
class WordsInPieces:
    """What was found in the pieces of memory, in order of address; joining it can wait."""

    parts: Sequence[tuple[int, Words, Words, Words, Words]]
    wanted_bytes: int

    def join(self) -> MemoryWords:
        """Return it as a whole."""
        none: Words = np.zeros(0, np.uint64)
        columns = [np.concatenate([none, *(part[n] for part in self.parts)]) for n in (1, 2, 3, 4)]
        scanned = sum(part[0] for part in self.parts)
        return MemoryWords(
            *(columns[0], columns[1], columns[2], columns[3]),
            scanned_bytes=scanned,
            unread_bytes=self.wanted_bytes - scanned,
        )


class _Filter:
    """What passes, found by several threads; each has buffers of its own."""

    def __init__(
        self, memory: Memory, heap: Sequence[Range], chunked: Sequence[Range], known: Blocks
    ) -> None:
        self._memory = memory
        self._chunked = chunked
        self._starts, self._ends = known
        self._local = threading.local()
        self._low = np.uint64(heap[0][0])
        self._span = np.uint64(heap[-1][1] - heap[0][0])
        self._edges: Words = np.array([edge for part in heap for edge in part], np.uint64)

    def read(self, piece: Range) -> tuple[int, Words, Words, Words, Words]:
        """Return how much of a piece could be read, and what passes in it."""
        if not hasattr(self._local, "buffers"):
            words_in_piece = _PIECE_BYTES // _WORD_BYTES
            self._local.buffers = [np.empty(words_in_piece, np.uint64) for _ in range(2)]
            self._local.passes = np.empty(words_in_piece, np.bool_)
        start, end = piece
        buffer, scratch = self._local.buffers
        buffer = buffer[: (end - start) // _WORD_BYTES]
        done = self._memory.read_into(start, buffer.data.cast("B")) // _WORD_BYTES
        words = buffer[:done]
        distances = np.subtract(words, self._low, out=scratch[:done])
        places = np.flatnonzero(np.less(distances, self._span, out=self._local.passes[:done]))
        values = words[places]
        if len(self._edges) > 2:
            is_inside = np.searchsorted(self._edges, values, "right") & 1 == 1
            places, values = places[is_inside], values[is_inside]
        found = _place(start, places), values, *self._find_headers(start, words, scratch)
        return _WORD_BYTES * done, *found

    def _find_headers(self, start: int, words: Words, scratch: Words) -> tuple[Words, Words]:
        """Return the words of a piece that could be the size of a chunk."""
        region = next((part for part in self._chunked if part[0] <= start < part[1]), None)
        if region is None:
            return words[:0], words[:0]
        odd = (start // _WORD_BYTES + 1) % 2
        sizes = words[odd::2]
        limit = np.uint64(region[1] - region[0])
        above = np.subtract(sizes, np.uint64(_MIN_HEADER), out=scratch[: len(sizes)])
        passes = np.less(above, limit, out=self._local.passes[: len(sizes)])
        if np.count_nonzero(passes) > len(sizes) // _MANY_HEADERS:
            passes &= ~self._are_inside(start + _WORD_BYTES * odd, len(sizes))
        found = np.flatnonzero(passes)
        places = 2 * found[sizes[found] & np.uint64(8) == 0] + odd
        return _place(start, places), words[places]

    def _are_inside(self, start: int, count: int) -> NDArray[np.bool_]:
        """Return of every second word, from `start` on, whether it is in a block that is known."""
        stride = 2 * _WORD_BYTES
        end = np.uint64(start + stride * count)
        first = max(0, int(np.searchsorted(self._starts, np.uint64(start))) - 1)
        last = int(np.searchsorted(self._starts, end))
        steps = np.zeros(count + 1, np.int8)
        for addresses, step in ((self._starts, 1), (self._ends, -1)):
            distances = addresses[first:last].clip(np.uint64(start), end) - np.uint64(start)
            places = ((distances + np.uint64(stride - 1)) // np.uint64(stride)).astype(np.int64)
            np.add.at(steps, places, np.int8(step))
        return np.cumsum(steps[:count], dtype=np.int8).view(np.bool_)


def _place(start: int, places: NDArray[np.int64]) -> Words:
    addresses: Words = np.uint64(start) + places.astype(np.uint64) * np.uint64(_WORD_BYTES)
    return addresses


def read_pointers(
    memory: Memory,
    ranges: Sequence[Range],
    heap: Sequence[Range],
    chunked: Sequence[Range],
    known: Blocks,
) -> WordsInPieces:
    """Read ranges of memory, in order of address, and return the words in them that matter.

    Pointers are those to somewhere in `heap`, headers are looked for in `chunked` alone; both are
    ranges in order of address. `known` are the begins and the ends of blocks, by address: where
    much looks like headers, the content of these is left out.
    """
    pieces = [
        (start, min(start + _PIECE_BYTES, high))
        for low, high in _split(ranges, chunked)
        for start in range(low, high, _PIECE_BYTES)
    ]
    found = _Filter(memory, heap, chunked, known)
    with ThreadPoolExecutor(_READERS) as pool:
        parts = list(pool.map(found.read, pieces))
    return WordsInPieces(parts, sum(end - start for start, end in pieces))


def _split(ranges: Sequence[Range], chunked: Sequence[Range]) -> Iterator[Range]:
    """Yield the ranges, cut where a part of the heap that has chunks begins or ends."""
    edges = sorted({edge for part in chunked for edge in part})
    for low, high in ranges:
        cuts = [low, *(edge for edge in edges if low < edge < high), high]
        yield from itertools.pairwise(cuts)
