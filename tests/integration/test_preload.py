"""What only the preload source has to get right: it lives in the program that it counts."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import repeat

import pytest
from cases import CASES, JEMALLOC, TCMALLOC, find_disagreements
from checks import from_function
from conftest import give_up
from workload import (
    EBPF,
    PRELOAD,
    PROGRAMS,
    Workload,
    build_case,
    build_workload,
    run_case,
    trace_to_the_end,
)

from lablib.apps import LocalApp, build_app
from lablib.sources import open_tracer
from lablib.symbols import ProcessSymbols

COMPARED = (
    *("fib_leak", "getline_result", "string_builder"),
    *("exception_path", "plugin_leak", "lru_cache"),
)
"""Libraries without frame pointers, C++, a plug-in, realloc, threads."""
TERMS = 60
CXX = next(case for case in CASES if case.name == "cxx")


@pytest.fixture
def run(tmp_path):
    """Run a program below a library of programs/, and return its heap at its end."""

    def run_below(name, library):
        built = tmp_path / f"{library}.so"
        options = ["-O1", "-g", "-fno-builtin", "-shared", "-fPIC"]
        subprocess.run(["gcc", *options, "-o", built, PROGRAMS / f"{library}.c"], check=True)
        workload = Workload(build_workload(name, tmp_path), preload=built)
        return trace_to_the_end(workload, source=PRELOAD)

    return run_below


@pytest.mark.usefixtures("tracer_service")
def test_both_sources_see_the_same_stacks_and_the_same_numbers():
    with ThreadPoolExecutor(4) as pool:
        seen = [pool.map(list_usages, COMPARED, repeat(s)) for s in (EBPF, PRELOAD)]
    for name, by_kernel, from_inside in zip(COMPARED, *seen, strict=True):
        assert by_kernel, name
        assert from_inside == by_kernel, name


def list_usages(name, source):
    """What each stack has done to the heap, to the byte.

    But for what libc keeps for a thread's own variables: it has a word more for the interposer's.
    """
    instrument = source.make_instrument()
    with (
        LocalApp(build_app(name), 0, TERMS, stays=True, instrument=instrument) as app,
        closing(ProcessSymbols(app.pid)) as symbols,
        open_tracer(app.pid, symbols, instrument=instrument) as tracer,
    ):
        app.release()
        app.wait_for_terms(60)
        snapshot = tracer.stop()
    assert snapshot.events.missed == 0
    assert snapshot.events.from_before == 0
    return {
        (stack.frames, stack.is_cut): (
            *(stack.allocated_bytes, stack.allocated_blocks),
            *(stack.freed_bytes, stack.freed_blocks),
        )
        for stack in snapshot.stacks
        if not any(frame.function == "_dl_allocate_tls" for frame in stack.frames)
    }


def test_what_a_signal_handler_does_in_the_middle_of_a_recording_counts(run):
    snapshot = run("interrupted", "masking")
    assert dict(snapshot.events.missed_by_reason) == {}
    assert from_function(snapshot, "leak_in_handler") == (24 * 3000, 3000)
    assert snapshot.live_blocks == 3000
    assert snapshot.events.from_before == 0


def test_malloc_in_the_handler_of_a_signal_that_interrupted_malloc_counts(run):
    snapshot = run("wrapped", "wrapper")
    assert from_function(snapshot, "leak_in_handler") == (770, 10)
    in_leak = [s for s in snapshot.stacks if s.frames[0].function == "leak"]
    assert sum(stack.live_bytes for stack in in_leak) == 42_420 + 5_000
    assert from_function(snapshot, "free_all") == (0, 0)
    assert snapshot.events.from_before == 0
    assert dict(snapshot.events.missed_by_reason) == {}


def test_a_call_that_the_program_jumped_out_of_has_allocated_nothing(run):
    snapshot = run("jumps_out", "wrapper")
    assert from_function(snapshot, "leak") == (5_000, 10)
    assert (snapshot.live_bytes, snapshot.live_blocks) == (5_600, 11)


@pytest.mark.parametrize("allocator", [JEMALLOC, TCMALLOC], ids=lambda each: each.name)
def test_new_and_delete_of_another_allocator_count_once(allocator, tmp_path):
    if allocator.find() is None:
        give_up("allocators", f"no {allocator.package} here", could_have_run=False)
    case = replace(CXX, allocator=allocator)
    outcome = run_case(case, build_case(case, tmp_path), PRELOAD)
    assert find_disagreements(case, outcome) == []
    assert outcome.last.events.from_before == 0
