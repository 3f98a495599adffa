"""The verdicts on what the kernel counts for a process: open files, threads, shared memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from lablib.analysis.growth import MIN_RISES, Growth, read_growth
from lablib.analysis.sentences import describe_rate, describe_wait
from lablib.language import say, term
from lablib.records import HeapSnapshot, ProcessResources, ResourceVerdict
from lablib.wording import count_of

OPEN_FILES = term("open files")
THREADS = term("threads")
SEGMENTS = term("shared memory segments")

_SURE_GROWTH = 20.0
"""What only grows has grown by so many times what it goes up and down by."""

_STEP_SLACK = 0.02

_READ: dict[str, Callable[[ProcessResources], int | None]] = {
    OPEN_FILES: lambda resources: resources.open_files,
    THREADS: lambda resources: resources.threads,
    SEGMENTS: lambda resources: resources.shared_segments,
}


def judge_counts(snapshots: Sequence[HeapSnapshot]) -> tuple[ResourceVerdict, ...]:
    """Return a verdict on each count that could be read in the snapshots of a trace.

    Segments of which it can't be told who made them count where their number rises in step with
    the files that the process itself maps.
    """
    known = [(shot.elapsed_s, shot.resources) for shot in snapshots if shot.resources is not None]
    readers = dict(_READ)
    if _keeps_step(snapshots):
        readers[SEGMENTS] = _count_all_segments
    verdicts = []
    for resource, read in readers.items():
        rows = [(t, n, held) for t, held in known if (n := read(held)) is not None]
        if rows:
            times_s, counts, held = zip(*rows, strict=True)
            is_running = snapshots[-1].is_running
            verdicts.append(_judge_count(resource, times_s, counts, held[-1], is_running))
    return tuple(verdicts)


def _count_all_segments(resources: ProcessResources) -> int | None:
    if resources.shared_segments is None:
        return None
    return resources.shared_segments + (resources.unclaimed_segments or 0)


def _keeps_step(snapshots: Sequence[HeapSnapshot]) -> bool:
    """Whether all segments together rise just as the files do that the process has ever mapped."""
    rows = [
        (count, sum(usage.allocated_blocks for usage in shot.mappings if usage.kind == "file"))
        for shot in snapshots
        if shot.resources and (count := _count_all_segments(shot.resources)) is not None
    ]
    if not rows or rows[-1][0] - rows[0][0] < MIN_RISES:
        return False
    lead = np.array([segments - mapped for segments, mapped in rows])
    return bool(np.ptp(lead) <= max(1, _STEP_SLACK * (rows[-1][0] - rows[0][0])))


def _judge_count(
    resource: str,
    times_s: Sequence[float],
    counts: Sequence[int],
    held: ProcessResources,
    is_running: bool,
) -> ResourceVerdict:
    growth = read_growth(times_s, counts)
    floor = np.minimum.accumulate(np.asarray(counts, float)[::-1])[::-1]
    swing = float((np.asarray(counts) - floor).max())
    if growth.state == "stopped":
        kind = "plateau" if counts[-1] >= counts[0] else "churn"
    elif growth.state == "varies" and swing <= 1 + counts[-1] / 100:
        growth = read_growth(times_s, floor.tolist())  # a few come and go, beside what stays
        kind = "leaking" if growth.state == "grows" else "churn"
    elif growth.state == "grows":
        only_grows = swing == 0 or floor[-1] - floor[0] >= _SURE_GROWTH * swing
        kind = "leaking" if only_grows else "growing"
    else:
        kind = "churn" if growth.state == "varies" or counts[-1] <= counts[0] else "undecided"
    sentence = _describe(resource, kind, growth, counts, held, is_running)
    needed_s = growth.needed_s if kind == "undecided" else 0.0
    return ResourceVerdict(
        *(resource, kind, sentence, counts[0], counts[-1], growth.rate, growth.error, needed_s)
    )


def _describe(
    resource: str,
    kind: str,
    growth: Growth,
    counts: Sequence[int],
    held: ProcessResources,
    is_running: bool,
) -> str:
    facts = {
        "resource": resource,
        "first": counts[0],
        "last": counts[-1],
        "rate": describe_rate(growth.rate, growth.error, resource),
    }
    change = term(
        "from {first:,} to {last:,} {resource} in {seconds:.1f} s",
        **facts,
        seconds=growth.window_s,
    )
    if kind == "leaking":
        return say(
            "The process leaks {rate}: {change}, and none is given back. {why}",
            **facts,
            change=change,
            why=_why(resource, held),
        )
    if kind == "growing":
        return say(
            "The process grows {change}, {rate}, though some are given back.",
            **facts,
            change=change,
        )
    if kind == "undecided":
        return say(
            "Not enough evidence yet about {resource}: {change}; {wait}.",
            **facts,
            change=change,
            wait=describe_wait(growth.needed_s, is_running),
        )
    return say("{last:,} {resource}, {first:,} at first: no growth that goes on.", **facts)


def _why(resource: str, held: ProcessResources) -> str:
    if resource == OPEN_FILES:
        files = _name_files(held.newest_files)
        return files + say("It shows in no heap and hardly in RSS.")
    if resource == THREADS:
        return say(
            "Each has a stack of its own; threads that never end are held as surely as memory."
        )
    size = held.shared_segment_bytes
    holds = "" if size is None else say("They hold {size}. ", size=count_of(size, "byte"))
    return holds + say("They stay when the process ends: ls -l /dev/shm, or ipcs -m, shows them.")


def _name_files(targets: Sequence[str]) -> str:
    if not targets:
        return ""
    (target, count), *_ = Counter(targets).most_common(1)
    if count == 1 and len(targets) > 1:
        folders = Counter(os.path.dirname(each) for each in targets)
        folder, count = folders.most_common(1)[0]
        target = term("in {folder}", folder=folder) if folder and count > 1 else target
    facts = {"count": count, "newest": len(targets), "target": target}
    if count == len(targets):
        return say("All its {newest} newest are {target}. ", **facts)
    return say("{count} of its {newest} newest are {target}. ", **facts)
