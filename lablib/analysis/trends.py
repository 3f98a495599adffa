"""Growth over time: a robust slope with an interval that holds for steps, bursts and noise.

What a program holds is no straight line with independent errors: it goes up in steps, in bursts,
like the teeth of a saw, or like a queue, where each value hangs on the one before. An interval that
takes the errors for independent is far too narrow then. So the slope is Theil and Sen's median over
all pairs of points, and its interval the widest of three: Sen's own, by ranks; that of the mean
step, with the long-run variance of the steps (Newey and West, 1987); and half of a typical step
over the window, for what comes in steps can't be known better.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MAX_POINTS = 200
_MIN_POINTS = 3


def estimate_slope(
    times_s: Sequence[float] | Floats, values: Sequence[float] | Floats
) -> tuple[float, float]:
    """Return (slope per second, half width of its 95 % interval) of values over time.

    Fewer than three points, or no time between them, give (0, infinity).
    """
    times, points = _thin(np.asarray(times_s, float)), _thin(np.asarray(values, float))
    if len(times) < _MIN_POINTS or times[-1] <= times[0]:
        return 0.0, float("inf")
    slope, by_ranks = _estimate_by_ranks(times, points)
    smooth = _drop_spikes(points)
    steps = np.diff(smooth)
    seconds = times[-1] - times[0]
    if slope == 0:  # steps so far apart that most pairs of points lie on one of them
        slope = float(smooth[-1] - smooth[0]) / seconds
    off = steps - slope * np.diff(times)
    by_steps = _quantile(len(off)) * np.sqrt(_long_run_variance(off) * len(off)) / seconds
    rises = np.abs(steps[steps != 0])
    by_size = np.median(rises) / 2 / seconds if len(rises) else 0.0
    return float(slope), float(max(by_ranks, by_steps, by_size))


def _estimate_by_ranks(times: Floats, points: Floats) -> tuple[float, float]:
    """Return Theil and Sen's slope and the half width of the interval of Sen (1968)."""
    first, second = np.triu_indices(len(times), k=1)
    apart = times[second] - times[first]
    slopes = np.sort((points[second] - points[first])[apart > 0] / apart[apart > 0])
    n = len(times)
    half_rank = 1.96 * np.sqrt(n * (n - 1) * (2 * n + 5) / 18) / 2
    middle = (len(slopes) - 1) / 2
    low = slopes[max(0, int(np.floor(middle - half_rank)))]
    high = slopes[min(len(slopes) - 1, int(np.ceil(middle + half_rank)))]
    return float(np.median(slopes)), float((high - low) / 2)


def _long_run_variance(off: Floats) -> float:
    """Return the variance that a sum of steps has per step, by Newey and West's weights.

    The steps are less what the slope makes of the time between them. It is small where a step up
    is followed by one down, and large where steps come in runs.
    """
    n = len(off)
    lags = max(1, int(np.sqrt(n)))
    total = off @ off
    for lag in range(1, min(lags, n - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * (off[lag:] @ off[:-lag])
    taken_by_the_mean = (lags + 1) / n
    return max(0.0, float(total)) / n / (1 - min(0.75, taken_by_the_mean))


def _quantile(steps: int) -> float:
    """Return about the 97.5 % quantile of Student's t for as many steps."""
    return 1.96 + 5 / max(2, steps - 1)


def _drop_spikes(points: Floats) -> Floats:
    """Return the running median of three: a single wild point goes, a step stays."""
    inner = np.median(np.stack([points[:-2], points[1:-1], points[2:]]), axis=0)
    smooth: Floats = np.concatenate([points[:1], inner, points[-1:]])
    return smooth


def _thin(values: Floats) -> Floats:
    """At most _MAX_POINTS of the values, evenly spread: pairs grow with the square."""
    step = np.linspace(0, len(values) - 1, min(len(values), _MAX_POINTS)).round().astype(int)
    thinned: Floats = values[step] if len(values) else values
    return thinned
