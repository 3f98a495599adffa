"""The books of glibc's malloc in a process's memory: its arenas, and the blocks that wait there.

What is read is what glibc 2.32 to 2.41 writes on 64-bit Linux (malloc/malloc.c and arena.c there).
An *arena* is a record of 2,200 bytes: the heads of lists of freed chunks, the address of *top*,
from which new chunks are cut, and the address of the next arena, round in a ring. The main arena
lies in the C library's data; each other one at the start of a *heap*, memory mapped at a multiple
of 64 MiB, and its further heaps begin likewise.

A block that waits in a thread's *tcache* or in an arena's *fastbins* looks like one in use, so
their lists have to be followed, and the process has to stand still for that. It is written for
`find_freed`; chunks.py tells of chunks at length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lablib.reachability.mappings import Mapping, find_mapping
from lablib.reachability.words import Memory, Range

Words = NDArray[np.uint64]

ARENA_BYTES = 2200
_FASTBINS_AT, _FASTBINS = 16, 10
_TOP_AT, _BINS_AT, _BINS = 96, 112, 127
_NEXT_AT = 2160
_HEAP_BYTES = 64 << 20
_HEAP_INFO_WORDS = 3
_CHUNK_ALIGNMENT, _HEADER_BYTES, _FLAGS = 16, 16, 7
_MIN_CHUNK_BYTES = 32
_TCACHE_CHUNK_BYTES, _TCACHE_BINS = 656, 64
_TLS_BYTES = 64 << 10
"""How far from its thread pointer a thread's own variables are looked through for its tcache."""
_MAX_DATA_BYTES = 64 << 20
_MAX_ARENAS = 4096
_MAX_WAITING = 50_000
"""Of more freed blocks than that the rest is taken for used: each takes some 2 microseconds."""
_START_BRK = 44


@dataclass(frozen=True)
class Books:
    """What malloc keeps for itself: where its chunks are, and which of them wait.

    `heaps` are ranges of chunks by address, from the first one to the end of the last; `tops` the
    addresses of the chunks that are cut from; `own` the ranges of its records, whose pointers
    count for nothing; `waiting` the addresses of the chunks that wait in a tcache or a fastbin.
    `has_all_waiting` is False where there are more.
    """

    heaps: tuple[Range, ...]
    tops: tuple[int, ...]
    own: tuple[Range, ...]
    waiting: tuple[int, ...]
    has_all_waiting: bool


class _UnknownBooksError(Exception):
    """This is no arena, or not one that can be read."""


def read_books(
    folder: Path, memory: Memory, mappings: Sequence[Mapping], thread_pointers: Sequence[int]
) -> Books | None:
    """Return malloc's books in a process that stands still; None where they are not glibc's.

    `folder` is its /proc/PID or a thread's, `thread_pointers` where each thread's own variables
    lie. Raises `OSError` when the process is gone.
    """
    bases = _find_heap_bases(memory, mappings)
    arenas = _find_arenas(memory, mappings, bases)
    if not arenas:
        return None
    heaps = [*_find_main_heaps(folder, mappings), *_find_other_heaps(memory, bases, arenas)]
    finder = _WaitingFinder(memory, heaps)
    try:
        for thread_pointer in thread_pointers:
            finder.follow_tcache(_find_thread_words(memory, mappings, thread_pointer))
        for arena in arenas:
            finder.follow_fastbins(arena)
        has_all = True
    except _TooManyError:
        has_all = False
    return Books(
        heaps=tuple(sorted(heaps)),
        tops=tuple(memory.read_words(arena + _TOP_AT, 1)[0] for arena in arenas),
        own=tuple(
            sorted(
                [(arena, arena + ARENA_BYTES) for arena in arenas]
                + [(base, base + _round_up(8 * _HEAP_INFO_WORDS)) for base in bases]
            )
        ),
        waiting=tuple(finder.found),
        has_all_waiting=has_all,
    )


