"""What lies in malloc's heap between the blocks that are known: freed memory, or older blocks.

A freed chunk still holds what the program had there, and malloc's own list pointers: neither
points at anything any more. A block from before the tracing began is as good as any. So the chunks
between the known blocks are walked, from each known block to the next, all these walks at once.
What no walk explains is left to be taken for used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lablib.reachability.malloc import Books
from lablib.reachability.words import MemoryWords

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_FLAGS, _MAPPED_ALONE, _PREVIOUS_IN_USE = np.uint64(7), np.uint64(2), np.uint64(1)
_HEADER, _WORD = np.uint64(16), np.uint64(8)
_NARROW = 32


@dataclass(frozen=True)
class Freed:
    """What a walk through malloc's heap has found.

    `starts` and `ends` are ranges of addresses, in order, in which no word counts. `extents` are
    for each known block how many bytes of its chunk it may use. `unexplained_bytes` are in gaps
    that could not be walked.
    """

    starts: Words
    ends: Words
    extents: Words
    unexplained_bytes: int

    def covers(self, addresses: Words) -> Flags:
        """Return for each address whether it is in one of the ranges."""
        if not len(self.starts):
            return np.zeros(len(addresses), np.bool_)
        found = np.searchsorted(self.starts, addresses, "right").astype(np.int64) - 1
        return (found >= 0) & (addresses < self.ends[found])


def find_freed(starts: Words, sizes: Words, words: MemoryWords, books: Books | None) -> Freed:
    """Return where in the heap nothing counts, by malloc's books and the headers that were read.

    The known blocks begin at `starts`, by address, and have `sizes` bytes.
    """
    none: Words = np.zeros(0, np.uint64)
    if books is None:
        return Freed(none, none, sizes.copy(), 0)
    chunks = words.header_addresses - _WORD
    chunk_sizes = words.headers & ~_FLAGS
    extents = sizes.copy()
    known = starts - _HEADER
    found, is_there = _find(chunks, known)
    is_chunk = is_there & (words.headers[found] & _MAPPED_ALONE == 0) if len(chunks) else is_there
    if len(chunks):
        is_chunk &= chunk_sizes[found] >= sizes + _WORD
        extents[is_chunk] = chunk_sizes[found[is_chunk]] - _WORD
    spans: list[Words] = []
    unexplained = 0
    for low, high in books.heaps:
        inside = is_chunk & (known >= np.uint64(low)) & (known < np.uint64(high))
        at = known[inside]
        begins = np.concatenate(([np.uint64(low)], at + chunk_sizes[found[inside]]))
        ends = np.append(at, np.uint64(high))
        is_gap = begins < ends
        walk = _walk(chunks, chunk_sizes, begins[is_gap], ends[is_gap], books)
        unexplained += walk.unexplained_bytes
        spans.append(_find_free(walk.chunks, chunks, chunk_sizes, words.headers, books))
    own: Words = np.array(books.own, np.uint64).reshape(-1, 2)
    edges = np.concatenate([own, *spans])
    edges = edges[np.argsort(edges[:, 0], kind="stable")]
    return Freed(edges[:, 0].copy(), edges[:, 1].copy(), extents, unexplained)


def _find(chunks: Words, wanted: Words) -> tuple[Numbers, Flags]:
    """Return where in `chunks` each wanted address is, and whether it is there at all."""
    if not len(chunks):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    found: Numbers = np.minimum(np.searchsorted(chunks, wanted), len(chunks) - 1).astype(np.int64)
    return found, chunks[found] == wanted


@dataclass(frozen=True)
class _Walk:
    """The numbers of the chunks in the gaps that end where the next block begins."""

    chunks: Numbers
    unexplained_bytes: int


def _walk(chunks: Words, sizes: Words, begins: Words, ends: Words, books: Books) -> _Walk:
    """Walk through gaps, all at once as long as there are many."""
    at, is_there = _find(chunks, begins)
    tops = np.array(books.tops, np.uint64)
    gaps = np.arange(len(begins))
    is_whole = np.zeros(len(begins), np.bool_)
    visited: list[Numbers] = []
    visitors: list[Numbers] = []
    at, gaps = at[is_there], gaps[is_there]
    while len(gaps) >= _NARROW:
        visited.append(at)
        visitors.append(gaps)
        following = chunks[at] + sizes[at]
        has_ended = (following == ends[gaps]) | np.isin(chunks[at], tops)
        # A heap that was left for another one ends with two headers that have no chunk.
        has_ended |= (sizes[at] == _HEADER) & (following + _HEADER == ends[gaps])
        is_whole[gaps[has_ended]] = True
        goes_on = ~has_ended & (following < ends[gaps]) & (sizes[at] >= 2 * _HEADER)
        at, gaps = at[goes_on], gaps[goes_on]
        found, is_there = _find(chunks, chunks[at] + sizes[at])
        at, gaps = found[is_there], gaps[is_there]
    if len(gaps):
        one_by_one = _walk_narrow(chunks, sizes, at, gaps, ends, set(books.tops), is_whole)
        visited.append(one_by_one[0])
        visitors.append(one_by_one[1])
    none: Numbers = np.zeros(0, np.int64)
    all_visited = np.concatenate([none, *visited])
    is_good = is_whole[np.concatenate([none, *visitors])]
    unexplained = (ends - begins)[~is_whole]
    return _Walk(all_visited[is_good], int(unexplained.sum()))


def _walk_narrow(
    chunks: Words,
    sizes: Words,
    at: Numbers,
    gaps: Numbers,
    ends: Words,
    tops: set[int],
    is_whole: Flags,
) -> tuple[Numbers, Numbers]:
    """Walk through gaps one by one; return the chunks and their gaps, and set `is_whole`."""
    size_by_chunk, number_by_chunk = sizes.data, chunks.data
    visited: list[int] = []
    visitors: list[int] = []
    count = len(chunks)
    for first, gap in zip(at.tolist(), gaps.tolist(), strict=True):
        place, end, length = first, int(ends[gap]), len(visited)
        chunk = number_by_chunk[place]
        while True:
            visited.append(place)
            following = chunk + size_by_chunk[place]
            is_fence = following - chunk == 16 and following + 16 == end
            if following == end or chunk in tops or is_fence:
                is_whole[gap] = True
                break
            if following > end or following - chunk < 32:
                break
            while place < count and number_by_chunk[place] < following:
                place += 1  # what lies in between only looks like a header
            if place == count or number_by_chunk[place] != following:
                break
            chunk = following
        visitors += [gap] * (len(visited) - length)
    return np.array(visited, np.int64), np.array(visitors, np.int64)


def _find_free(walked: Numbers, chunks: Words, sizes: Words, headers: Words, books: Books) -> Words:
    """Return the ranges of the walked chunks that are not in use, in rows of two."""
    at, size = chunks[walked], sizes[walked]
    found, is_there = _find(chunks, at + size)
    is_free = is_there & (headers[found] & _PREVIOUS_IN_USE == 0)
    is_free |= np.isin(at, np.array(books.tops, np.uint64))
    is_free |= np.isin(at, np.array(books.waiting, np.uint64))
    # The first word of the next chunk is the free one's, too.
    ranges: Words = np.column_stack((at + _WORD, at + size + _WORD))
    free: Words = ranges[is_free]
    return free
