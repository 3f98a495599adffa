"""Call stacks of two builds, matched by the names of their functions, and what each cost."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from lablib.records import Frame, HeapSnapshot, HeapTrace, StackCost, StackDifference, StackUsage

Key = tuple[str, tuple[str, ...]]
"""A kind of usage, and the names of the functions, callers last."""

_CLONE = re.compile(r"\.(isra|constprop|part|cold|lto_priv)(\.\d+)?")
_LEFT_OUT = ("arena",)
"""What the allocator maps to take blocks from: it comes in steps, not with the terms."""


def measure_costs(first: HeapTrace, second: HeapTrace) -> dict[Key, StackCost]:
    """Return what each call stack cost from the first run to the second, which did twice as much.

    Stacks that differ by their lines only, such as two calls in one function, are one.
    """
    once, twice = (_total(trace.snapshots[-1]) for trace in (first, second))
    peaks = _find_peaks(second)
    costs = {}
    for key in once.keys() | twice.keys():
        usage = twice.get(key) or StackUsage(once[key].frames, 0, 0, 0, 0, kind=key[0])
        less = once.get(key) or StackUsage((), 0, 0, 0, 0)
        costs[key] = StackCost(
            usage=usage,
            kept_bytes=usage.live_bytes - less.live_bytes,
            kept_blocks=usage.live_blocks - less.live_blocks,
            allocated_blocks=usage.allocated_blocks - less.allocated_blocks,
            peak_bytes=peaks[key],
        )
    return costs


def match_costs(
    before: Mapping[Key, StackCost], after: Mapping[Key, StackCost]
) -> tuple[StackDifference, ...]:
    """Return each call stack with its cost in both builds, sorted by what was kept."""
    differences = (
        StackDifference(*key, before=before.get(key), after=after.get(key))
        for key in before.keys() | after.keys()
    )
    return tuple(sorted(differences, key=_rank))


def _rank(difference: StackDifference) -> tuple[int, int, tuple[str, ...]]:
    costs = [cost for cost in (difference.before, difference.after) if cost is not None]
    kept = max(cost.kept_bytes for cost in costs)
    return -kept, -max(cost.usage.live_bytes for cost in costs), difference.functions


def _find_key(usage: StackUsage) -> Key:
    return usage.kind, tuple(_name(frame) for frame in usage.frames)


def _name(frame: Frame) -> str:
    """Return a function's name, without what the compiler adds to that of a copy of it."""
    if frame.function is None:
        return frame.module if ".so" in frame.module else "[unknown]"
    return _CLONE.sub("", frame.function)


def _usages(snapshot: HeapSnapshot) -> Iterator[StackUsage]:
    for usage in (*snapshot.stacks, *snapshot.mappings):
        if usage.kind not in _LEFT_OUT:
            yield usage


def _total(snapshot: HeapSnapshot) -> dict[Key, StackUsage]:
    """Return what each stack has done; the frames are those that hold the most."""
    grouped: dict[Key, list[StackUsage]] = defaultdict(list)
    for usage in _usages(snapshot):
        grouped[_find_key(usage)].append(usage)
    return {key: _add_up(usages) for key, usages in grouped.items()}


def _add_up(usages: list[StackUsage]) -> StackUsage:
    largest = max(usages, key=lambda usage: (usage.live_bytes, usage.allocated_bytes))
    return StackUsage(
        frames=largest.frames,
        allocated_bytes=sum(usage.allocated_bytes for usage in usages),
        allocated_blocks=sum(usage.allocated_blocks for usage in usages),
        freed_bytes=sum(usage.freed_bytes for usage in usages),
        freed_blocks=sum(usage.freed_blocks for usage in usages),
        mean_age_s=largest.mean_age_s,
        is_cut=any(usage.is_cut for usage in usages),
        kind=largest.kind,
    )


def _find_peaks(trace: HeapTrace) -> dict[Key, int]:
    """Return the most live bytes of each stack among the snapshots."""
    peaks: dict[Key, int] = defaultdict(int)
    for snapshot in trace.snapshots:
        live: dict[Key, int] = defaultdict(int)
        for usage in _usages(snapshot):
            live[_find_key(usage)] += usage.live_bytes
        for key, live_bytes in live.items():
            peaks[key] = max(peaks[key], live_bytes)
    return peaks
