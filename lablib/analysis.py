"""Is it a leak? Pure functions from a heap trace to a verdict, with its evidence.

Growth alone is not a leak, and a list of live blocks is not one either. What is asked of each call
stack, over the snapshots of the window:

    does it grow?            three steps up at least, and none down or a Theil-Sen slope above its
                             95 % interval
    does it still grow?      at least a quarter of the growth came in the last half of the window,
                             where a steady leak has half of it and a warm-up that is over has none
    does it ever free?       the share of its blocks that were freed

    leaking     grows steadily, and frees less than one block in a hundred
    growing     grows, but frees some as well: a need that rises, or a leak beside it
    plateau     holds what it holds, and neither grows nor frees
    churn       allocates and frees, and holds no more at the end than before
    clean       holds nothing
    undecided   the window is too short, or the growth is too uncertain to say

Whether something still points at a block is not asked here: these are verdicts about behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lablib.records import (
    FixVerdict,
    Frame,
    HeapSnapshot,
    HeapTrace,
    ProcessVerdict,
    StackUsage,
    StackVerdict,
)
from lablib.wording import count_of

MIN_SNAPSHOTS = 5
MIN_WINDOW_S = 2.0
MAX_FREED_SHARE_OF_A_LEAK = 0.01
"""A leak may free a little (an early exit that does it right); more than this is not called one."""

MIN_LATE_SHARE = 0.25
"""How much of the growth must have come in the last half of the window to say that it goes on."""

_NOUNS = {
    "heap": "block",
    "mapping": "mapping",
    "thread_stack": "thread stack",
    "arena": "arena",
    "file": "mapped file",
}
_MIN_STEPS = 3
_MAX_POINTS = 200
_GRAVITY = ("leaking", "growing", "undecided", "plateau", "churn", "clean")

Floats = NDArray[np.float64]
_Key = tuple[str, tuple[Frame, ...]]


def judge_trace(trace: HeapTrace) -> ProcessVerdict:
    """Return the verdict on a process: one per call stack, and one for all of them.

    The window counts from the snapshot in which the stack was first seen.
    """
    if not trace.snapshots:
        return ProcessVerdict("undecided", "No snapshot was taken, so there is no evidence.", ())
    last = trace.snapshots[-1]
    series = _collect_series(trace)
    verdicts = tuple(
        sorted(
            (_judge_stack(usage, *series[key], last.is_running) for key, usage in _judged(last)),
            key=lambda verdict: (
                verdict.usage.kind != "heap",
                -verdict.usage.live_bytes,
                -verdict.usage.allocated_bytes,
            ),
        )
    )
    kinds = {verdict.kind for verdict in verdicts}
    kind = next((kind for kind in _GRAVITY if kind in kinds), "clean")
    return ProcessVerdict(kind, _describe_process(kind, verdicts, trace), verdicts)


def judge_fix(before: ProcessVerdict, after: ProcessVerdict) -> FixVerdict:
    """Return whether a fix is proven: what leaked before must have run again and hold nothing more.

    A function that did not run in the second trace proves nothing, and neither does a second
    trace with another leak in it.
    """
    leaks = [verdict.usage for verdict in before.stacks if verdict.kind == "leaking"]
    if not leaks:
        return FixVerdict("undecided", "There was no leak before, so there is nothing to fix.")
    if after.kind in ("leaking", "growing"):
        return FixVerdict("not_fixed", f"Not fixed. {after.sentence}")
    if after.kind == "undecided":
        return FixVerdict("undecided", f"Not proven. {after.sentence}")
    sentences = []
    for lost in leaks:
        function = lost.frames[0].function if lost.frames else None
        again = [
            v for v in after.stacks if v.usage.frames and v.usage.frames[0].function == function
        ]
        allocated = sum(verdict.usage.allocated_blocks for verdict in again)
        if function is None or not allocated:
            who = function or "a caller without a name"
            return FixVerdict("undecided", f"Not proven: {who} was not seen to do its work again.")
        kept = sum(verdict.usage.live_blocks for verdict in again)
        sentences.append(
            f"{function} kept {lost.live_blocks:,} of {count_of(lost.allocated_blocks, 'block')} "
            f"before ({lost.live_bytes:,} bytes) "
            f"and {kept:,} of {count_of(allocated, 'block')} after"
        )
    return FixVerdict("fixed", f"Fixed: {'; '.join(sentences)}, and no other stack grows.")


def estimate_slope(times_s: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return (slope per second, half width of its 95 % interval), by Theil and Sen.

    The slope is the median over all pairs of points; the interval comes from the rank of the pairs
    as Sen (1968) gives it. Fewer than three points give (0, infinity).
    """
    if len(times_s) < 3:
        return 0.0, float("inf")
    times, points = _thin(np.asarray(times_s, float)), _thin(np.asarray(values, float))
    first, second = np.triu_indices(len(times), k=1)
    apart = times[second] - times[first]
    slopes = np.sort((points[second] - points[first])[apart > 0] / apart[apart > 0])
    n = len(times)
    half_rank = 1.96 * np.sqrt(n * (n - 1) * (2 * n + 5) / 18) / 2
    middle = (len(slopes) - 1) / 2
    low = slopes[max(0, int(np.floor(middle - half_rank)))]
    high = slopes[min(len(slopes) - 1, int(np.ceil(middle + half_rank)))]
    return float(np.median(slopes)), float((high - low) / 2)


def _thin(values: Floats) -> Floats:
    """At most _MAX_POINTS of the values, evenly spread: pairs grow with the square."""
    step = np.linspace(0, len(values) - 1, min(len(values), _MAX_POINTS)).round().astype(int)
    thinned: Floats = values[step]
    return thinned


