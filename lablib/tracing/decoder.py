"""What the service answers, turned into records: rows of 64-bit words into usages of stacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lablib.records import Frame, StackUsage, TraceEvents
from lablib.tracing.protocol import ENDINGS, SAMPLE_UNIT, STACK_FIELDS, USAGE_FIELDS

_MAPPING_FUNCTIONS = {"mmap", "mmap64", "mremap"}
_FIELD = {name: number for number, name in enumerate(STACK_FIELDS)}
_REACHED_TOP = ENDINGS.index("reached_top")

Words = NDArray[np.uint64]
Stack = tuple[tuple[Frame, ...], bool]


class Resolver(Protocol):
    """What names the return addresses of one process (see client.Symbolizer)."""

    def resolve_stack(self, addresses: Sequence[int], certain: int | None) -> Stack:
        """Return the frames, callers last, and whether callers are missing."""
        ...


class StackDecoder:
    """Makes frames of one session's rows of stacks; each stack is resolved once."""

    def __init__(self, description: Mapping[str, Any], resolver: Resolver) -> None:
        """Decode what the session of this description sends."""
        self.words = len(STACK_FIELDS) + int(description["max_frames"])
        self._has_rules = bool(description["has_unwind_tables"])
        self._resolver = resolver
        self._stacks: dict[bytes, Stack] = {}

    def resolve(self, row: Words) -> Stack:
        """Return the frames of a row, callers last, and whether callers are missing."""
        key = row[_FIELD["ending"] :].tobytes()
        if key not in self._stacks:
            depth = int(row[_FIELD["depth"]])
            certain = int(row[_FIELD["certain_frames"]])
            addresses = row[len(STACK_FIELDS) : len(STACK_FIELDS) + depth].tolist()
            frames, is_cut = self._resolver.resolve_stack(
                addresses, (certain or depth) if self._has_rules else None
            )
            is_whole = row[_FIELD["ending"]] == _REACHED_TOP and not certain
            self._stacks[key] = frames, is_cut and not is_whole
        return self._stacks[key]


class SnapshotDecoder:
    """Makes records of one session's snapshots."""

    def __init__(
        self, description: Mapping[str, Any], resolver: Resolver, sample_bytes: int
    ) -> None:
        """Decode what the session of this description sends."""
        self.stacks = StackDecoder(description, resolver)
        self._sample_bytes = sample_bytes

    def decode(self, header: Mapping[str, Any], payload: bytes) -> dict[int, list[StackUsage]]:
        """Return the usages of each process by its number, heap and mappings.

        Rows of the current window only; those that resolve to the same frames are added together.
        """
        count = int(header["stacks"])
        words: Words = np.frombuffer(payload, np.uint64)
        rows_end = count + count * self.stacks.words
        ids, rows = words[:count], words[count:rows_end].reshape(count, self.stacks.words)
        usage_by_number = words[rows_end:].reshape(-1, len(USAGE_FIELDS))
        is_current = rows[:, _FIELD["window"]] == header["window"]
        is_mapping = rows[:, _FIELD["is_mapping"]] == 1
        totals: dict[tuple[int, str, Stack], list[int]] = {}
        for row in rows[is_current & ~is_mapping]:
            number = int(row[_FIELD["number"]])
            if number >= len(usage_by_number):
                continue  # one too many for the table, and counted as lost
            values = usage_by_number[number, :7].tolist()
            key = (int(row[_FIELD["process"]]), "heap", self.stacks.resolve(row))
            _add(totals.setdefault(key, [0] * 7), values)
        mapping_ids = ids[is_current & is_mapping].tolist()
        row_by_id = dict(zip(mapping_ids, rows[is_current & is_mapping], strict=True))
        for process, kind, stack_id, *values in header["mappings"]:
            if (found := row_by_id.get(stack_id)) is not None:
                frames, is_cut = self.stacks.resolve(found)
                stack = (drop_functions(_MAPPING_FUNCTIONS, frames), is_cut)
                _add(totals.setdefault((process, kind, stack), [0] * 7), [*values, 0, 0])
        usages: dict[int, list[StackUsage]] = {}
        for (process, kind, stack), total in totals.items():
            usages.setdefault(process, []).append(
                self._make_usage(kind, stack, total, int(header["now_ns"]))
            )
        return usages

    def _make_usage(self, kind: str, stack: Stack, total: list[int], now_ns: int) -> StackUsage:
        allocated_bytes, allocated, freed_bytes, freed, born_sum_ns, records, variance = total
        is_sampled = self._sample_bytes > 0 and kind == "heap"
        if is_sampled:
            allocated, freed = round(allocated / SAMPLE_UNIT), round(freed / SAMPLE_UNIT)
        else:
            records = allocated - freed
        # The kernel adds and subtracts birth times modulo 2**64; the difference comes out right.
        age_sum_ns = (records * now_ns - born_sum_ns) % (1 << 64)
        return StackUsage(
            frames=stack[0],
            allocated_bytes=allocated_bytes,
            allocated_blocks=allocated,
            freed_bytes=freed_bytes,
            freed_blocks=freed,
            mean_age_s=age_sum_ns / records / 1e9 if records > 0 else None,
            is_cut=stack[1],
            kind=kind,
            live_bytes_error=float(np.sqrt(variance)) if is_sampled else 0.0,
        )


def decode_events(counters: Mapping[str, int], heap: Iterable[StackUsage]) -> TraceEvents:
    """Return what was counted beside the stacks; `heap` are the usages that go with it."""
    usages = list(heap)
    return TraceEvents(
        allocations=sum(usage.allocated_blocks for usage in usages),
        frees=sum(usage.freed_blocks for usage in usages),
        from_before=counters["frees_from_before"] + counters["returns_from_before"],
        failed_allocations=counters["failed_allocations"],
        missed_by_reason=decode_missed(counters),
    )


def _add(total: list[int], values: Sequence[int]) -> None:
    for number, value in enumerate(values):
        total[number] += value


def drop_functions(names: Collection[str], frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """Return frames without libc's own functions of these names on top.

    So the first frame is the one that called them.
    """
    while len(frames) > 1 and (frames[0].function or "").lstrip("_") in names:
        frames = frames[1:]
    return frames


def decode_missed(counters: Mapping[str, int]) -> dict[str, int]:
    """Return how many events were lost, by reason, without those that are none."""
    return {
        name.removeprefix("lost_"): count
        for name, count in counters.items()
        if name.startswith("lost_") and count
    }
