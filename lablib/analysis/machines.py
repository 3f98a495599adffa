"""The verdict on a machine's memory: is free memory falling for the page cache's sake, or for good?

Free memory alone says nothing: the kernel fills it with copies of files, and takes that memory back
as soon as a program needs it. What counts is what is available. A cache that grows must not hide a
leak beside it, so it is also asked whether memory goes on to leave both, what is free and what is
cached.
"""

from __future__ import annotations

from collections.abc import Sequence

from lablib.analysis.trends import estimate_slope
from lablib.language import say
from lablib.records import MachineVerdict, VmstatSample
from lablib.wording import format_size

MIN_SAMPLES = 5
MIN_WINDOW_S = 4.0
MIN_CHANGE_BYTES = 16 << 20
"""A machine's memory goes up and down by some MiB all the time."""

MIN_CACHE_SHARE = 0.6
"""So much of what free memory lost must be found in the cache to call it page cache."""

MAX_TAKEN_SHARE = 0.1
"""More than this of what free memory lost, and found in no cache, is not explained by the cache."""

_MAX_NEEDED_S = 600.0


def judge_machine(samples: Sequence[VmstatSample]) -> MachineVerdict:
    """Return the verdict on vmstat's samples, in order: page_cache, shrinking, steady or undecided.

    Where memory was swapped out in the window, that counts as if it had been taken from what is
    available: programs hold that much more.
    """
    if not samples:
        nothing = say("No sample was taken, so there is no evidence.")
        return _make_verdict("undecided", nothing, (), ())
    is_estimated = any(sample.available_bytes is None for sample in samples)
    unused = [sample.free_bytes + _cached(sample) - sample.swapped_bytes for sample in samples]
    left = [
        bytes_unused
        if is_estimated or sample.available_bytes is None
        else sample.available_bytes - sample.swapped_bytes
        for sample, bytes_unused in zip(samples, unused, strict=True)
    ]
    times_s = [sample.elapsed_s for sample in samples]
    slope, error = estimate_slope(times_s, left)
    free = samples[-1].free_bytes - samples[0].free_bytes
    cache = _cached(samples[-1]) - _cached(samples[0])
    window_s = times_s[-1] - times_s[0]
    explained = cache if _is_all_cached(times_s, unused, free) else 0
    kind, needed_s = _choose_kind(len(samples), window_s, free, explained, left, slope, error)
    left_s = max(0.0, left[-1] / -slope) if kind == "shrinking" else None
    sentence = _describe(kind, samples, left, slope, error, needed_s)
    return _make_verdict(
        kind, sentence, samples, left, slope, error, is_estimated, left_s, needed_s
    )


def _cached(sample: VmstatSample) -> int:
    return sample.cache_bytes + sample.buffer_bytes


def _is_all_cached(times_s: Sequence[float], unused: Sequence[int], free: int) -> bool:
    """Return whether what is free and what is cached lose nothing, but to each other.

    A steady loss counts from 16 MiB on; any other has to be a small part of what free memory lost.
    """
    taken = unused[0] - unused[-1]
    slope, error = estimate_slope(times_s, unused)
    is_steady = taken >= MIN_CHANGE_BYTES and -slope > error
    return not is_steady and taken <= MIN_CHANGE_BYTES - free * MAX_TAKEN_SHARE


def _choose_kind(
    samples: int,
    window_s: float,
    free: int,
    cache: int,
    left: Sequence[int],
    slope: float,
    error: float,
) -> tuple[str, float]:
    if samples < MIN_SAMPLES or window_s < MIN_WINDOW_S:
        return "undecided", max(1.0, MIN_WINDOW_S - window_s, float(MIN_SAMPLES - samples))
    lost = left[0] - left[-1]
    is_cached = -free >= MIN_CHANGE_BYTES and cache >= MIN_CACHE_SHARE * -free
    if is_cached and lost < (1 - MIN_CACHE_SHARE) * -free:
        return "page_cache", 0.0
    if lost >= MIN_CHANGE_BYTES and slope < 0:
        if -slope > error:
            return "shrinking", 0.0
        return "undecided", min(_MAX_NEEDED_S, max(1.0, window_s * ((error / slope) ** 2 - 1)))
    return "steady", 0.0


def _describe(
    kind: str,
    samples: Sequence[VmstatSample],
    left: Sequence[int],
    slope: float,
    error: float,
    needed_s: float,
) -> str:
    first, last = samples[0], samples[-1]
    window_s = last.elapsed_s - first.elapsed_s
    now = format_size(left[-1])
    if kind == "page_cache":
        return say(
            "Page cache, not a leak: in {seconds:.0f} s free memory fell by {fell}, and the cache "
            "rose by {rose}. Programs can still get {now}, for the kernel gives the cache back.",
            seconds=window_s,
            fell=format_size(first.free_bytes - last.free_bytes),
            rose=format_size(_cached(last) - _cached(first)),
            now=now,
        )
    if kind == "shrinking":
        swapped = last.swapped_bytes - first.swapped_bytes
        return _describe_fall(window_s, left, swapped, slope, error)
    if kind == "steady":
        return say(
            "Steady: what programs can still get changed by no more than {most} in "
            "{seconds:.0f} s; {now} is left.",
            most=format_size(max(MIN_CHANGE_BYTES, abs(left[0] - left[-1]))),
            seconds=window_s,
            now=now,
        )
    return say(
        "Not enough evidence yet: what programs can still get went from {before} to {now} in "
        "{seconds:.0f} s; watch for {needed:.0f} s more.",
        before=format_size(left[0]),
        now=now,
        seconds=window_s,
        needed=needed_s,
    )


def _describe_fall(
    window_s: float, left: Sequence[int], swapped_bytes: int, slope: float, error: float
) -> str:
    swapped = say(", {size} of it into swap", size=format_size(swapped_bytes))
    fell = say(
        "Memory is running out: what programs can still get fell by {lost} in {seconds:.0f} s"
        "{swapped}, {rate} ± {error} a second, and {now} is left.",
        lost=format_size(left[0] - left[-1]),
        seconds=window_s,
        swapped=swapped if swapped_bytes > 0 else "",
        rate=format_size(-slope),
        error=format_size(error),
        now=format_size(left[-1]),
    )
    if left[-1] <= 0:
        return fell
    return fell + say(" At this rate it lasts {seconds:,.0f} s more.", seconds=left[-1] / -slope)


def _make_verdict(
    kind: str,
    sentence: str,
    samples: Sequence[VmstatSample],
    left: Sequence[int],
    slope: float = 0.0,
    error: float = 0.0,
    is_estimated: bool = False,
    left_s: float | None = None,
    needed_s: float = MIN_WINDOW_S,
) -> MachineVerdict:
    has_error = error != float("inf")
    first, last = (samples[0], samples[-1]) if samples else (None, None)
    return MachineVerdict(
        kind=kind,
        sentence=sentence,
        window_s=last.elapsed_s - first.elapsed_s if first and last else 0.0,
        samples=len(samples),
        free_change_bytes=last.free_bytes - first.free_bytes if first and last else 0,
        cache_change_bytes=_cached(last) - _cached(first) if first and last else 0,
        available_change_bytes=left[-1] - left[0] if left else 0,
        swapped_change_bytes=last.swapped_bytes - first.swapped_bytes if first and last else 0,
        available_bytes_per_s=slope if has_error else 0.0,
        available_error_bytes_per_s=error if has_error else 0.0,
        is_estimated=is_estimated,
        left_s=left_s,
        needed_s=needed_s,
    )
