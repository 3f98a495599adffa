"""Verdicts on a machine's memory, from vmstat samples made by hand."""

import numpy as np
import pytest

from lablib.analysis import judge_machine
from lablib.records import VmstatSample

MIB = 1 << 20


def sample(second, free, cache, available=None, swapped=0):
    """A line of vmstat; sizes in MiB."""
    return VmstatSample(
        float(second), 1, 0, int(swapped * MIB), int(free * MIB), 0, int(cache * MIB),
        *([0] * 10), None, None if available is None else int(available * MIB),
    )  # fmt: skip


def noise(seed=1, size=3):
    """MiB that a quiet machine goes up and down by."""
    rng = np.random.default_rng(seed)
    return lambda: rng.normal(0, size)


def test_free_memory_that_went_into_the_cache_is_page_cache():
    wild = noise()
    for rate in (20, 50, 200):
        lines = [
            sample(s, 8000 - rate * s, 1000 + rate * s + wild(), 7500 + wild()) for s in range(10)
        ]
        verdict = judge_machine(lines)
        assert verdict.kind == "page_cache"
        assert "not a leak" in verdict.sentence


def test_available_memory_that_falls_is_shrinking_and_how_long_it_lasts_is_said():
    wild = noise(2)
    lines = [sample(s, 8000 - 50 * s, 1000, 7500 - 50 * s + wild()) for s in range(12)]
    verdict = judge_machine(lines)
    assert verdict.kind == "shrinking"
    assert verdict.available_bytes_per_s == pytest.approx(-50 * MIB, rel=0.1)
    assert verdict.left_s == pytest.approx((7500 - 550) / 50, rel=0.1)
    assert "lasts" in verdict.sentence


def test_a_leak_beside_a_copy_is_shrinking():
    lines = [sample(s, 8000 - 80 * s, 1000 + 30 * s, 7500 - 50 * s) for s in range(12)]
    assert judge_machine(lines).kind == "shrinking"


def test_memory_that_is_swapped_out_is_still_held():
    lines = [sample(s, 300, 100, 350, swapped=40 * s) for s in range(10)]
    verdict = judge_machine(lines)
    assert verdict.kind == "shrinking"
    assert "into swap" in verdict.sentence


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_quiet_machine_is_steady(size):
    for seed in range(20):
        wild = noise(seed, size)
        lines = [sample(s, 8000 + wild(), 1000 + wild(), 7500 + wild()) for s in range(20)]
        assert judge_machine(lines).kind == "steady"


def test_a_few_samples_are_not_enough():
    verdict = judge_machine([sample(0, 100, 10, 90), sample(1, 50, 10, 40)])
    assert verdict.kind == "undecided"
    assert f"{verdict.needed_s:.0f} s more" in verdict.sentence
    assert judge_machine([]).kind == "undecided"


def test_a_fall_that_may_be_chance_is_undecided():
    left = [7500, 7400, 7550, 7380, 7500, 7460]
    lines = [sample(s, 8000, 1000, mib) for s, mib in enumerate(left)]
    assert judge_machine(lines).kind == "undecided"


def test_without_mem_available_free_and_cache_stand_for_it():
    cache = judge_machine([sample(s, 8000 - 50 * s, 1000 + 50 * s) for s in range(10)])
    assert (cache.kind, cache.is_estimated) == ("page_cache", True)
    assert judge_machine([sample(s, 8000 - 50 * s, 1000) for s in range(10)]).kind == "shrinking"
