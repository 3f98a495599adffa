"""Only the outermost call counts, and every outermost call does: wrappers, handlers, jumps."""

import shutil
import subprocess
from pathlib import Path

import pytest
from checks import from_function
from conftest import give_up
from workload import PROGRAMS, build_workload

from lablib.startup import HeldProgram
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer

pytestmark = pytest.mark.usefixtures("tracer_service")


@pytest.fixture
def run(monkeypatch):
    """Run a program with a library preloaded, and return its heap at its end."""

    def run_preloaded(program, library):
        monkeypatch.setenv("LD_PRELOAD", str(library))
        with HeldProgram([str(program)]) as held:
            monkeypatch.delenv("LD_PRELOAD")
            with Tracer(held.pid, ProcessSymbols(held.pid)) as tracer:
                held.release()
                assert held.wait(30) == 0
                return tracer.stop()

    return run_preloaded


@pytest.fixture
def preloaded(tmp_path, run):
    """Run a program with wrapper.c preloaded."""
    library = tmp_path / "wrapper.so"
    options = ["-O1", "-g", "-fno-builtin", "-shared", "-fPIC"]
    subprocess.run(["gcc", *options, "-o", library, PROGRAMS / "wrapper.c"], check=True)
    return lambda name: run(build_workload(name, tmp_path), library)


@pytest.mark.parametrize("name", ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"])
def test_an_operator_new_that_throws_is_counted_and_its_exception_is_caught(name, run, tmp_path):
    library = next(Path("/usr/lib").glob(f"*-linux-gnu/{name}"), None)
    if library is None or shutil.which("g++") is None:
        give_up("allocators", f"{name} or g++ is not installed", could_have_run=False)
    program = tmp_path / "bad_alloc"
    source = PROGRAMS / "bad_alloc.cpp"
    subprocess.run(["g++", "-O1", "-g", "-fno-builtin", "-o", program, source], check=True)
    assert run(program, library).events.missed_by_reason["unseen"] >= 2


def test_a_wrapper_of_malloc_and_free_leaves_calloc_to_the_c_library(preloaded):
    snapshot = preloaded("wrapped")
    assert from_function(snapshot, "leak") == (42_420 + 5_000, 15)
    assert from_function(snapshot, "free_all") == (0, 0)
    assert snapshot.events.from_before == 0
    assert dict(snapshot.events.missed_by_reason) == {}


def test_malloc_in_the_handler_of_a_signal_that_interrupted_malloc_counts(preloaded):
    snapshot = preloaded("wrapped")
    assert from_function(snapshot, "leak_in_handler") == (770, 10)
    freed = [s for s in snapshot.stacks if s.frames[0].function == "leak_in_handler"]
    assert sum(stack.freed_blocks for stack in freed) == 10


def test_a_call_that_the_program_jumped_out_of_is_counted_and_the_next_one_is_not_lost(preloaded):
    snapshot = preloaded("jumps_out")
    assert from_function(snapshot, "leak") == (5_000, 10)
    assert (snapshot.live_bytes, snapshot.live_blocks) == (5_600, 11)
    assert snapshot.events.missed_by_reason == {"unwound": 3}
