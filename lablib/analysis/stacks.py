"""The verdict on one call stack, with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lablib.analysis.growth import Growth, read_growth
from lablib.analysis.losses import Losses, read_losses, read_survival
from lablib.analysis.sentences import Findings, describe_stack
from lablib.records import (
    Frame,
    HeapSnapshot,
    HeapTrace,
    StackEvidence,
    StackReach,
    StackUsage,
    StackVerdict,
)

MAX_FREED_SHARE_OF_A_LEAK = 0.01
"""Where no scan looked: a leak may free a little (an early exit that does it right), no more."""

Key = tuple[str, tuple[Frame, ...]]


@dataclass
class StackSeries:
    """What one call stack held at each snapshot, from the last one before it was first seen."""

    times_s: list[float] = field(default_factory=list)
    live_bytes: list[float] = field(default_factory=list)
    allocated_blocks: list[float] = field(default_factory=list)

    def add(self, elapsed_s: float, usage: StackUsage) -> None:
        """Add a snapshot; two usages of one moment (one of them cut) count together."""
        if self.times_s and self.times_s[-1] == elapsed_s:
            self.live_bytes[-1] += usage.live_bytes
            self.allocated_blocks[-1] += usage.allocated_blocks
            return
        self.times_s.append(elapsed_s)
        self.live_bytes.append(float(usage.live_bytes))
        self.allocated_blocks.append(float(usage.allocated_blocks))


def judge_stacks(trace: HeapTrace) -> tuple[StackVerdict, ...]:
    """Return the verdicts on a trace's call stacks: heap first, the largest first."""
    last = trace.snapshots[-1]
    series: dict[Key, StackSeries] = {}
    before_s = 0.0  # nothing had been counted when the tracing began
    for snapshot in trace.snapshots:
        for usage in _judged(snapshot):
            key = (usage.kind, usage.frames)
            if key not in series:
                series[key] = StackSeries([before_s], [0.0], [0.0])
            series[key].add(snapshot.elapsed_s, usage)
        before_s = snapshot.elapsed_s
    scans = _index_scans(trace)
    verdicts = [
        _judge_stack(usage, series[key], scans.get(key, ()), last)
        for key, usage in _merge(_judged(last)).items()
    ]
    return tuple(
        sorted(
            verdicts,
            key=lambda verdict: (
                verdict.usage.kind != "heap",
                -verdict.usage.live_bytes,
                -verdict.usage.allocated_bytes,
            ),
        )
    )


def _judged(snapshot: HeapSnapshot) -> tuple[StackUsage, ...]:
    """Return what is judged: the heap and the mappings, but not what malloc maps for itself."""
    return snapshot.stacks + tuple(usage for usage in snapshot.mappings if usage.kind != "arena")


def _merge(usages: Sequence[StackUsage]) -> dict[Key, StackUsage]:
    merged: dict[Key, StackUsage] = {}
    for usage in usages:
        key = (usage.kind, usage.frames)
        if (other := merged.get(key)) is not None:
            usage = replace(
                usage,
                allocated_bytes=usage.allocated_bytes + other.allocated_bytes,
                allocated_blocks=usage.allocated_blocks + other.allocated_blocks,
                freed_bytes=usage.freed_bytes + other.freed_bytes,
                freed_blocks=usage.freed_blocks + other.freed_blocks,
                is_cut=True,
                live_bytes_error=(usage.live_bytes_error**2 + other.live_bytes_error**2) ** 0.5,
            )
        merged[key] = usage
    return merged


def _index_scans(trace: HeapTrace) -> dict[Key, list[tuple[float, StackReach | None]]]:
    """Return what each scan says of each stack that any of them has seen, in order of time."""
    scans = [scan for scan in trace.scans if scan.was_made]
    by_scan = [{(reach.kind, reach.frames): reach for reach in scan.stacks} for scan in scans]
    keys = {key for reaches in by_scan for key in reaches}
    return {
        key: [
            (scan.elapsed_s, reaches.get(key)) for scan, reaches in zip(scans, by_scan, strict=True)
        ]
        for key in keys
    }


def _judge_stack(
    usage: StackUsage,
    series: StackSeries,
    scans: Sequence[tuple[float, StackReach | None]],
    last: HeapSnapshot,
) -> StackVerdict:
    growth = read_growth(series.times_s, series.live_bytes)
    is_later = bool(scans) and last.elapsed_s >= scans[-1][0]
    losses = read_losses(scans, series.times_s, usage.live_blocks if is_later else None)
    kind = _choose_kind(usage, growth, losses)
    rate, error = growth.rate, growth.error
    if kind == "leaking" and losses is not None and losses.lost_blocks:
        rate, error = losses.rate, losses.error
    reach = scans[-1][1] if scans else None
    survival = read_survival(reach, series.times_s, series.allocated_blocks, usage.freed_blocks)
    evidence = _gather(kind, usage, growth, losses, survival)
    findings = Findings(
        kind, usage, evidence, growth, losses, rate, error, last.is_running, _count_threads(last)
    )
    return StackVerdict(kind, describe_stack(findings), usage, rate, error, evidence)


def _count_threads(last: HeapSnapshot) -> int | None:
    return last.resources.threads if last.resources else None


def _choose_kind(usage: StackUsage, growth: Growth, losses: Losses | None) -> str:
    if losses is not None and losses.lost_blocks and not losses.was_hidden:
        if losses.needed_s:
            return "undecided"
        return "plateau" if _is_a_librarys_own(usage, losses) else "leaking"
    if usage.live_blocks == 0:
        return "churn" if usage.freed_blocks > 1 else "clean"
    if growth.state == "unsure":
        return "undecided"
    if growth.state == "grows":
        # Something always leads to a thread's stack; nobody's waiting for it leaks it all the same.
        is_looked_at = losses is not None and usage.kind != "thread_stack"
        frees = usage.freed_blocks >= MAX_FREED_SHARE_OF_A_LEAK * usage.allocated_blocks
        return "growing" if is_looked_at or (frees and usage.freed_blocks) else "leaking"
    return "churn" if usage.freed_blocks else "plateau"


def _is_a_librarys_own(usage: StackUsage, losses: Losses) -> bool:
    """Whether a library lost it, once, without a call of the program's: no leak of the program."""
    own = [f for f in usage.frames if ".so" not in f.module and f.function != "_start"]
    return not own and bool(usage.frames) and not usage.is_cut and not losses.goes_on


def _gather(
    kind: str,
    usage: StackUsage,
    growth: Growth,
    losses: Losses | None,
    survival: float | None,
) -> StackEvidence:
    return StackEvidence(
        window_s=growth.window_s,
        snapshots=growth.snapshots,
        rises=growth.rises,
        silence_s=growth.silence_s,
        growth_bytes=round(growth.total),
        late_share=growth.late_share,
        freed_share=usage.freed_blocks / max(1, usage.allocated_blocks),
        survival=survival,
        lost_blocks=losses.lost_blocks if losses else None,
        lost_bytes=losses.lost_bytes if losses else None,
        reached_blocks=losses.reached_blocks if losses else None,
        reached_bytes=losses.reached_bytes if losses else None,
        lost_at_s=losses.lost_at_s if losses else (),
        was_hidden=losses is not None and losses.was_hidden,
        needed_s=_find_wait(growth, losses) if kind == "undecided" else 0.0,
    )


def _find_wait(growth: Growth, losses: Losses | None) -> float:
    return losses.needed_s if losses is not None and losses.needed_s else growth.needed_s
