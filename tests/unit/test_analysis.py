"""Verdicts on traces made by hand: what is a leak, what only looks like one."""

import dataclasses
import random

import pytest

from lablib.analysis import estimate_slope, judge_trace
from lablib.records import Frame, HeapSnapshot, HeapTrace, StackUsage, Target, TraceEvents

SITE = (Frame("grow", "app", 31, "app.c", 14), Frame("main", "app", 5, "app.c", 30))


def make_trace(live_blocks, block_bytes=1000, freed=None, interval_s=0.5, site=SITE):
    """A trace whose only stack holds live_blocks[i] blocks at snapshot i, with freed[i] freed."""
    freed = freed or [0] * len(live_blocks)
    snapshots = []
    for i, (live, gone) in enumerate(zip(live_blocks, freed, strict=True)):
        usage = StackUsage(
            site, (live + gone) * block_bytes, live + gone, gone * block_bytes, gone, 1.0
        )
        events = TraceEvents(live + gone, gone, 0)
        snapshots.append(HeapSnapshot((i + 1) * interval_s, (usage,), events))
    return HeapTrace("ebpf", "6.1", Target(1, "app"), tuple(snapshots))


def test_steady_growth_without_a_free_is_a_leak():
    verdict = judge_trace(make_trace(range(0, 200, 10)))
    assert verdict.kind == "leaking"
    assert verdict.stacks[0].growth_bytes_per_s == pytest.approx(20_000)
    assert "grow (app.c:14)" in verdict.sentence


def test_a_leak_stands_before_a_larger_mapping():
    trace = make_trace(range(0, 200, 10))
    stack = StackUsage((Frame("allocate_stack", "libc.so.6", 9),), 1 << 23, 1, 0, 0, 1.0)
    mapped = (dataclasses.replace(stack, kind="thread_stack"),)
    snapshots = [dataclasses.replace(shot, mappings=mapped) for shot in trace.snapshots]
    verdict = judge_trace(dataclasses.replace(trace, snapshots=tuple(snapshots)))
    assert [found.usage.kind for found in verdict.stacks] == ["heap", "thread_stack"]


@pytest.mark.parametrize("seconds_per_block", [0.5, 1, 2, 5])
def test_a_slow_leak_is_one_too(seconds_per_block):
    live = [int(i * 0.5 / seconds_per_block) for i in range(60)]
    verdict = judge_trace(make_trace(live))
    assert verdict.kind == "leaking"
    rate = verdict.stacks[0].growth_bytes_per_s
    assert rate == pytest.approx(1000 / seconds_per_block, rel=0.2)


def test_two_steps_are_not_enough_to_say():
    live = [0] * 5 + [1] * 10 + [2] * 10 + [3] * 1
    assert judge_trace(make_trace(live[5:])).kind == "undecided"


def test_growth_that_also_frees_is_not_called_a_leak():
    live = list(range(0, 200, 10))
    assert judge_trace(make_trace(live, freed=[n // 2 for n in live])).kind == "growing"


def test_a_warm_up_that_has_levelled_off_is_a_plateau():
    live = [min(100, 20 * i) for i in range(40)]
    assert judge_trace(make_trace(live)).kind == "plateau"


def test_a_block_allocated_once_is_a_plateau():
    assert judge_trace(make_trace([1] * 20)).kind == "plateau"


def test_a_sawtooth_is_churn():
    live = [i % 5 for i in range(41)]
    assert judge_trace(make_trace(live, freed=[5 * i for i in range(41)])).kind == "churn"


def test_everything_freed_is_churn_and_nothing_live():
    verdict = judge_trace(make_trace([0] * 20, freed=list(range(20))))
    assert verdict.kind == "churn"
    assert "Not a leak" in verdict.sentence


def test_a_short_window_is_undecided_and_says_how_long_to_go_on():
    verdict = judge_trace(make_trace([1, 2, 3]))
    assert verdict.kind == "undecided"
    assert "s more" in verdict.sentence


def test_no_allocation_at_all_is_clean():
    trace = make_trace([0] * 5)
    empty = tuple(HeapSnapshot(s.elapsed_s, (), s.events) for s in trace.snapshots)
    assert judge_trace(HeapTrace("ebpf", "6.1", trace.target, empty)).kind == "clean"


def test_the_gravest_stack_gives_the_process_its_verdict():
    leak, flat = make_trace(range(20)), make_trace([7] * 20, site=(Frame("hold", "app", 1),))
    snapshots = tuple(
        HeapSnapshot(a.elapsed_s, a.stacks + b.stacks, a.events)
        for a, b in zip(leak.snapshots, flat.snapshots, strict=True)
    )
    verdict = judge_trace(HeapTrace("ebpf", "6.1", leak.target, snapshots))
    assert verdict.kind == "leaking"
    assert {stack.kind for stack in verdict.stacks} == {"leaking", "plateau"}


def test_slope_ignores_a_few_wild_points():
    times = [float(i) for i in range(40)]
    values = [100.0 * t for t in times]
    for i in (3, 17, 30):
        values[i] += 1e6
    slope, error = estimate_slope(times, values)
    assert slope == pytest.approx(100, rel=0.01)
    assert error < 10


def test_slope_of_noise_contains_zero():
    source = random.Random(7)
    times = [float(i) for i in range(60)]
    slope, error = estimate_slope(times, [source.gauss(0, 1) for _ in times])
    assert abs(slope) <= error
