"""The notebook's side of a census: the live blocks of a process, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lablib.records import Frame
from lablib.tracing.decoder import StackDecoder
from lablib.tracing.protocol import (
    BLOCK_FIELDS,
    BLOCK_KEY_FIELDS,
    FIRST_BLOCK_ADDRESS,
    PLACE_FIELDS,
    STACK_FIELDS,
)

Words = NDArray[np.uint64]

_COLUMNS = 1 + len(BLOCK_FIELDS)


@dataclass(frozen=True)
class BlockCensus:
    """The live blocks of a process that were allocated in the window, by address.

    Four arrays of one length: where each block begins, its size in bytes, when it was born (on the
    kernel's monotonic clock, to some 0.05 s, never later than it really was), and which of `stacks`
    allocated it. `taken_ns` is when the census began.
    """

    taken_ns: int
    addresses: Words
    sizes: Words
    born_ns: Words
    stack_numbers: NDArray[np.int64]
    stacks: tuple[tuple[Frame, ...], ...]


def decode_census(
    header: Mapping[str, Any], payload: bytes, decoder: StackDecoder, born_before_ns: int | None
) -> BlockCensus:
    """Return the blocks in a census, without those of other windows and processes.

    Of two blocks with one address, seen because the program went on, the later one counts. With
    `born_before_ns` those are left out then that were born at that time or later.
    """
    edges = np.cumsum([header[name] for name in ("places", "keys", "values")]).tolist()
    blocks = _join_levels(payload[: edges[0]], payload[edges[0] : edges[1]], payload, edges)
    blocks = blocks[np.lexsort((blocks[:, 2], blocks[:, 0]))]
    is_last = np.append(blocks[1:, 0] != blocks[:-1, 0], True)[: len(blocks)]
    blocks = blocks[is_last]
    if born_before_ns is not None:
        blocks = blocks[blocks[:, 2] < born_before_ns]
    rows: Words = np.frombuffer(payload, np.uint64, offset=edges[2]).reshape(-1, decoder.words)
    stacks, index_by_number = _resolve(rows, header["window"], np.unique(blocks[:, 3]), decoder)
    index = index_by_number[np.minimum(blocks[:, 3], len(index_by_number) - 1)]
    blocks, index = blocks[index >= 0], index[index >= 0]
    columns = np.ascontiguousarray(blocks.T)
    return BlockCensus(int(header["now_ns"]), columns[0], columns[1], columns[2], index, stacks)


def _join_levels(places: bytes, keys: bytes, payload: bytes, edges: list[int]) -> Words:
    """Return a row of (address, size, birth, stack's number) for each block."""
    first: Words = np.frombuffer(places, np.uint64).reshape(-1, len(PLACE_FIELDS))
    first = first[first[:, 0] >= FIRST_BLOCK_ADDRESS, :_COLUMNS]
    its_keys: Words = np.frombuffer(keys, np.uint64).reshape(-1, len(BLOCK_KEY_FIELDS))
    values: Words = np.frombuffer(payload, np.uint64, (edges[2] - edges[1]) // 8, edges[1]).reshape(
        -1, len(BLOCK_FIELDS)
    )
    second = np.column_stack((its_keys[:, 0], values))[its_keys[:, 1] == 0]
    return np.concatenate((first, second))


def _resolve(
    rows: Words, window: int, wanted: Words, decoder: StackDecoder
) -> tuple[tuple[tuple[Frame, ...], ...], NDArray[np.int64]]:
    """Return the different stacks, and for each stack's number its place among them, or -1."""
    field = {name: number for number, name in enumerate(STACK_FIELDS)}
    is_mine = (rows[:, field["window"]] == window) & (rows[:, field["process"]] == 0)
    rows = rows[is_mine & (rows[:, field["is_mapping"]] == 0)]
    rows = rows[np.isin(rows[:, field["number"]], wanted)]
    place_by_frames: dict[tuple[Frame, ...], int] = {}
    numbers = rows[:, field["number"]].astype(np.int64)
    index = np.full(int(numbers.max(initial=0)) + 2, -1, np.int64)
    for number, row in zip(numbers.tolist(), rows, strict=True):
        frames, _ = decoder.resolve(row)
        index[number] = place_by_frames.setdefault(frames, len(place_by_frames))
    return tuple(place_by_frames), index