def _round_up(address: int) -> int:
    return -(-address // _CHUNK_ALIGNMENT) * _CHUNK_ALIGNMENT


def _find_heap_bases(memory: Memory, mappings: Sequence[Mapping]) -> dict[int, tuple[int, int]]:
    """Return the heaps outside [heap]: base -> (address of its arena, size in bytes)."""
    found = {}
    for mapping in mappings:
        is_anonymous = not mapping.is_file and mapping.permissions.startswith("rw-p")
        if not is_anonymous:
            continue
        for base in range(-(-mapping.start // _HEAP_BYTES) * _HEAP_BYTES, mapping.end, _HEAP_BYTES):
            words = memory.read_words(base, _HEAP_INFO_WORDS)
            if len(words) == _HEAP_INFO_WORDS:
                arena, _previous, size = words
                if arena and 0 < size <= _HEAP_BYTES and base + size <= mapping.end:
                    found[base] = (arena, size)
    return found


def _find_arenas(
    memory: Memory, mappings: Sequence[Mapping], bases: dict[int, tuple[int, int]]
) -> list[int]:
    """Return the addresses of all arenas in use, the main one among them, or nothing."""
    for candidate in [*_find_lone_arenas(memory, mappings), *(a for a, _ in bases.values())]:
        try:
            ring = _follow_ring(memory, candidate)
            in_use = [arena for arena in ring if _is_in_use(memory, arena)]
        except _UnknownBooksError:
            continue
        if in_use:
            return in_use
    return []


def _find_lone_arenas(memory: Memory, mappings: Sequence[Mapping]) -> Iterator[int]:
    """Yield where the data of a file could hold an arena that is its own successor."""
    for mapping in mappings:
        size = mapping.end - mapping.start
        if mapping.is_file and mapping.permissions == "rw-p" and size <= _MAX_DATA_BYTES:
            words: Words = np.array(memory.read_words(mapping.start, size // 8), np.uint64)
            arenas = (
                np.uint64(mapping.start - _NEXT_AT) + np.arange(len(words), dtype=np.uint64) * 8
            )
            yield from words[words == arenas].tolist()


def _follow_ring(memory: Memory, first: int) -> list[int]:
    ring = [first]
    while (following := _read_word(memory, ring[-1] + _NEXT_AT)) != first:
        if len(ring) == _MAX_ARENAS or following in ring:
            raise _UnknownBooksError
        ring.append(following)
    return ring


def _is_in_use(memory: Memory, arena: int) -> bool:
    """Return whether an arena has chunks; raises `_UnknownBooksError` where it is none.

    Each of its 127 bins is two words that name itself, as long as it is empty, or two chunks.
    """
    words = memory.read_words(arena + _BINS_AT, 2 * _BINS)
    if len(words) != 2 * _BINS:
        raise _UnknownBooksError
    if not any(words):
        return False  # nobody has called malloc yet
    for number in range(_BINS):
        itself = arena + _BINS_AT + (number - 1) * _HEADER_BYTES
        ends = words[2 * number : 2 * number + 2].tolist()
        is_chunk = all(end and end % _CHUNK_ALIGNMENT == 0 for end in ends)
        if ends != [itself, itself] and (itself in ends or not is_chunk):
            raise _UnknownBooksError
    top = _read_word(memory, arena + _TOP_AT)
    return not arena <= top < arena + ARENA_BYTES  # there is none yet


def _read_word(memory: Memory, address: int) -> int:
    words = memory.read_words(address, 1)
    if not words:
        raise _UnknownBooksError
    return words[0]


def _find_main_heaps(folder: Path, mappings: Sequence[Mapping]) -> list[Range]:
    """Return where [heap] has chunks, as far as that is known: it begins with them."""
    parts = [mapping for mapping in mappings if mapping.name == "[heap]"]
    if not parts:
        return []
    stat = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return [(_round_up(max(int(stat[_START_BRK]), parts[0].start)), parts[-1].end)]


def _find_other_heaps(
    memory: Memory, bases: dict[int, tuple[int, int]], arenas: Sequence[int]
) -> Iterator[Range]:
    for base, (arena, size) in bases.items():
        if arena in arenas:
            own_base = arena & -_HEAP_BYTES
            is_first = base == own_base
            begin = arena + ARENA_BYTES if is_first else base + (arena - own_base)
            yield _round_up(begin), base + size


def _find_thread_words(
    memory: Memory, mappings: Sequence[Mapping], thread_pointer: int
) -> list[int]:
    """Return what the variables of a thread hold, on both sides of its thread pointer."""
    number = find_mapping(mappings, thread_pointer)
    if number is None:
        return []
    start = max(mappings[number].start, (thread_pointer & -8) - _TLS_BYTES)
    end = min(mappings[number].end, (thread_pointer & -8) + _TLS_BYTES)
    return memory.read_words(start, (end - start) // 8).tolist()


class _TooManyError(Exception):
    """More blocks wait than there is time to look at."""


class _WaitingFinder:
    """Follows the lists of blocks that wait to be handed out again."""

    def __init__(self, memory: Memory, heaps: Sequence[Range]) -> None:
        self.found: list[int] = []
        self._memory = memory
        self._heaps = heaps

    def follow_tcache(self, thread_words: Sequence[int]) -> None:
        """Take what waits in a thread's tcache: one of its variables points there."""
        for word in set(thread_words):
            if word % _CHUNK_ALIGNMENT == 0 and self._is_in_heap(word):
                waiting = self._read_tcache(word)
                if waiting is not None:
                    self._take(waiting)
                    return

    def follow_fastbins(self, arena: int) -> None:
        """Take what waits in an arena's fastbins."""
        for head in self._memory.read_words(arena + _FASTBINS_AT, _FASTBINS).tolist():
            waiting: list[int] = []
            chunk = head
            while chunk and self._is_in_heap(chunk):
                waiting.append(chunk)
                if len(waiting) + len(self.found) > _MAX_WAITING:
                    raise _TooManyError
                chunk = self._follow(chunk + _HEADER_BYTES)
            self._take(waiting)

    def _take(self, waiting: Sequence[int]) -> None:
        self.found += waiting
        if len(self.found) > _MAX_WAITING:
            raise _TooManyError

    def _is_in_heap(self, address: int) -> bool:
        return any(start <= address < end for start, end in self._heaps)

    def _follow(self, at: int) -> int:
        """Return the pointer at an address, which glibc has mixed with that; 0 where it is none."""
        words = self._memory.read_words(at, 1)
        return words[0] ^ (at >> 12) if words else 0

    def _read_tcache(self, address: int) -> list[int] | None:
        """Return the chunks that wait in a tcache; None where there is none at this address.

        Each of its lists must be as long as its count says and hold chunks of its size only.
        """
        if self._read_chunk_size(address - _HEADER_BYTES) != _TCACHE_CHUNK_BYTES:
            return None
        words = self._memory.read_words(address, _TCACHE_BINS // 4 + _TCACHE_BINS)
        if len(words) != _TCACHE_BINS // 4 + _TCACHE_BINS:
            return None
        counts = words[: _TCACHE_BINS // 4].cast("B").cast("H").tolist()
        waiting: list[int] = []
        for number, count in enumerate(counts):
            pointer = words[_TCACHE_BINS // 4 + number]
            for _ in range(count):
                chunk = pointer - _HEADER_BYTES
                size = _MIN_CHUNK_BYTES + number * _CHUNK_ALIGNMENT
                if len(waiting) > _MAX_WAITING or self._read_chunk_size(chunk) != size:
                    return None
                waiting.append(chunk)
                pointer = self._follow(pointer)
            if pointer:
                return None
        return waiting

    def _read_chunk_size(self, chunk: int) -> int | None:
        words = self._memory.read_words(chunk + 8, 1) if chunk > 0 else None
        return words[0] & ~_FLAGS if words else None
