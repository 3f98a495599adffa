"""The memory that a traced program and the lab share, as interposer/segment.h lays it out.

All are native words of 8 bytes, but for the halves of the words that `SHARD_FIELDS` and
`unwind_place` have in pairs. A test holds this and the C together.
"""

from __future__ import annotations

from dataclasses import dataclass

from lablib.tracing.protocol import STACK_FIELDS

VERSION = 1
MAX_FRAMES = 64
SLOTS = 33
SHARDS = 256
PIECE_SIZES = 40
STACK_BITS = 20
BIRTH_SHIFT = 10

CLOCK_OF_BIRTHS = 6
"""CLOCK_MONOTONIC_COARSE: it goes by steps of some milliseconds, and costs next to nothing."""

CLOSED, OPEN, FREES_ONLY = 0, 1, 2

COUNTERS = (
    "frees_from_before",
    "returns_from_before",
    "failed_allocations",
    "failed_mappings",
    "lost_blocks_full",
    "lost_stacks_full",
    "lost_threads_full",
    "lost_interrupted",
    "lost_unreadable",
    "lost_raced",
    "lost_mappings_full",
)
"""In the order of `enum counter`."""

SEGMENT_FIELDS = (
    "version",
    "state",
    "window",
    "tracer",
    "begin_ns",
    "max_stacks",
    "index_slots",
    "unwind_pages",
    "page_numbers_at",
    "places_at",
    "rows_at",
    "index_at",
    "stacks_at",
    "usages_at",
    "events_at",
    "events_len",
    "pieces_at",
    "pieces_end",
    "size_bytes",
    "events_taken",
    "process",
    "stacks_seen",
    "events_seen",
    "blocks_left",
    "pieces_used",
    "pieces_are_locked",
)
"""The words of `struct segment` before its tables."""

STACK_WORDS = 1 + len(STACK_FIELDS) + MAX_FRAMES
"""Of `struct stack`: its id, STACK_FIELDS, and the return addresses."""

USAGE_WORDS = 8
"""Of `struct usage`; the last one is its version."""

SLOT_WORDS = 16
"""Of `struct slot`: `owner`, `is_recording`, then COUNTERS."""

BLOCK_WORDS = 3
"""Of `struct block`: address, size, birth and stack."""

SHARD_WORDS = 8
"""Of `struct shard`: the lock with `bits` in its upper half, version, blocks_at, used."""

EVENT_WORDS = 8
"""Of `struct mapping_event`."""

EVENTS_LEN = 1 << 18
"""How many reports of mappings there is room for between two looks."""

_LINE = 64
_PAGE = 4096
_HEAD_WORDS = len(SEGMENT_FIELDS) + PIECE_SIZES + 6


@dataclass(frozen=True)
class Layout:
    """Where each table begins in the segment, in bytes, and how large all of it is."""

    slots_at: int
    shards_at: int
    page_numbers_at: int
    places_at: int
    rows_at: int
    index_slots: int
    index_at: int
    stacks_at: int
    usages_at: int
    events_at: int
    pieces_at: int
    pieces_end: int

    @classmethod
    def of(cls, max_pages: int, max_rows: int, max_stacks: int, max_blocks: int) -> Layout:
        """Return the layout for tables of these sizes.

        What is not used takes no memory. A table of blocks is full at three quarters, the next one
        is twice as large, and an old one waits until another needs its size: 160 bytes a block are
        enough for all of them in any case, and 24 KiB to begin with in each shard.
        """
        slots_at = 8 * _HEAD_WORDS
        shards_at = slots_at + 8 * SLOT_WORDS * SLOTS
        page_numbers_at = _align(shards_at + 8 * SHARD_WORDS * SHARDS)
        places_at = _align(page_numbers_at + 8 * max_pages)
        rows_at = _align(places_at + 16 * max_pages)
        index_slots = 1 << (2 * max_stacks - 1).bit_length()
        index_at = _align(rows_at + 8 * max_rows)
        stacks_at = _align(index_at + 4 * index_slots)
        usages_at = _align(stacks_at + 8 * STACK_WORDS * max_stacks)
        events_at = _align(usages_at + 8 * USAGE_WORDS * max_stacks * SLOTS)
        pieces_at = _align(events_at + 8 * EVENT_WORDS * EVENTS_LEN)
        pieces_end = _align(pieces_at + 160 * max_blocks + (24 << 10) * SHARDS)
        return cls(
            slots_at,
            shards_at,
            page_numbers_at,
            places_at,
            rows_at,
            index_slots,
            index_at,
            stacks_at,
            usages_at,
            events_at,
            pieces_at,
            pieces_end,
        )


def _align(offset: int) -> int:
    return offset + -offset % _PAGE