def _judged(snapshot: HeapSnapshot) -> list[tuple[_Key, StackUsage]]:
    """Return what is judged: the heap and the mappings, but not what malloc maps for itself."""
    mappings = tuple(usage for usage in snapshot.mappings if usage.kind != "arena")
    return [((usage.kind, usage.frames), usage) for usage in snapshot.stacks + mappings]


def _collect_series(trace: HeapTrace) -> dict[_Key, tuple[list[float], list[float]]]:
    """Return, by kind and call stack, the times since first seen and the live bytes at them."""
    series: dict[_Key, tuple[list[float], list[float]]] = {}
    for snapshot in trace.snapshots:
        for key, usage in _judged(snapshot):
            times, values = series.setdefault(key, ([], []))
            times.append(snapshot.elapsed_s)
            values.append(float(usage.live_bytes))
    return series


def _judge_stack(
    usage: StackUsage, times_s: Sequence[float], live_bytes: Sequence[float], is_running: bool
) -> StackVerdict:
    slope, error = estimate_slope(times_s, live_bytes)
    seconds = times_s[-1] - times_s[0]
    has_window = len(times_s) >= MIN_SNAPSHOTS and seconds >= MIN_WINDOW_S
    growth = live_bytes[-1] - live_bytes[0]
    late_growth = live_bytes[-1] - live_bytes[len(live_bytes) // 2]
    grows = _grows(live_bytes, slope, error)
    if grows and slope == 0:  # steps so far apart that most pairs of points lie on one of them
        slope, error = growth / seconds, growth / seconds
    freed_share = usage.freed_blocks / max(1, usage.allocated_blocks)
    if usage.live_blocks == 0:
        kind = "churn" if usage.freed_blocks > 1 else "clean"
    elif not has_window:
        kind = "undecided"
    elif grows and late_growth >= MIN_LATE_SHARE * growth:
        kind = "leaking" if freed_share < MAX_FREED_SHARE_OF_A_LEAK else "growing"
    elif late_growth > 0 and not usage.freed_blocks:
        kind = "undecided"
    else:
        kind = "churn" if usage.freed_blocks else "plateau"
    if not np.isfinite(error):
        slope, error = 0.0, 0.0
    sentence = _describe_stack(kind, usage, slope, error, seconds, is_running)
    return StackVerdict(kind, sentence, usage, slope, error)


def name_site(usage: StackUsage) -> str:
    """Return where a stack allocates, for a sentence: function, file and line as far as known.

    That is the program's own function, and the library's that it called if it did so by one.
    """
    if not usage.frames:
        return "an unknown caller"
    first = usage.frames[0]
    own = next((frame for frame in usage.frames if ".so" not in frame.module), first)
    if own is first or own.function is None:
        return _name_frame(first)
    return f"{_name_frame(own)} by {(first.function or first.module).lstrip('_')}"


def _name_frame(frame: Frame) -> str:
    if frame.function is None:
        return f"{frame.module}+{frame.offset:#x} (no symbols)"
    return f"{frame.function} ({frame.file}:{frame.line})" if frame.line else frame.function


def _grows(live_bytes: Sequence[float], slope: float, error: float) -> bool:
    """Whether it went up several times, and either never down or clearly so over all."""
    steps = [after - before for before, after in pairwise(live_bytes)]
    if sum(step > 0 for step in steps) < _MIN_STEPS or live_bytes[-1] <= live_bytes[0]:
        return False
    return min(steps) >= 0 or slope > error


def _describe_stack(
    kind: str, usage: StackUsage, slope: float, error: float, seconds: float, is_running: bool
) -> str:
    site = name_site(usage)
    noun = _NOUNS[usage.kind]
    live = f"{usage.live_bytes:,} bytes in {count_of(usage.live_blocks, noun)}"
    if usage.live_bytes_error:
        live = f"about {live} (± {1.96 * usage.live_bytes_error:,.0f} bytes, sampled)"
    freed = f"{usage.freed_blocks:,} of {count_of(usage.allocated_blocks, noun)} freed"
    rate = f"{slope:,.0f} ± {error:,.0f} bytes a second over {seconds:.1f} s"
    if kind == "leaking":
        return f"{site} leaks: it holds {live}, grows by {rate}, with {freed}."
    if kind == "growing":
        return f"{site} grows by {rate}, but frees as well: {freed}; it holds {live}."
    if kind == "plateau":
        return f"{site} holds {live} and has stopped growing; {freed}."
    if kind == "churn":
        return f"{site} allocates and frees without growing: {freed}; it holds {live}."
    if kind == "clean":
        return f"{site} holds nothing: {freed}."
    holds = f"Not enough evidence yet about {site}: it holds {live} after {seconds:.1f} s"
    if not is_running:
        return f"{holds}, and its program has ended; let it run for longer."
    more_s = max(1.0, MIN_WINDOW_S - seconds, seconds)
    return f"{holds}; trace for {more_s:.0f} s more."


def _describe_process(kind: str, verdicts: Sequence[StackVerdict], trace: HeapTrace) -> str:
    gravest = [verdict for verdict in verdicts if verdict.kind == kind]
    if kind in ("leaking", "growing", "undecided"):
        others = f" {count_of(len(gravest) - 1, 'more stack')} like it." if len(gravest) > 1 else ""
        return gravest[0].sentence + others
    events = trace.snapshots[-1].events
    live = trace.snapshots[-1].live_bytes
    return (
        f"Not a leak: nothing grew in {trace.seconds:.1f} s; {events.frees:,} of "
        f"{count_of(events.allocations, 'block')} were freed, and {live:,} bytes are still in use."
    )
