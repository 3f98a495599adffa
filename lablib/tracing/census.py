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
    levels = _split(header, payload, decoder)
    addresses = levels.join("address")
    order = np.argsort(addresses, kind="stable")
    addresses = addresses[order]
    born_ns = levels.join("born_ns")[order]
    is_last = np.append(addresses[1:] != addresses[:-1], True)[: len(addresses)]
    if not is_last.all():
        born_ns = _find_last_births(born_ns, is_last)
    if born_before_ns is not None:
        is_last &= born_ns < np.uint64(born_before_ns)
    order, addresses, born_ns = order[is_last], addresses[is_last], born_ns[is_last]
    numbers = levels.join("stack_number")[order]
    stacks, index_by_number = _resolve(levels.rows, header["window"], np.unique(numbers), decoder)
    index = index_by_number[np.minimum(numbers, np.uint64(len(index_by_number) - 1))]
    is_mine = index >= 0
    return BlockCensus(
        int(header["now_ns"]),
        addresses[is_mine],
        levels.join("size_bytes")[order][is_mine],
        born_ns[is_mine],
        index[is_mine],
        stacks,
    )


def decode_extents(
    header: Mapping[str, Any], payload: bytes, decoder: StackDecoder
) -> tuple[Words, Words]:
    """Return where the blocks in a census begin and end, by address."""
    levels = _split(header, payload, decoder)
    starts = levels.join("address")
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    return starts, starts + levels.join("size_bytes")[order]


def _find_last_births(born_ns: Words, is_last: NDArray[np.bool_]) -> Words:
    """Return for each block the latest birth of those with its address, which lie side by side."""
    begins = np.flatnonzero(np.append(True, is_last[:-1]))
    latest: Words = np.maximum.reduceat(born_ns, begins)
    return np.repeat(latest, np.diff(np.append(begins, len(born_ns))))


@dataclass(frozen=True)
class _Levels:
    """The two levels of the record, and the rows of the stacks."""

    places: Words
    keys: Words
    values: Words
    rows: Words

    def join(self, field: str) -> Words:
        """Return one field of all blocks, those of the first level first."""
        is_mine = self.keys[:, BLOCK_KEY_FIELDS.index("process")] == 0
        if field in BLOCK_KEY_FIELDS:
            second = self.keys[:, BLOCK_KEY_FIELDS.index(field)]
        else:
            second = self.values[:, BLOCK_FIELDS.index(field)]
        return np.concatenate((self.places[:, PLACE_FIELDS.index(field)], second[is_mine]))


def _split(header: Mapping[str, Any], payload: bytes, decoder: StackDecoder) -> _Levels:
    words: Words = np.frombuffer(payload, np.uint64)
    lengths = [int(header[name]) // 8 for name in ("places", "keys", "values")]
    places, keys, values, rows = np.split(words, np.cumsum(lengths))
    places = places.reshape(-1, len(PLACE_FIELDS))
    return _Levels(
        places[places[:, 0] >= FIRST_BLOCK_ADDRESS],
        keys.reshape(-1, len(BLOCK_KEY_FIELDS)),
        values.reshape(-1, len(BLOCK_FIELDS)),
        rows.reshape(-1, decoder.words),
    )


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
