"""The verdict on a machine: what a growing cache explains, and what it must not hide."""

import pytest
from process_records import MIB, make_vmstat

from lablib.analysis import judge_machine

START = 8000


def make_machine(cache, taken, held_back=None, seconds=8):
    """A machine with `cache` and `taken` MiB more each second, and its kernel's caution in MiB.

    The rest was free. `held_back` of the cache doesn't count as available, as long as it is small.
    """
    times = range(seconds)
    held = held_back or (lambda cached: 0)
    return make_vmstat(
        [START - (cache + taken) * t for t in times],
        cache_bytes=[1000 + cache * t for t in times],
        available_bytes=[START + 1000 - taken * t - held(cache * t) for t in times],
    )


def test_a_file_that_is_read_is_page_cache():
    verdict = judge_machine(make_machine(cache=64, taken=0))
    assert verdict.kind == "page_cache"
    assert "fell by 448 MiB, and the cache rose by 448 MiB" in verdict.sentence


def test_it_is_so_too_while_the_kernel_counts_only_half_of_a_small_cache():
    verdict = judge_machine(make_machine(64, 0, held_back=lambda cached: min(cached / 2, 80)))
    assert verdict.kind == "page_cache"


def test_memory_that_is_taken_is_shrinking():
    verdict = judge_machine(make_machine(cache=0, taken=32))
    assert verdict.kind == "shrinking"
    assert verdict.available_bytes_per_s == pytest.approx(-32 * MIB)


@pytest.mark.parametrize("cache", [64, 100, 400])
def test_a_cache_that_grows_does_not_hide_what_is_taken_beside_it(cache):
    verdict = judge_machine(make_machine(cache, taken=32))
    assert verdict.kind == "shrinking"
    assert "not a leak" not in verdict.sentence


def test_what_is_taken_at_no_steady_rate_is_not_called_cache_either():
    taken = [0, 0, 150, 150, 60, 60, 150, 150]
    samples = make_vmstat(
        [START - 64 * t - taken[t] for t in range(8)],
        cache_bytes=[64 * t for t in range(8)],
        available_bytes=[START - each for each in taken],
    )
    verdict = judge_machine(samples)
    assert verdict.kind == "undecided"
    assert "Not enough evidence yet" in verdict.sentence


def test_shared_memory_counts_as_cache_and_is_not_taken_for_it():
    samples = make_machine(cache=64, taken=0, held_back=lambda cached: cached)
    assert judge_machine(samples).kind == "shrinking"


def test_some_mib_up_and_down_are_steady():
    wander = [0, 5, -3, 2, 7, -1, 4, 0]
    samples = make_vmstat(
        [START + each for each in wander], available_bytes=[START + each for each in wander]
    )
    assert judge_machine(samples).kind == "steady"


def test_a_look_that_was_too_short_says_how_long_it_takes():
    verdict = judge_machine(make_machine(0, 32, seconds=3))
    assert verdict.kind == "undecided"
    assert verdict.needed_s >= 2
