"""Verdicts on heaps whose blocks' lives are known: right answers for the right reasons; seeded."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_heap import NEVER, RESOURCES, blocks, every, make_heap_trace, site

from lablib.analysis import judge_trace
from lablib.analysis.losses import read_survival
from lablib.records import Frame, ReachabilityScan

TRIES = 20
INTERVALS = (0.2, 0.25, 0.5, 1.0)


def judge(*stacks, **how):
    return judge_trace(make_heap_trace(stacks, **how))


def draw_windows(seed, tries=TRIES):
    """Random (generator, how to trace): windows of 10 s or more."""
    rng = np.random.default_rng(seed)
    for _ in range(tries):
        yield (
            rng,
            {"seconds": float(rng.choice([10, 15, 30])), "interval_s": rng.choice(INTERVALS)},
        )


def test_lost_blocks_are_a_leak_at_the_rate_of_their_bytes():
    for rng, how in draw_windows(1):
        period_s, size = rng.uniform(0.01, 2.4), int(rng.integers(16, 100_000))
        births = every(period_s, how["seconds"], rng.uniform(0, period_s))
        verdict = judge(blocks(births, lost_after_s=rng.uniform(0, 0.5), size=size), **how)
        (stack,) = verdict.stacks
        assert verdict.kind == stack.kind == "leaking"
        off = abs(stack.growth_bytes_per_s - size / period_s)
        assert off <= 1.5 * stack.growth_error_bytes_per_s, (period_s, how)
        assert "nothing points any longer" in verdict.sentence
        assert "grow (app.c:14) leaks" in verdict.sentence


def test_one_lost_block_in_a_hundred_decides_before_the_trend_of_the_others():
    for rng, how in draw_windows(2):
        births = every(0.004, how["seconds"], rng.uniform(0, 0.01))
        is_lost = rng.random(len(births)) < 0.01
        lives = np.where(is_lost, NEVER, rng.exponential(0.5, len(births)))
        lost = np.where(is_lost, 0.1, NEVER)
        verdict = judge(blocks(births, lives, lost), **how)
        assert verdict.kind == "leaking"
        evidence = verdict.stacks[0].evidence
        assert evidence.lost_blocks <= is_lost.sum()
        assert evidence.freed_share > 0.9
        rate, error = (
            verdict.stacks[0].growth_bytes_per_s,
            verdict.stacks[0].growth_error_bytes_per_s,
        )
        assert abs(rate - 2500) < 2.5 * error


def test_what_is_lost_once_leaks_without_a_rate():
    verdict = judge(blocks([0.1] * 3, lost_after_s=0.2))
    assert (verdict.kind, verdict.stacks[0].growth_bytes_per_s) == ("leaking", 0)
    assert "leaked once" in verdict.sentence
    assert "no rate" in verdict.sentence


def test_a_leak_that_has_stopped_has_no_rate():
    births = np.concatenate([every(0.1, 3), every(0.1, 10, 3.05)])
    lives = np.where(births < 3, NEVER, 0.3)
    verdict = judge(blocks(births, lives, np.where(births < 3, 0.1, NEVER)))
    assert (verdict.kind, verdict.stacks[0].growth_bytes_per_s) == ("leaking", 0)
    assert "leaked for a while" in verdict.sentence


def test_a_first_loss_in_the_last_scan_is_looked_at_again():
    births = every(0.1, 10)
    verdict = judge(blocks(births, lost_after_s=np.where(births < 8, 9.5 - births, NEVER)))
    assert verdict.kind == "undecided"
    assert "for the first time; trace for 2 s more" in verdict.sentence


def test_a_scan_that_could_not_be_made_is_none():
    refused = ReachabilityScan(0.0, 0.0, 0.0, 0, (), ("it may not be looked at",))
    trace = make_heap_trace([blocks(every(0.1, 10))], is_scanned=False)
    verdict = judge_trace(replace(trace, scans=(refused,)))
    assert "was not looked at" in verdict.sentence
    assert verdict.evidence.scans == 0


def test_a_leak_that_goes_on_speaks_before_one_that_happened_once():
    once = blocks([0.1], lost_after_s=0, size=1 << 20, frames=site("once"))
    verdict = judge(once, blocks(every(1, 10), lost_after_s=0.1, size=16))
    assert verdict.sentence.startswith("grow (app.c:14) leaks 16 ")
    assert verdict.sentence.endswith("There is one more like it.")


LIBRARY = (
    Frame("init", "libfoo.so.1", 3),
    Frame("call_init", "ld-linux-x86-64.so.2", 9),
    Frame("_start", "app", 1),
)


def test_what_a_library_lost_once_is_not_the_programs_leak():
    verdict = judge(blocks([0.1], lost_after_s=0, frames=LIBRARY))
    assert verdict.kind == "plateau"
    assert "a library's own" in verdict.stacks[0].sentence


def test_what_a_library_loses_again_and_again_is_a_leak():
    assert judge(blocks(every(0.3, 10), lost_after_s=0, frames=LIBRARY)).kind == "leaking"


def test_what_is_reached_and_only_grows_is_growing():
    for rng, how in draw_windows(3):
        period_s = rng.uniform(0.01, how["seconds"] / 6)
        verdict = judge(blocks(every(period_s, how["seconds"], 0.01)), **how)
        assert verdict.kind == "growing", (period_s, how)
        assert "still points at all" in verdict.sentence


def test_without_a_scan_growth_without_a_free_is_a_leak_and_it_says_what_it_did_not_look_at():
    verdict = judge(blocks(every(0.1, 10)), is_scanned=False)
    assert verdict.kind == "leaking"
    assert "was not looked at" in verdict.sentence


def test_lost_blocks_that_are_freed_later_prove_nothing():
    """A list of encoded pointers: no scan can see them, the program can."""
    for rng, how in draw_windows(4):
        lives = rng.uniform(0.6, 6)
        births = every(0.02, how["seconds"], 0.01)
        verdict = judge(blocks(births, lives, 0.01), **how)
        assert verdict.kind in ("churn", "plateau"), (lives, how, verdict.sentence)
        assert verdict.stacks[0].evidence.was_hidden
        assert "a form that a scan can't see" in verdict.stacks[0].sentence


def test_lost_blocks_that_are_freed_at_the_end_prove_nothing():
    births = every(0.1, 6)
    verdict = judge(blocks(births, 9.5 - births, 0), seconds=10)
    assert verdict.kind == "churn"


@pytest.mark.parametrize("is_scanned", [True, False])
def test_a_queue_a_cache_and_an_arena_per_request_are_churn(is_scanned):
    for rng, how in draw_windows(5):
        seconds = how["seconds"]
        births = np.sort(rng.uniform(0, seconds, int(50 * seconds)))
        queue = blocks(births, rng.exponential(0.4, len(births)), frames=site("queue"))
        cache = blocks(births, 1.0, frames=site("cache"))
        start = every(2, seconds, 0.1)
        request = np.concatenate([s + np.arange(40) * 0.03 for s in start])
        ends = np.repeat(start + 1.5, 40) - request
        arena = blocks(request, ends, frames=site("arena"))
        for stack in (queue, cache, arena):
            verdict = judge(stack, is_scanned=is_scanned, **how)
            assert verdict.kind == "churn", verdict.sentence


@pytest.mark.parametrize("is_scanned", [True, False])
def test_a_warm_up_that_is_over_is_a_plateau(is_scanned):
    for rng, how in draw_windows(6):
        until_s = rng.uniform(0.05, 0.5) * how["seconds"]
        count = int(rng.integers(1, 200))
        births = rng.uniform(0, until_s, count)
        verdict = judge(blocks(births), is_scanned=is_scanned, **how)
        assert verdict.kind in ("plateau", "undecided"), (until_s, count, how)
        if count > 20 and until_s < 0.4 * how["seconds"]:
            assert verdict.kind == "plateau", (until_s, count, how)


def test_a_slow_need_is_undecided_and_the_wait_decides_it():
    slow = blocks(every(3, 60))
    verdict = judge(slow, seconds=7)
    assert verdict.kind == "undecided"
    assert f"trace for {verdict.evidence.needed_s:.0f} s more" in verdict.sentence
    assert judge(slow, seconds=7 + np.ceil(verdict.evidence.needed_s)).kind == "growing"


def test_after_the_end_of_the_program_nobody_is_asked_to_wait():
    verdict = judge(blocks([0.1, 0.6]), seconds=1, is_running=False, is_scanned=False)
    assert verdict.kind == "undecided"
    assert "its program has ended; let it run for longer" in verdict.sentence


def test_a_busy_machine_that_takes_its_snapshots_late_changes_no_verdict():
    for rng, how in draw_windows(10):
        how["is_late"] = lambda rng=rng: rng.random() < 0.6
        seconds = how["seconds"]
        births = every(0.02, seconds, 0.01)
        kinds = {
            "leaking": blocks(births, lost_after_s=0.1),
            "growing": blocks(births),
            "churn": blocks(births, rng.exponential(0.3, len(births))),
            "plateau": blocks(rng.uniform(0, 0.2 * seconds, 50)),
        }
        for kind, stack in kinds.items():
            assert judge(stack, **how).kind == kind, how


def test_what_is_young_and_small_does_not_keep_a_process_undecided():
    old = blocks([0.1] * 1000, size=1000, frames=site("table"))
    young = blocks([9.0], size=16)
    verdict = judge(old, young)
    assert {stack.kind for stack in verdict.stacks} == {"plateau", "undecided"}
    assert verdict.kind == "plateau"


def test_what_is_young_and_large_does():
    old = blocks([0.1], size=1000, frames=site("table"))
    assert judge(old, blocks([9.0], size=16_000)).kind == "undecided"


def test_survival_tells_what_became_of_the_old():
    births = every(0.01, 10)
    rng = np.random.default_rng(7)
    lives = np.where(rng.random(len(births)) < 0.2, NEVER, 0.5)
    assert judge(blocks(births, lives)).stacks[0].evidence.survival == pytest.approx(0.2, abs=0.05)
    assert judge(blocks(births, 0.5)).stacks[0].evidence.survival == 0


def test_all_the_old_live_where_nothing_was_freed_however_rare_the_snapshots():
    """Of 1,000 blocks born at 6 s, half seem to be born by 5 s: the snapshots are at 1 s and 9."""
    stack, seen_at_s = blocks([0.5] * 50 + [6.0] * 1000), [1.0, 9.0]
    reach = stack.reach(9.0, np.arange(0.0, 9.5, 0.5))
    assert read_survival(reach, seen_at_s, [50, 1050], freed=0) == 1
    assert read_survival(reach, seen_at_s, [50, 1050], freed=1050) == pytest.approx(50 / 550)


def test_thread_stacks_leak_although_something_leads_to_them():
    verdict = judge(blocks(every(0.5, 10), size=8 << 20, kind="thread_stack"))
    assert verdict.kind == "leaking"
    assert "Only 1 thread runs at the end: the others have ended" in verdict.sentence


def test_threads_that_never_end_are_told_from_those_that_nobody_joins():
    stacks = blocks(every(0.5, 10), size=8 << 20, kind="thread_stack")
    verdict = judge(stacks, resources=resources(threads=lambda s: 1 + int(2 * s)))
    assert verdict.kind == "leaking"
    assert "21 threads run at the end: they never end." in verdict.sentence


def resources(**read):
    """What the kernel says at each second: fields of `ProcessResources` by functions of time."""
    return lambda second, live_bytes: replace(
        RESOURCES, **{name: value(second) for name, value in read.items()}
    )


def test_open_files_that_only_grow_are_a_leak_that_no_heap_shows():
    held = resources(
        open_files=lambda s: 4 + int(5 * s), newest_files=lambda s: ("/etc/hostname",) * 16
    )
    verdict = judge(resources=held)
    assert verdict.kind == "leaking"
    assert "leaks 5.0 ±" in verdict.sentence
    assert "All its 16 newest are /etc/hostname." in verdict.sentence
    assert verdict.resources[0].growth_per_s == pytest.approx(5, rel=0.05)


def test_a_few_files_that_come_and_go_hide_no_leak():
    rng = np.random.default_rng(8)
    held = resources(open_files=lambda s: 4 + int(2 * s) + int(rng.integers(0, 2)))
    assert judge(resources=held).kind == "leaking"


@pytest.mark.parametrize(
    "count",
    [
        lambda s: 4,
        lambda s: 4 + int(min(s, 2) * 20),
        lambda s: 4 + int(s * 7) % 30,
        lambda s: 40 + int(20 * np.sin(s)),
    ],
    ids=["steady", "pool", "saw", "load"],
)
def test_open_files_that_level_off_or_come_and_go_are_no_leak(count):
    for seconds in (10, 20):
        assert judge(resources=resources(open_files=count), seconds=seconds).kind == "clean"


def test_connections_that_rise_and_fall_around_a_rise_are_growing():
    rng = np.random.default_rng(9)
    held = resources(open_files=lambda s: 100 + int(10 * s + rng.normal(0, 12)))
    verdict = judge(resources=held, seconds=20)
    assert verdict.resources[0].kind == "growing"


def test_threads_that_only_grow_leak():
    verdict = judge(resources=resources(threads=lambda s: 1 + int(2 * s)))
    assert verdict.kind == "leaking"
    assert "threads a second" in verdict.sentence


def test_own_segments_that_only_grow_leak():
    held = resources(shared_segments=lambda s: int(s), shared_segment_bytes=lambda s: int(s) * 4096)
    verdict = judge(resources=held)
    assert verdict.kind == "leaking"
    assert "shared memory segments" in verdict.sentence


def test_segments_of_others_are_not_blamed_on_a_process():
    held = resources(shared_segments=lambda s: 0, unclaimed_segments=lambda s: int(3 * s))
    assert judge(resources=held).kind == "clean"
    # unless it maps a file for each of them
    maps = blocks(every(1 / 3, 10, 1 / 3), lives_s=0.001, size=4096, kind="file")
    assert judge(maps, resources=held).kind == "leaking"
    slower = blocks(every(1, 10, 0.5), lives_s=0.001, size=4096, kind="file")
    assert judge(slower, resources=held).kind != "leaking"


def follow(share_given_back):
    """A resident set that follows the live bytes up, and down by a share."""
    most = 0

    def read(second, live_bytes):
        nonlocal most
        most = max(most, live_bytes)
        kept = most - (most - live_bytes) * share_given_back
        return replace(RESOURCES, rss_anon_bytes=int(1e6 + kept))

    return read


def test_retention_is_when_live_bytes_fall_for_good_and_rss_does_not():
    births = every(0.002, 3)
    dies = blocks(births, 5 - births, size=10_000)
    kept = judge(dies, resources=follow(0.1))
    assert kept.kind == "retention"
    assert "did not give it back" in kept.sentence
    assert judge(dies, resources=follow(0.95)).kind == "churn"


def test_a_leak_beside_retention_is_a_leak():
    births = every(0.002, 3)
    dies = blocks(births, 5 - births, size=10_000, frames=site("work"))
    leak = blocks(every(0.5, 10), lost_after_s=0.1)
    assert judge(dies, leak, resources=follow(0.1)).kind == "leaking"


def test_a_sawtooth_is_no_retention():
    births = every(0.002, 10)
    saw = blocks(births, 2 - births % 2, size=10_000)
    assert judge(saw, resources=follow(0), seconds=9).kind == "churn"


def test_rss_that_grows_without_the_heap_is_explained():
    files = resources(rss_file_bytes=lambda s: int(s * (1 << 20)))
    assert "page cache" in judge(blocks([0.1]), resources=files).sentence
    touched = resources(rss_anon_bytes=lambda s: int(s * (1 << 20)))
    assert "touched for the first time" in judge(blocks([0.1]), resources=touched).sentence


def test_every_verdict_names_what_it_rests_on():
    verdict = judge(blocks(every(0.1, 10), lost_after_s=0.1), blocks([0.2], frames=site("hold")))
    for stack in verdict.stacks:
        assert stack.evidence.window_s == 10
        assert stack.evidence.snapshots == 21
    assert verdict.evidence.scans == 5
    assert verdict.evidence.live_bytes[1] == 101_000
