"""The mark: from words that are roots through the blocks that they lead to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_NARROW = 64
"""Below so many blocks at a time, one by one is faster than numpy: a list is a path of ones."""


@dataclass(frozen=True)
class Marks:
    """For each block, whether anything leads to it, and whether by a word with its first address.

    `is_interior` is of reached blocks only.
    """

    is_reached: Flags
    is_interior: Flags


def mark_blocks(
    starts: Words,
    sizes: Words,
    extents: Words,
    addresses: Words,
    values: Words,
    is_ignored: Flags,
    roots: Words,
) -> Marks:
    """Return what the words lead to.

    The blocks begin at `starts`, in order of address and none overlapping another. A word points at
    a block when its value is in its `sizes` bytes (one, for a block of none). `values` are the
    words that were read at `addresses`, in any order: one inside the first `extents` bytes of a
    block counts once that block is reached, all others are roots but for those that are ignored.
    `roots` are words without an address: registers.
    """
    count = len(starts)
    if not count:
        return Marks(np.zeros(0, np.bool_), np.zeros(0, np.bool_))
    targets = _find_blocks(starts, np.maximum(sizes, np.uint64(1)), values)
    is_pointer = targets >= 0
    targets, values, addresses = targets[is_pointer], values[is_pointer], addresses[is_pointer]
    sources = _find_blocks(starts, extents, addresses)
    is_counted = (sources >= 0) | ~is_ignored[is_pointer]
    targets, sources, values = targets[is_counted], sources[is_counted], values[is_counted]
    register_targets = _find_blocks(starts, np.maximum(sizes, np.uint64(1)), roots)
    register_values = roots[register_targets >= 0]
    register_targets = register_targets[register_targets >= 0]
    is_root = sources < 0
    first = np.unique(np.concatenate((targets[is_root], register_targets)))
    is_reached = _spread(count, first, sources[~is_root], targets[~is_root])
    has_exact = np.zeros(count, np.bool_)
    has_exact[register_targets[register_values == starts[register_targets]]] = True
    is_from_reached = is_root | is_reached[sources]
    is_exact = is_from_reached & (values == starts[targets])
    has_exact[targets[is_exact]] = True
    return Marks(is_reached, is_reached & ~has_exact)


def _find_blocks(starts: Words, lengths: Words, values: Words) -> Numbers:
    """Return for each value the number of the block that it is in, or -1."""
    found: Numbers = np.searchsorted(starts, values, "right").astype(np.int64) - 1
    is_inside = found >= 0
    is_inside[is_inside] = (values - starts[found])[is_inside] < lengths[found[is_inside]]
    return np.where(is_inside, found, -1)


def _spread(count: int, first: Numbers, sources: Numbers, targets: Numbers) -> Flags:
    """Return which of `count` blocks the edges lead to from the `first` ones, and those."""
    is_reached = np.zeros(count, np.bool_)
    is_reached[first] = True
    order = np.argsort(sources, kind="stable")
    targets = targets[order]
    begins: Numbers = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(sources, minlength=count), out=begins[1:])
    frontier = first
    place: Numbers = np.zeros(count, np.int64)
    while len(frontier):
        if len(frontier) < _NARROW:
            frontier = _spread_narrow(is_reached, frontier, begins, targets)
            continue
        found = targets[_expand(begins[frontier], begins[frontier + 1])]
        found = found[~is_reached[found]]
        is_reached[found] = True
        numbers = np.arange(len(found))
        place[found] = numbers
        frontier = found[place[found] == numbers]  # each once
    return is_reached


def _expand(begins: Numbers, ends: Numbers) -> Numbers:
    """Return the numbers from each begin to its end, one behind the other."""
    lengths = ends - begins
    offsets = np.repeat(begins - np.cumsum(lengths) + lengths, lengths)
    expanded: Numbers = offsets + np.arange(len(offsets))
    return expanded


def _spread_narrow(
    is_reached: Flags, frontier: Numbers, begins: Numbers, targets: Numbers
) -> Numbers:
    """Follow the edges one by one until nothing is left, or the frontier is wide again."""
    seen, first, edges = is_reached.data.cast("B"), begins.data, targets.data
    pending = frontier.tolist()
    while pending and len(pending) < 4 * _NARROW:
        block = pending.pop()
        place, end = first[block], first[block + 1]
        while place < end:
            target = edges[place]
            place += 1
            if not seen[target]:
                seen[target] = 1
                pending.append(target)
    return np.array(pending, np.int64)
