"""The verdict on a process: the gravest kind that is justified, of its stacks and of its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lablib.analysis.counts import THREADS, judge_counts
from lablib.analysis.growth import MIN_WINDOW_S
from lablib.analysis.stacks import judge_stacks
from lablib.language import say
from lablib.records import (
    HeapTrace,
    ProcessEvidence,
    ProcessVerdict,
    ResourceVerdict,
    StackVerdict,
)
from lablib.wording import count_of, format_size

MATERIAL_SHARE = 0.05
"""What is undecided about less than this of the live bytes does not make a process undecided."""

MIN_RETAINED_BYTES = 1 << 20
MIN_RETAINED_SHARE = 0.5
"""Of the bytes that were freed at least so much must still be resident to call it retention."""

_MIN_LOW_SHARE = 0.25
_AT_REST = ("plateau", "churn", "clean")
_GRAVITY = ("leaking", "growing", "undecided", "retention", "plateau", "churn", "clean")


@dataclass(frozen=True)
class _Voice:
    """One verdict that speaks for the process: its kind, how much it weighs, its sentence."""

    kind: str
    weight: tuple[float, ...]
    sentence: str
    needed_s: float = 0.0


def judge_trace(trace: HeapTrace) -> ProcessVerdict:
    """Return the verdict on a process: one per call stack, and one for all of them.

    What the window of a stack is, and what its verdict rests on, is in its `evidence`.
    """
    if not trace.snapshots:
        return ProcessVerdict(
            "undecided", say("No snapshot was taken, so there is no evidence."), ()
        )
    stacks = judge_stacks(trace)
    counts = judge_counts(trace.snapshots)
    voices = sorted(_listen(stacks, counts), key=_rank)
    retention = _find_retention(trace)
    first = voices[0] if voices else _Voice("clean", (), "")
    if first.kind in _AT_REST:
        first = _Voice(_find_main_kind(stacks), (), "")
    if retention and _GRAVITY.index(first.kind) > _GRAVITY.index("retention"):
        first = _Voice("retention", (), retention)
    evidence = _gather(trace, first.needed_s)
    sentence = _describe(first, voices, evidence, trace)
    return ProcessVerdict(first.kind, sentence, stacks, counts, evidence)


def _find_main_kind(stacks: Sequence[StackVerdict]) -> str:
    """Return the kind, of those that need no action, that most of the allocated bytes are of."""
    sizes = dict.fromkeys(_AT_REST, 0)
    for stack in stacks:
        if stack.usage.kind == "heap" and stack.kind in sizes:
            sizes[stack.kind] += stack.usage.allocated_bytes
    return max(sizes, key=lambda kind: sizes[kind]) if any(sizes.values()) else "clean"


def _rank(voice: _Voice) -> tuple[int, tuple[float, ...]]:
    return _GRAVITY.index(voice.kind), tuple(-each for each in voice.weight)


def _listen(stacks: Sequence[StackVerdict], counts: Sequence[ResourceVerdict]) -> list[_Voice]:
    """Return the verdicts that may speak for the process.

    Heap before mappings, what grows before what was lost once. A small stack of which little is
    known yet does not speak for a large process.
    """
    live_bytes = sum(stack.usage.live_bytes for stack in stacks if stack.usage.kind == "heap")
    voices = []
    for stack in stacks:
        assert stack.evidence is not None
        is_heap = stack.usage.kind == "heap"
        growth = max(stack.evidence.growth_bytes, 0)
        size = stack.usage.live_bytes if stack.kind == "undecided" else growth
        if stack.kind == "undecided" and is_heap and size < MATERIAL_SHARE * live_bytes:
            continue
        weight = (stack.growth_bytes_per_s > 0, is_heap, stack.growth_bytes_per_s, size)
        voices.append(_Voice(stack.kind, weight, stack.sentence, stack.evidence.needed_s))
    has_thread_stacks = any(
        stack.usage.kind == "thread_stack" and stack.kind in ("leaking", "growing")
        for stack in stacks
    )
    for count in counts:
        if count.kind not in ("leaking", "growing", "undecided"):
            continue
        if count.resource == THREADS and has_thread_stacks:
            continue
        voices.append(
            _Voice(count.kind, (True, False, count.growth_per_s), count.sentence, count.needed_s)
        )
    return voices


def _find_retention(trace: HeapTrace) -> str:
    """Return a sentence where live bytes fell for good and the resident set did not, else ""."""
    shots = [shot for shot in trace.snapshots if shot.resources is not None]
    if len(shots) < 3 or shots[-1].elapsed_s < MIN_WINDOW_S:
        return ""
    live = np.array([shot.live_bytes for shot in shots], float)
    rss = np.array([shot.resources.rss_anon_bytes for shot in shots if shot.resources], float)
    low = shots[-1].elapsed_s * (1 - _MIN_LOW_SHARE)
    peak = int(live.argmax())
    now = max(live[-1], live[[shot.elapsed_s >= low for shot in shots]].max())
    fell = live[peak] - now
    most_rss = rss[peak : peak + 2].max()
    if fell < max(MIN_RETAINED_BYTES, live[peak] / 4) or most_rss < fell:
        return ""
    given_back = most_rss - rss[-1]
    if given_back > (1 - MIN_RETAINED_SHARE) * fell:
        return ""
    return say(
        "Not a leak: the live bytes fell from {most:,.0f} to {last:,.0f}, but RSS still has {size} "
        "of what was freed. The allocator keeps it to use it again, and did not give it back to "
        "the kernel.",
        most=live[peak],
        last=live[-1],
        size=format_size(fell - max(0, given_back)),
    )


def _gather(trace: HeapTrace, needed_s: float) -> ProcessEvidence:
    live = [shot.live_bytes for shot in trace.snapshots]
    held = [shot.resources for shot in trace.snapshots if shot.resources is not None]
    return ProcessEvidence(
        window_s=trace.seconds,
        snapshots=len(live),
        scans=sum(scan.was_made for scan in trace.scans),
        live_bytes=(live[0], live[-1]),
        most_live_bytes=max(live),
        rss_anon_bytes=(held[0].rss_anon_bytes, held[-1].rss_anon_bytes) if held else None,
        rss_file_bytes=(held[0].rss_file_bytes, held[-1].rss_file_bytes) if held else None,
        needed_s=needed_s,
    )


def _describe(
    first: _Voice, voices: Sequence[_Voice], evidence: ProcessEvidence, trace: HeapTrace
) -> str:
    alike = [voice for voice in voices if voice.kind == first.kind]
    if first.kind in ("leaking", "growing", "undecided"):
        return first.sentence + _count_others(len(alike) - 1)
    if first.kind == "retention":
        return first.sentence
    last = trace.snapshots[-1]
    if not last.events.allocations:
        nothing = say("Not a leak: it allocated nothing in {seconds:.1f} s.", seconds=trace.seconds)
        return nothing + _explain_rss(evidence)
    sentence = say(
        "Not a leak: nothing went on growing in {seconds:.1f} s. Of {blocks}, {freed:,} were "
        "freed; {size} are still in use.",
        seconds=trace.seconds,
        blocks=count_of(last.events.allocations, "block"),
        freed=last.events.frees,
        size=count_of(last.live_bytes, "byte"),
    )
    return sentence + _explain_rss(evidence)


def _count_others(others: int) -> str:
    if others <= 0:
        return ""
    if others == 1:
        return say(" There is one more like it.")
    return say(" There are {others:,} more like it.", others=others)


def _explain_rss(evidence: ProcessEvidence) -> str:
    """Return why the resident set grew all the same, where it did."""
    if evidence.rss_anon_bytes is None or evidence.rss_file_bytes is None:
        return ""
    anon = evidence.rss_anon_bytes[1] - evidence.rss_anon_bytes[0]
    file = evidence.rss_file_bytes[1] - evidence.rss_file_bytes[0]
    live = evidence.live_bytes[1] - evidence.live_bytes[0]
    if file >= MIN_RETAINED_BYTES and file > anon:
        return say(
            " RSS grew by {size} of mapped files' pages: they are page cache, and the kernel takes "
            "them back when it needs them.",
            size=format_size(file),
        )
    if anon >= MIN_RETAINED_BYTES and anon > 2 * max(0, live):
        return say(
            " RSS grew by {size} all the same: pages were touched for the first time in memory "
            "that the program had already.",
            size=format_size(anon),
        )
    return ""
