"""Known workloads, exact answers: every assertion is to the byte."""

import time
from contextlib import closing

import pytest
from workload import (
    PROGRAMS,
    build_workload,
    from_function,
    release_traced,
    trace_to_the_end,
)

from lablib.apps import LocalApp, build_app
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer

pytestmark = pytest.mark.usefixtures("tracer_service")


def trace(name, tmp_path, *flags):
    snapshot = trace_to_the_end(build_workload(name, tmp_path, *flags))
    assert dict(snapshot.events.missed_by_reason) == {}
    return snapshot


def test_a_big_malloc_counts_once(tmp_path):
    snapshot = trace("big_malloc", tmp_path)
    assert (snapshot.live_bytes, snapshot.live_blocks) == (10 << 20, 10)


def test_realloc_in_all_its_shapes_leaves_the_block_that_could_not_grow(tmp_path):
    snapshot = trace("realloc_cases", tmp_path)
    assert (snapshot.live_bytes, snapshot.live_blocks) == (5000, 1)
    assert from_function(snapshot, "failing") == (5000, 1)
    assert snapshot.events.failed_allocations == 1
    assert snapshot.events.from_before == 0
    grown = 13  # 1,000 to 4,096,000 bytes: the first from NULL
    assert snapshot.events.allocations == 100 + grown + 1 + 1
    assert snapshot.events.frees == 100 + grown + 1


def test_aligned_allocations_count_once_whatever_their_name(tmp_path):
    snapshot = trace("aligned", tmp_path)
    assert from_function(snapshot, "all_freed") == (0, 0)
    assert from_function(snapshot, "leak") == (3 * 3000 + 3 * 500, 6)
    assert snapshot.events.failed_allocations == 1


def test_many_stacks_are_all_kept_apart(tmp_path):
    snapshot = trace("many_stacks", tmp_path)
    leaks = [s for s in snapshot.stacks if s.live_bytes == 1000]
    assert len(leaks) == 8192
    assert from_function(snapshot, "descend") == (8_192_000, 8192)


def test_threads_at_one_call_site_lose_nothing(tmp_path):
    snapshot = trace("threads", tmp_path)
    assert from_function(snapshot, "allocate") == (64_000, 1000)
    assert from_function(snapshot, "produce") == (0, 0)
    work = [s for s in snapshot.stacks if s.frames[0].function == "allocate"]
    assert sum(s.allocated_blocks for s in work) == 8 * 100_125


def test_blocks_from_before_are_counted_as_such(tmp_path):
    snapshot = trace("from_before", tmp_path)
    assert snapshot.events.from_before == 50
    assert (snapshot.live_bytes, snapshot.live_blocks) == (2000, 1)


def test_an_inlined_helper_is_named_with_its_line(tmp_path):
    snapshot = trace("inlined", tmp_path, "-O2")
    usage = next(s for s in snapshot.stacks if s.live_bytes == 4321)
    lines = (PROGRAMS / "inlined.c").read_text().splitlines()
    line = next(i for i, text in enumerate(lines, 1) if "the call to be named" in text)
    helper, outer = usage.frames[:2]
    assert (helper.function, helper.line, helper.inlined) == ("helper", line, True)
    assert (outer.function, outer.inlined) == ("outer", False)


def test_a_caller_without_frame_pointers_is_still_named(tmp_path):
    snapshot = trace("inlined", tmp_path, "-O2", "-fomit-frame-pointer")
    usage = next(s for s in snapshot.stacks if s.live_bytes == 4321)
    assert usage.frames[0].function == "helper"


def test_an_exec_ends_the_counting_with_what_was_there(tmp_path):
    snapshot = trace("exec_self", tmp_path)
    assert (snapshot.live_bytes, snapshot.live_blocks) == (100, 10)
    assert not snapshot.is_running


def test_what_happens_after_the_first_threads_end_is_not_passed_off_as_complete(tmp_path):
    snapshot = trace_to_the_end(build_workload("first_thread_ends", tmp_path))
    assert from_function(snapshot, "work")[1] in (500, 1000)
    if from_function(snapshot, "work")[1] == 500:
        assert snapshot.events.missed_by_reason == {"first_thread_gone": 1}


def test_mean_age_is_that_of_the_live_blocks(tmp_path):
    with release_traced(build_workload("from_before", tmp_path)) as (process, tracer):
        process.wait(10)
        time.sleep(2)
        age_s = tracer.stop().stacks[0].mean_age_s
    assert 2 < age_s < 2.5


def test_before_the_first_allocation_there_is_nothing(tmp_path):
    with (
        LocalApp(build_app("alloc_free"), rate=1) as app,
        closing(ProcessSymbols(app.pid)) as symbols,
        Tracer(app.pid, symbols) as tracer,
    ):
        snapshot = tracer.snapshot()
    assert (snapshot.stacks, snapshot.live_bytes, snapshot.events.allocations) == ((), 0, 0)
