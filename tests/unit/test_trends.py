"""Slopes and growth of series with known truth: steps, bursts, saws, queues, noise; all seeded."""

import numpy as np
import pytest

from lablib.analysis.growth import read_growth
from lablib.analysis.trends import estimate_slope

TRIES = 120


def times(rng, seconds=None):
    """When snapshots are taken, in a window of 3, 10 or 30 s."""
    interval_s = rng.choice([0.2, 0.25, 0.5, 1.0])
    return np.arange(interval_s, (seconds or rng.choice([3, 10, 30])) + 1e-9, interval_s)


def make_steps(rng, t):
    period_s = rng.uniform(0.1, t[-1] / 4)
    return np.floor((t + rng.uniform(0, period_s)) / period_s) * 100, 100 / period_s


def make_bursts(rng, t):
    period_s = rng.uniform(t[-1] / 10, t[-1] / 3.2)
    return np.floor((t + rng.uniform(0, period_s)) / period_s) * 5000, 5000 / period_s


def make_random_arrivals(rng, t):
    rate = rng.uniform(5 / t[-1] + 1, 50)
    return rng.poisson(rate * np.diff(np.r_[0, t])).cumsum() * 100.0, rate * 100


def make_noisy_line(rng, t):
    return 100 * t + rng.normal(0, 30, len(t)), 100


def make_queue(rng, t):
    """Random arrivals that stay for a random time: each value hangs on the one before."""
    arrivals, ends = rng.uniform(2, 200), rng.uniform(0.3, 5)
    length, found = rng.poisson(arrivals / ends), []
    for step_s in np.diff(np.r_[0, t]):
        stay = np.exp(-ends * step_s)
        length = rng.binomial(length, stay) + rng.poisson(arrivals / ends * (1 - stay))
        found.append(length)
    return np.array(found) * 64.0, 0


def make_saw(rng, t):
    period_s = rng.uniform(0.5, t[-1] * 0.8)
    return (t + rng.uniform(0, period_s)) % period_s / period_s * 1000, 0


def make_drifting_noise(rng, t):
    """Noise whose every value hangs on the one before, up to nearly a random walk."""
    memory, value, found = rng.uniform(0, 0.95), 0.0, []
    for _ in t:
        value = memory * value + rng.normal()
        found.append(value)
    return np.array(found) * 100 + 1000, 0


def make_once(rng, t):
    return np.full(len(t), 4096.0), 0


def make_warm_up(rng, t):
    until_s = rng.uniform(0.02, 0.5) * t[-1]
    return np.floor(np.minimum(t, until_s) * 20 / until_s) * 64, 0


def make_slow_saturation(rng, t):
    return np.floor(1000 * (1 - np.exp(-t / rng.uniform(0.01, 0.13) / t[-1]))), 0


def make_leak_behind_a_warm_up(rng, t):
    leak = np.floor(t / rng.uniform(0.1, 1.5))
    return np.floor(1000 * (1 - np.exp(-t / rng.uniform(0.1, 0.8)))) + leak, 0


def make_leak_beside_churn(rng, t):
    lost = rng.poisson(rng.uniform(5, 50) * np.diff(np.r_[0, t])).cumsum()
    return (rng.poisson(5, len(t)) + lost) * 64.0, 0


@pytest.mark.parametrize(
    "make",
    [make_steps, make_bursts, make_noisy_line, make_queue, make_saw, make_drifting_noise],
)
def test_the_interval_holds_the_true_rate(make):
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(TRIES):
        t = times(rng)
        values, rate = make(rng, t)
        slope, error = estimate_slope(t, values)
        held += abs(slope - rate) <= error
    assert held >= 0.92 * TRIES


def test_the_interval_holds_the_rate_of_random_arrivals():
    """They are the hardest: a few of them say little of their rate."""
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(TRIES):
        t = times(rng)
        values, rate = make_random_arrivals(rng, t)
        slope, error = estimate_slope(t, values)
        held += abs(slope - rate) <= error
    assert held >= 0.87 * TRIES


@pytest.mark.parametrize("make", [make_steps, make_noisy_line])
def test_the_interval_is_of_use(make):
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(TRIES):
        t = times(rng, 10)
        values, rate = make(rng, t)
        errors.append(estimate_slope(t, values)[1] / rate)
    assert np.median(errors) < 0.4


def test_a_slope_of_nothing_is_unknown():
    assert estimate_slope([], []) == (0.0, float("inf"))
    assert estimate_slope([1, 2], [5, 6]) == (0.0, float("inf"))
    assert estimate_slope([1, 1, 1], [5, 6, 7]) == (0.0, float("inf"))


def test_many_points_cost_no_more_than_some_hundreds():
    t = np.arange(100_000) / 10
    slope, error = estimate_slope(t, 3 * t)
    assert slope == pytest.approx(3)
    assert error < 0.1


@pytest.mark.parametrize(
    ("make", "seconds", "state", "share"),
    [
        (make_steps, 10, "grows", 0.95),
        (make_random_arrivals, 10, "grows", 0.95),
        (make_bursts, 30, "grows", 0.75),
        (make_leak_behind_a_warm_up, 10, "grows", 0.9),
        (make_leak_beside_churn, 10, "grows", 0.95),
        (make_once, 10, "stopped", 1),
        (make_warm_up, 10, "stopped", 0.75),
        (make_slow_saturation, 10, "stopped", 0.85),
        (make_saw, 10, "varies", 0.95),
        (make_queue, 10, "varies", 0.95),
        (make_drifting_noise, 10, "varies", 0.95),
    ],
)
def test_growth_is_told_from_what_looks_like_it(make, seconds, state, share):
    rng = np.random.default_rng(4)
    states = []
    for _ in range(TRIES):
        t = times(rng, seconds)
        states.append(read_growth(t, make(rng, t)[0]).state)
    assert states.count(state) >= share * TRIES
    opposite = {"grows": "stopped", "stopped": "grows", "varies": "grows"}[state]
    assert states.count(opposite) <= 0.04 * TRIES


def test_what_is_undecided_needs_time_in_proportion_to_its_events():
    """Three blocks, one in five seconds: seconds are asked for, not hours and not none."""
    t = np.arange(0.5, 12.6, 0.5)
    growth = read_growth(t, np.floor(t / 5 + 1) * 64)
    assert growth.state == "unsure"
    assert 3 <= growth.needed_s <= 20


def test_after_the_seconds_that_it_asks_for_it_is_decided():
    for period_s in (1, 2, 3, 4):

        def values(t, period_s=period_s):
            return np.floor(t / period_s + 1) * 64

        seconds, growth = period_s + 1.0, None
        for _ in range(4):
            t = np.arange(0.5, seconds + 1e-9, 0.5)
            growth = read_growth(t, values(t))
            if growth.state != "unsure":
                break
            seconds += growth.needed_s
        assert growth.state == "grows", period_s
        assert seconds <= 12 * period_s


def test_a_saw_that_climbs_grows_whatever_its_teeth():
    t = np.arange(0.25, 20, 0.25)
    saw = t % 2 * 500
    assert read_growth(t, saw).state == "varies"
    assert read_growth(t, saw + 100 * t).state == "grows"


def test_a_window_too_short_is_unsure_and_says_for_how_long():
    growth = read_growth([0.0, 0.5, 1.0], [1, 2, 3])
    assert (growth.state, growth.needed_s) == ("unsure", 1.0)
