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

MIN_LOST_AGE_S = 0.25
"""A block that was born this long before the scan and is lost is not merely on its way."""

MIN_BIRTHS = 3
"""In so many stretches of the window must lost blocks be born to say that it goes on."""

_LONG_PAUSES = 3.0
_MAX_FREED_SHARE = 0.05


@dataclass(frozen=True)
class Losses:
    """What the scans say about one call stack.

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


def read_losses(
    scans: Sequence[tuple[float, StackReach | None]], times_s: Sequence[float], live_blocks: int
) -> Losses | None:
    """Return what the scans say about one stack, None where none of them looked at it.

    `scans` are (elapsed_s, what it says of the stack); None says that the stack held no block then.
    `times_s` are those of the snapshots, on which the rate is read; `live_blocks` is what the stack
    holds at the end, which may be after the last scan.
    """
    if not scans or all(reach is None for _, reach in scans):
        return None
    elapsed_s, last = scans[-1]
    if last is None:
        return Losses(0, 0, 0, 0)
    lost = _find_settled(scans)
    blocks, size = sum(b.lost_blocks for b in lost), sum(b.lost_bytes for b in lost)
    if not last.bands and len(scans) > 1:  # no ages: what was lost before and is lost again
        before = scans[-2][1]
        blocks = min(last.lost_blocks, before.lost_blocks if before else 0)
        size = last.lost_bytes * blocks // max(1, last.lost_blocks)
    was_hidden = blocks > 0 and (live_blocks < blocks or _were_freed(scans))
    goes_on = _goes_on(scans, lost)
    rate, error = _estimate_rate(lost, times_s, elapsed_s) if goes_on else (0.0, 0.0)
    return Losses(
        *(blocks, size, last.reached_blocks, last.reached_bytes),
        (lost[0].born_from_s, lost[-1].born_to_s) if lost else (),
        len(lost),
        *(goes_on, rate, error, was_hidden),
    )


def read_survival(
    reach: StackReach | None, times_s: Sequence[float], allocated: Sequence[float]
) -> float | None:
    """Return the share of the blocks born in the first half of the window that still live.

    None where no scan told their age, or where too few were born to speak of a share.
    """
    if reach is None or not reach.bands:
        return None
    middle = int(np.searchsorted(times_s, (times_s[0] + times_s[-1]) / 2))
    born = allocated[middle]
    live = sum(b.live_blocks for b in reach.bands if b.born_to_s <= times_s[middle])
    return min(1.0, live / born) if born >= MIN_BIRTHS else None


def _find_settled(scans: Sequence[tuple[float, StackReach | None]]) -> list[AgeBand]:
    """Return the bands of the last scan whose lost blocks are not merely on their way."""
    elapsed_s, last = scans[-1]
    assert last is not None
    before_s = scans[-2][0] if len(scans) > 1 else 0.0
    settled_s = max(before_s, elapsed_s - MIN_LOST_AGE_S)
    return [b for b in last.bands if b.lost_blocks and b.born_from_s < settled_s]


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
