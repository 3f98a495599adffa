"""Does something grow, and does it go on? The tests of one series of counts or bytes.

What never comes down is judged by its rises: three at least, some of them in the last part of the
window, and no silence at the end that is long beside the pauses before. What goes up and down is
judged by its drift: it must be surer than its interval, and both its peaks and its troughs must
rise. The same is asked of the last two thirds and of the last half alone, so that a warm-up does
not hide what goes on behind it, and of the bottoms that the teeth of a saw come down to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lablib.analysis.trends import Floats, estimate_slope

MIN_SNAPSHOTS = 5
MIN_WINDOW_S = 2.0
MIN_RISES = 3
MIN_LATE_SHARE = 0.25
"""How much of the growth must have come in the last half to say that it goes on: a steady one has
half of it there, a warm-up that is over none."""

MAX_FALL_SHARE = 0.01
"""What falls by no more than this of what it rises is taken for something that only rises."""

MIN_BOTTOMS = 5
_LONG_FALL_SHARE = 0.4
_LONG_PAUSES = 3.0
_STILL_SHARE = 0.4
_SPENT_SHARE = 0.05
_MATERIAL_SHARE = 0.1
_MAX_NEEDED_S = 600.0


@dataclass(frozen=True)
class Growth:
    """What a series does: `state` is grows, stopped, varies or unsure.

    `stopped` is for what only rose, `varies` for what goes up and down without a drift. The rate is
    per second, with the half width of its 95 % interval. The other numbers are explained at
    `StackEvidence`.
    """

    state: str
    window_s: float
    snapshots: int
    rises: int
    silence_s: float
    total: float
    late_share: float
    rate: float
    error: float
    needed_s: float = 0.0


def read_growth(times_s: Sequence[float], values: Sequence[float]) -> Growth:
    """Return what a series of snapshots does.

    `times_s` count from the start of the tracing: what has risen once is compared with the time
    before that.
    """
    times, points = np.asarray(times_s, float), np.asarray(values, float)
    window_s = float(times[-1] - times[0])
    rises = times[1:][np.diff(points) > 0]
    silence_s = float(times[-1] - (rises[-1] if len(rises) else times[0]))
    total = float(points[-1] - points[0])
    rate, error = estimate_slope(times, points)
    if not np.isfinite(error):
        rate, error = 0.0, 0.0
    if len(times) < MIN_SNAPSHOTS or window_s < MIN_WINDOW_S:
        interval_s = window_s / max(1, len(times) - 1)
        more_s = max(MIN_WINDOW_S - window_s, (MIN_SNAPSHOTS - len(times)) * interval_s, 1.0)
        state, needed_s = "unsure", more_s
    elif _only_rises(points):
        state, needed_s = _read_rises(times, points, rises, silence_s)
    else:
        state, needed_s = _read_drift(times, points)
    late = _late_share(times, points)
    return Growth(
        *(state, window_s, len(times), len(rises), silence_s, total, late, rate, error, needed_s)
    )


def _only_rises(points: Floats) -> bool:
    steps = np.diff(points)
    return bool(-steps[steps < 0].sum() <= MAX_FALL_SHARE * steps[steps > 0].sum())


def _late_share(times: Floats, points: Floats) -> float:
    """Return the part of the growth that came in the last half, 0 where nothing grew."""
    total = points[-1] - points[0]
    middle = np.searchsorted(times, (times[0] + times[-1]) / 2)
    return float((points[-1] - points[middle]) / total) if total > 0 else 0.0


def _read_rises(
    times: Floats, points: Floats, rises: Floats, silence_s: float
) -> tuple[str, float]:
    window_s = float(times[-1] - times[0])
    interval_s = window_s / (len(times) - 1)
    pause_s = _longest_pause(times, points) + interval_s
    is_silent = silence_s >= (_LONG_PAUSES if len(rises) > 1 else 1.0) * pause_s
    for part in (*_parts(times)[:-1], times >= rises[:1].sum()):
        enough = np.count_nonzero(rises > times[part][0]) >= MIN_RISES
        goes_on = _late_share(times[part], points[part]) >= MIN_LATE_SHARE
        if enough and goes_on and not is_silent:
            return "grows", 0.0
    if is_silent and (silence_s >= _STILL_SHARE * window_s or not len(rises)):
        return "stopped", 0.0
    last = points[-1] - points[np.searchsorted(times, times[-1] - window_s / 3)]
    has_shape = len(rises) > 2 * MIN_RISES or np.diff(points).min() < 0
    if has_shape and last <= _SPENT_SHARE * (points[-1] - points[0]):
        return "stopped", 0.0
    for_silence_s = (_STILL_SHARE * window_s - silence_s) / (1 - _STILL_SHARE)
    for_rises_s = (MIN_RISES - len(rises)) * pause_s
    return "unsure", _limit(max(for_silence_s, for_rises_s, _LONG_PAUSES * pause_s - silence_s))


def _longest_pause(times: Floats, points: Floats) -> float:
    """Return the longest time that is known to lie between two rises, or before the only one.

    A rise may have come right behind the snapshot before it: when a busy machine takes few, what
    lies between two of them is no pause.
    """
    rises = np.flatnonzero(np.diff(points) > 0)
    if len(rises) < 2:
        return float(times[rises[0]] if len(rises) else times[0])
    return float((times[rises[1:]] - times[rises[:-1] + 1]).max())


def _read_drift(times: Floats, points: Floats) -> tuple[str, float]:
    window_s = float(times[-1] - times[0])
    if _bottoms_rise(times, points):
        return "grows", 0.0
    rate, error = estimate_slope(times, points)
    # Peaks and troughs of a straight line rise by half of what it rises by in the window.
    if min(_rise(points)) <= rate * window_s / 8:
        return "varies", 0.0
    for part in _parts(times):
        rate, error = estimate_slope(times[part], points[part])
        if rate > error and _late_share(times[part], points[part]) >= MIN_LATE_SHARE:
            return "grows", 0.0
    rate, error = estimate_slope(times, points)
    is_material = rate * window_s > _MATERIAL_SHARE * points.max()
    if rate > error / 2 and is_material and min(_rise(points[_parts(times)[0]])) > 0:
        return "unsure", _limit(window_s * ((error / rate) ** 2 - 1))
    return "varies", 0.0


def _rise(points: Floats) -> tuple[float, float]:
    """Return by how much the peak and the trough of the last half are above those of the first."""
    first, last = np.array_split(points, 2)
    return float(last.max() - first.max()), float(last.min() - first.min())


def _bottoms_rise(times: Floats, points: Floats) -> bool:
    """Whether each long fall ends higher than the one before it, beyond doubt."""
    falls = -np.diff(points) > np.ptp(points) * _LONG_FALL_SHARE
    bottoms = np.flatnonzero(falls) + 1
    if len(bottoms) < MIN_BOTTOMS:
        return False
    rate, error = estimate_slope(times[bottoms], points[bottoms])
    return rate > error


def _parts(times: Floats) -> list[NDArray[np.bool_]]:
    """Return which snapshots are in the last two thirds, in the last half, and in the whole."""
    since = times - times[0]
    return [since >= since[-1] * share for share in (1 / 3, 1 / 2, 0)]


def _limit(seconds: float) -> float:
    return float(min(max(1.0, seconds), _MAX_NEEDED_S))
