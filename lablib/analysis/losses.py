"""Which blocks of a call stack are lost, since when, and at what rate.

A scan may take a lost block for a reached one, never the other way round. But a program can have
its own way to find a block: in a list whose pointers it encodes, or in what it gave the kernel to
keep. What is lost for good is never freed: where lost blocks were freed later, what is lost proves
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lablib.analysis.trends import estimate_slope
from lablib.records import AgeBand, StackReach

MIN_BIRTHS = 3
"""In so many stretches of the window must lost blocks be born to say that it goes on."""

_LONG_PAUSES = 3.0
_MAX_FREED_SHARE = 0.05


@dataclass(frozen=True)
class Losses:
    """What the scans say about one call stack.

    `needed_s` is above 0 where a second look is due: only the last scan saw anything lost.
    `goes_on` says that blocks are lost again and again; then the rate is in bytes per second, with
    the half width of its 95 % interval, else 0. The other fields are those of `StackEvidence`.
    """

    lost_blocks: int
    lost_bytes: int
    reached_blocks: int
    reached_bytes: int
    lost_at_s: tuple[float, ...] = ()
    births: int = 0
    goes_on: bool = False
    rate: float = 0.0
    error: float = 0.0
    was_hidden: bool = False
    needed_s: float = 0.0


def read_losses(
    scans: Sequence[tuple[float, StackReach | None]],
    times_s: Sequence[float],
    live_blocks: int | None,
) -> Losses | None:
    """Return what the scans say about one stack, None where none of them looked at it.

    `scans` are (elapsed_s, what it says of the stack); None says that the stack held no block then.
    `times_s` are those of the snapshots, on which the rate is read; `live_blocks` is what the stack
    holds in a snapshot after the last scan, None where there is none.
    """
    if not scans or all(reach is None for _, reach in scans):
        return None
    elapsed_s, last = scans[-1]
    if last is None:
        return Losses(0, 0, 0, 0)
    lost = [band for band in last.bands if band.lost_blocks]
    was_freed_since = live_blocks is not None and live_blocks < last.lost_blocks
    was_hidden = last.lost_blocks > 0 and (was_freed_since or _were_freed(scans))
    goes_on = _goes_on(scans, lost)
    rate, error = _estimate_rate(lost, times_s, elapsed_s) if goes_on else (0.0, 0.0)
    return Losses(
        *(last.lost_blocks, last.lost_bytes, last.reached_blocks, last.reached_bytes),
        lost_at_s=(lost[0].born_from_s, lost[-1].born_to_s) if lost else (),
        births=len(lost),
        goes_on=goes_on,
        rate=rate,
        error=error,
        was_hidden=was_hidden,
        needed_s=_find_wait(scans),
    )


def read_survival(
    reach: StackReach | None, times_s: Sequence[float], allocated: Sequence[float], freed: int
) -> float | None:
    """Return the share of the blocks born in the first half of the window that still live.

    How many were born by then lies between two snapshots, and is an estimate; of `freed`, how many
    were freed in all, none can have been counted out twice. None where no scan told their age, or
    where too few were born to speak of a share.
    """
    if reach is None or not reach.bands:
        return None
    width_s = reach.bands[0].born_to_s - reach.bands[0].born_from_s
    half_s = (times_s[0] + times_s[-1]) / 2 // width_s * width_s  # where a band ends
    born = float(np.interp(half_s, times_s, allocated))
    live = sum(b.live_blocks for b in reach.bands if b.born_from_s + width_s / 2 < half_s)
    return min(1.0, max(live, born - freed) / born) if born >= MIN_BIRTHS else None


def _find_wait(scans: Sequence[tuple[float, StackReach | None]]) -> float:
    """Return how long to wait for a second look at what is lost, 0 where it was seen so twice.

    A pointer may be on its way through a pipe, where no scan can see it. The one scan of a trace
    that has no other is believed.
    """
    elapsed_s, last = scans[-1]
    if len(scans) < 2 or last is None or not last.lost_blocks:
        return 0.0
    for earlier_s, earlier in scans[:-1]:
        still = sum(b.lost_blocks for b in last.bands if b.born_from_s <= earlier_s)
        if earlier and earlier.lost_blocks and still:
            return 0.0
    return max(1.0, elapsed_s - scans[-2][0])


def _were_freed(scans: Sequence[tuple[float, StackReach | None]]) -> bool:
    """Whether a later scan has fewer blocks that are as old than were lost in an earlier one."""
    for (earlier_s, earlier), (_, later) in combinations(scans, 2):
        if earlier is None or not earlier.lost_blocks or (later and not later.bands):
            continue
        bands = later.bands if later else ()
        as_old = sum(b.live_blocks for b in bands if b.born_from_s <= earlier_s)
        gone = earlier.lost_blocks - as_old
        if gone > max(1.0, _MAX_FREED_SHARE * earlier.lost_blocks):
            return True
    return False


def _goes_on(scans: Sequence[tuple[float, StackReach | None]], lost: Sequence[AgeBand]) -> bool:
    """Whether blocks were lost again and again, and no long silence is at the end."""
    if len(lost) < MIN_BIRTHS:
        return False
    births = np.array([(band.born_from_s + band.born_to_s) / 2 for band in lost])
    silence_s = scans[-1][0] - births[-1]
    if silence_s <= _LONG_PAUSES * np.diff(births).max():
        return True
    # Held for a while and lost then: births say little of the last seconds, the losses do.
    counts = [reach.lost_blocks if reach else 0 for _, reach in scans]
    return len(counts) > MIN_BIRTHS - 1 and bool((np.diff(counts[-MIN_BIRTHS:]) > 0).all())


def _estimate_rate(
    lost: Sequence[AgeBand], times_s: Sequence[float], elapsed_s: float
) -> tuple[float, float]:
    """Return the slope of the lost bytes by the time of their birth, and its half width."""
    ends = np.array([band.born_to_s for band in lost])
    starts = np.array([band.born_from_s for band in lost])
    pause_s = float(np.median(np.diff(ends)))
    until_s = min(elapsed_s, ends[-1] + pause_s)
    times = np.array([t for t in times_s if t <= until_s])
    if not len(times) or times[-1] <= starts[0]:
        return 0.0, 0.0
    sizes = np.array([band.lost_bytes for band in lost], float)
    widths = np.maximum(ends - starts, 1e-9)
    values = (sizes * np.clip((times[:, None] - starts) / widths, 0, 1)).sum(axis=1)
    rate, error = estimate_slope(times, values)
    return (rate, error) if np.isfinite(error) else (0.0, 0.0)
