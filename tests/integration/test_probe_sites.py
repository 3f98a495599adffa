"""Each call passes its probe site exactly once, whatever allocator serves it."""

import json
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import give_up, takes_bpf_programs
from workload import PROGRAMS, build_workload

from lablib.privilege import root_prefix
from lablib.release import wait_until_held
from lablib.tracing.control import SYSTEM_PYTHON

CALLS_PER_CALL_SITE = 4 * 100
COUNTER = Path(__file__).parent / "count_calls.py"
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def bpf():
    """The kernel's part alone: the tracer itself is not in these tests."""
    if not takes_bpf_programs():
        give_up("ebpf", "bcc loads no program here: see ./lab doctor", could_have_run=False)


@contextmanager
def counting(pid):
    """Count the calls of a process's allocators; yields a function that returns the rows."""
    words = [SYSTEM_PYTHON, "-I", "-B", COUNTER, CHECKOUT, str(pid)]
    command = [*root_prefix("counting calls"), *words]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as counter:
        assert counter.stdout.readline() == "ready\n"
        yield lambda: json.loads(counter.communicate("\n", timeout=60)[0])


def count_calls(program, functions, **environment):
    """Run a program that waits for release; return {(place, program, function, call site): calls}.

    Only calls from the program's own `functions` are in it.
    """
    process = subprocess.Popen([program, "--wait"], env=environment)
    try:
        wait_until_held(process.pid)
        spans = read_spans(program, process.pid, functions)
        with counting(process.pid) as read_rows:
            process.send_signal(signal.SIGUSR1)
            assert process.wait(60) == 0
            rows = read_rows()
    finally:
        process.kill()
        process.wait()
    calls = Counter()
    for function, handler, place, caller, count in rows:
        if any(start < caller <= end for start, end in spans):
            calls[place, handler, function, caller] += count
    return calls


def read_spans(program, pid, functions):
    """Where the code of a program's functions lies in its process."""
    header = subprocess.run(["readelf", "-hW", program], capture_output=True, text=True).stdout
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    own = next(line for line in maps if line.endswith(f"/{program.name}"))
    base = int(own.split("-")[0], 16) if "DYN" in header else 0
    symbols = subprocess.run(["nm", "-S", program], capture_output=True, text=True).stdout
    rows = [line.split() for line in symbols.splitlines()]
    found = [row for row in rows if row[-1] in functions]
    assert len(found) == len(functions)
    return [(base + int(row[0], 16), base + int(row[0], 16) + int(row[1], 16)) for row in found]


def check_calls(calls, allocating, freeing):
    """Each call site is seen, at each place to probe, as often as it was passed."""
    assert set(calls.values()) == {CALLS_PER_CALL_SITE}
    seen = {place: set() for place in ("site", "entry", "return")}
    for place, _, function, call_site in calls:
        seen[place].add((function, call_site))
    moved = {function for function, _ in seen["entry"]}
    assert seen["entry"] == {key for key in seen["site"] if key[0] in moved}
    frees = {key[2:] for key in calls if key[1] == "on_free"}
    allocations = seen["site"] - frees
    assert allocations <= seen["return"]  # glibc's realloc(NULL, n) jumps on into malloc
    assert len({call_site for _, call_site in seen["return"]}) == allocating
    assert len({call_site for _, call_site in allocations}) == len(allocations) == allocating
    assert len({call_site for _, call_site in frees}) == len(frees) == freeing


@pytest.mark.parametrize("flags", [[], ["-static"], ["-static-pie"]], ids=str)
def test_each_call_of_glibc_passes_its_site_once(tmp_path, flags):
    program = build_workload("every_call", tmp_path, *flags)
    check_calls(count_calls(program, ["call_all"]), allocating=9, freeing=9)


@pytest.mark.parametrize("name", ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"])
def test_each_call_of_a_preloaded_allocator_passes_its_site_once(tmp_path, name):
    library = next(Path("/usr/lib").glob(f"*-linux-gnu/{name}"), None)
    if library is None:
        give_up("allocators", f"{name} is not installed", could_have_run=False)
    program = build_workload("every_call", tmp_path)
    functions = ["call_all", "call_operators"]
    calls = count_calls(program, functions, LD_PRELOAD=str(library))
    unseen = {key: calls.pop(key) for key in list(calls) if key[1] == "on_unseen"}
    assert set(unseen.values()) == {CALLS_PER_CALL_SITE}
    assert len({call_site for *_, call_site in unseen}) == 3
    assert not {key for key in unseen if key[0] == "return"}
    check_calls(calls, allocating=9, freeing=9 + 3)


@pytest.mark.parametrize("flags", [[], ["-static"]], ids=str)
def test_each_call_of_musl_passes_its_site_once(tmp_path, flags):
    if shutil.which("musl-gcc") is None:
        give_up("allocators", "musl-tools is not installed", could_have_run=False)
    program = tmp_path / "every_call"
    include = f"-I{PROGRAMS.parents[2] / 'leaky_apps'}"
    options = ["-O1", "-fno-builtin", "-D_GNU_SOURCE", "-pthread", include, *flags]
    source = PROGRAMS / "every_call.c"
    subprocess.run(["musl-gcc", *options, "-o", program, source], check=True)
    check_calls(count_calls(program, ["call_all"]), allocating=9, freeing=9)
