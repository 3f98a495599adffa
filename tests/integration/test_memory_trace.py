"""Page faults and memory calls of known programs: as many as the kernel counts, each named."""

import contextlib
import errno
import functools
import itertools
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from abuse import connect_as, converse, frame
from waiting import wait_until
from workload import PROGRAMS, build_workload

from lablib.errors import TargetError
from lablib.records import MemoryTrace
from lablib.release import wait_until_held
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer
from lablib.tracing.memory import MemoryTracer
from lablib.tracing.service import FREE_FOR_ALL_FAULTS

pytestmark = pytest.mark.usefixtures("tracer_service")

PAGE_BYTES = 4096
BREAK_STEP_BYTES = 132 << 10
TIMEOUT_S = 60


@contextlib.contextmanager
def held(program, *command, hold=False):
    """Start a program that waits for release; with `hold` it stays at its end, to be killed."""
    environment = {**os.environ, **({"LAB_HOLD": "1"} if hold else {})}
    process = subprocess.Popen(
        [*command, program, "--wait"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        if not command:
            wait_until_held(process.pid)
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def traced(pid, **options):
    with (
        contextlib.closing(ProcessSymbols(pid)) as symbols,
        MemoryTracer(pid, symbols, **options) as tracer,
    ):
        yield tracer


def await_hold(pid):
    """Return once a program that stays at its end has come there."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if (
            int(fields["SigCgt"], 16) >> (signal.SIGUSR2 - 1) & 1
            and fields["State"].split()[0] == "S"
        ):
            return
        time.sleep(0.01)
    raise AssertionError("the program did not come to its end")


def read_fault_counts(pid):
    """Minor and major faults as the kernel counts them, from /proc/PID/stat; also of a zombie."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[7]), int(fields[9])


def await_zombie(process):
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


@dataclass(frozen=True)
class Act:
    """What touches.c says of one way to touch pages: where, and what the kernel counted."""

    start: int
    pages: int
    minor: int
    major: int

    @property
    def end(self):
        return self.start + self.pages * PAGE_BYTES


@dataclass(frozen=True)
class Touches:
    """One traced run of touches.c; `counted` is by the kernel, minor and major."""

    trace: MemoryTrace
    counted: tuple[int, int]
    acts: dict[str, Act]
    stack_start: int

    def on(self, name):
        """The faults on the pages of an act."""
        act = self.acts[name]
        return [f for f in self.trace.faults if act.start <= f.page_address < act.end]

    def sorts_on(self, name):
        """How many faults there were of each (by_kernel, is_write, was_present)."""
        sorts = Counter()
        for fault in self.on(name):
            sorts[fault.by_kernel, fault.is_write, fault.was_present] += fault.count
        return sorts


def read_acts(output):
    return {
        name: Act(int(start, 16), *map(int, numbers))
        for name, start, *numbers in map(str.split, output)
    }


@pytest.fixture
def touches(tracer_service):
    """One run for all tests."""
    return run_touches()


@functools.cache
def run_touches():
    with tempfile.TemporaryDirectory() as folder:
        program = build_workload("touches", Path(folder))
        with held(program, hold=True) as process, traced(process.pid) as tracer:
            before = read_fault_counts(process.pid)
            process.send_signal(signal.SIGUSR1)
            await_hold(process.pid)
            after = read_fault_counts(process.pid)
            trace = tracer.stop()
            mapped = psutil.Process(process.pid).memory_maps(grouped=False)
            (stack,) = (area for area in mapped if area.path == "[stack]")
            process.kill()
            acts = read_acts(process.stdout)
    counted = (after[0] - before[0], after[1] - before[1])
    return Touches(trace, counted, acts, int(stack.addr.split("-")[0], 16))


KERNEL, PROGRAM = True, False
WRITE, READ = True, False
PRESENT, ABSENT = True, False


def test_there_are_as_many_faults_as_the_kernel_counts(touches):
    majors = sum(fault.count for fault in touches.trace.faults if fault.is_major)
    assert (touches.trace.fault_count - majors, majors) == touches.counted
    assert touches.trace.is_complete
    assert dict(touches.trace.missed_by_reason) == {}


def test_each_fresh_page_is_one_fault_named_by_function_and_line(touches):
    act = touches.acts["write_first"]
    faults = touches.on("write_first")
    assert [f.page_address for f in faults] == list(range(act.start, act.end, PAGE_BYTES))
    assert {f.count for f in faults} == {1}
    assert touches.sorts_on("write_first") == {(PROGRAM, WRITE, ABSENT): 1000}
    assert not any(f.is_instruction or f.is_major for f in faults)
    lines = (PROGRAMS / "touches.c").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "/* touches */" in text)
    names = [[frame.function for frame in f.frames[:3]] for f in faults]
    assert names == [["write_pages", "write_first", "run"]] * 1000
    assert {(f.frames[0].file, f.frames[0].line) for f in faults} == {("touches.c", line)}
    assert act.minor >= 1000
    assert touches.trace.faults_in(act.start, act.end) == 1000


def test_a_read_gets_the_zero_page_and_a_write_after_it_a_copy(touches):
    assert touches.sorts_on("read_then_write") == {
        (PROGRAM, READ, ABSENT): 64,
        (PROGRAM, WRITE, PRESENT): 64,
    }


def test_a_write_to_a_page_shared_with_a_child_is_a_fault_on_a_page_that_was_there(touches):
    act = touches.acts["write_shared"]
    assert touches.trace.faults_in(act.start, act.end, was_present=False) == 40
    assert touches.trace.faults_in(act.start, act.end, was_present=True) == 40
    copies = [f for f in touches.on("write_shared") if f.was_present]
    assert {f.frames[1].function for f in copies} == {"write_shared"}


def test_a_touch_by_a_system_call_is_the_kernels_and_has_the_callers_stack(touches):
    assert touches.sorts_on("read_by_kernel") == {(KERNEL, WRITE, ABSENT): 32}
    assert touches.sorts_on("write_by_kernel") == {(KERNEL, READ, ABSENT): 32}
    for name in ("read_by_kernel", "write_by_kernel"):
        for fault in touches.on(name):
            assert name in [frame.function for frame in fault.frames]


def test_a_touch_that_ends_in_a_signal_is_no_fault_but_the_one_after_it_is(touches):
    assert touches.sorts_on("write_after_signal") == {(PROGRAM, WRITE, ABSENT): 1}


def test_threads_faults_are_all_there(touches):
    assert touches.sorts_on("write_in_threads") == {(PROGRAM, WRITE, ABSENT): 1000}
    callers = {fault.frames[1].function for fault in touches.on("write_in_threads")}
    assert callers == {"write_part"}


def test_around_a_page_of_a_file_others_are_mapped_too(touches):
    sorts = touches.sorts_on("read_file")
    assert set(sorts) == {(PROGRAM, READ, ABSENT)}
    assert 1 <= sum(sorts.values()) <= 256 / 2


def test_a_page_that_had_to_be_read_first_is_a_major_fault(touches):
    majors = [fault for fault in touches.on("read_cold_file") if fault.is_major]
    assert sum(fault.count for fault in majors) == touches.acts["read_cold_file"].major
    if not is_in_memory("/tmp"):
        assert majors


def is_in_memory(folder):
    kind = subprocess.run(["stat", "-fc", "%T", folder], capture_output=True, text=True).stdout
    return kind.strip() == "tmpfs"


def test_a_huge_page_is_one_fault(touches):
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not enabled.exists() or "[never]" in enabled.read_text():
        pytest.skip("this kernel has no transparent huge pages")
    faults = sum(touches.sorts_on("write_huge").values())
    assert faults <= 2 * 512 + 3  # four times 512 pages, of which three lie well


def test_the_stacks_growth_is_told_step_by_step(touches):
    grown = touches.trace.stack_growth()
    start = touches.trace.stack_start
    for growth in grown:
        start -= growth.size_bytes
        assert growth.start == start
    assert start == touches.stack_start
    by_recursion = [g for g in grown if g.frames[0].function == "recurse"]
    assert len(by_recursion) >= 50  # of 100 frames; some found room
    assert {g.size_bytes for g in by_recursion[1:]} <= {PAGE_BYTES, 2 * PAGE_BYTES}


def test_a_child_copies_the_pages_that_it_writes_to(tmp_path):
    with (
        held_parent(build_workload("child_writes", tmp_path)) as (child, start),
        traced(child) as tracer,
    ):
        os.kill(child, signal.SIGUSR1)
        deadline = time.monotonic() + TIMEOUT_S
        while psutil.pid_exists(child) and time.monotonic() < deadline:
            time.sleep(0.01)
        trace = tracer.stop()
    written = [f for f in trace.faults if start <= f.page_address < start + 50 * PAGE_BYTES]
    assert [f.page_address for f in written] == [start + i * PAGE_BYTES for i in range(30)]
    assert all(f.was_present and f.is_write and f.count == 1 for f in written)
    assert trace.is_complete


@contextlib.contextmanager
def held_parent(program):
    """Start child_writes.c; yield its child's number, once that waits, and where the pages are."""
    parent = subprocess.Popen([program, "--wait"], stdout=subprocess.PIPE, text=True)
    try:
        child, start = parent.stdout.readline().split()
        wait_until_held(int(child))
        yield int(child), int(start, 16)
    finally:
        parent.kill()
        parent.communicate()


def test_a_million_faults_are_all_counted(tmp_path):
    with held(build_workload("million_faults", tmp_path)) as process, traced(process.pid) as tracer:
        before = read_fault_counts(process.pid)
        process.send_signal(signal.SIGUSR1)
        await_zombie(process)
        counted = read_fault_counts(process.pid)[0] - before[0]
        trace = tracer.stop()
    touched = [f for f in trace.faults if f.frames and f.frames[0].function == "write_pages"]
    assert [f.count for f in touched] == [1000] * 1000
    assert trace.fault_count == counted + read_majors(trace)
    assert trace.is_complete


def read_majors(trace):
    return sum(fault.count for fault in trace.faults if fault.is_major)


def test_faults_that_find_no_room_are_counted_as_missed(tmp_path):
    with (
        held(build_workload("touches", tmp_path)) as process,
        traced(process.pid, max_faults=200) as tracer,
    ):
        before = read_fault_counts(process.pid)
        process.send_signal(signal.SIGUSR1)
        await_zombie(process)
        counted = sum(read_fault_counts(process.pid)) - sum(before)
        trace = tracer.stop()
    assert set(trace.missed_by_reason) == {"faults_full"}
    assert trace.fault_count + trace.missed_by_reason["faults_full"] == counted
    assert not trace.is_complete


def test_calls_are_told_in_order_with_what_came_of_them(tmp_path):
    with held(build_workload("memory_calls", tmp_path)) as process, traced(process.pid) as tracer:
        process.send_signal(signal.SIGUSR1)
        assert process.wait(TIMEOUT_S) == 0
        trace = tracer.stop()
    assert trace.is_complete
    calls = trace.calls
    assert [call.elapsed_s for call in calls] == sorted(call.elapsed_s for call in calls)
    assert {call.thread for call in calls} == {process.pid}
    breaks = [call for call in calls if call.name == "brk"]
    grows = [call for call in breaks if call.length_bytes > 0]
    # 1,000 blocks of 1,008 bytes, and what malloc keeps for itself: 8 steps of 132 KiB.
    assert [call.length_bytes for call in grows] == [BREAK_STEP_BYTES] * 8
    assert all(call.result == call.address for call in grows)
    assert all("allocate_blocks" in functions(call) for call in grows)
    (trim,) = (call for call in breaks if call.length_bytes < 0)
    assert -8 * BREAK_STEP_BYTES < trim.length_bytes < -7 * BREAK_STEP_BYTES
    assert "free_blocks" in functions(trim)
    for former, call in itertools.pairwise(breaks):
        assert call.result - former.result == call.length_bytes
    maps = [call for call in calls if call.name != "brk"]
    large_bytes = (1 << 20) + PAGE_BYTES
    assert [(call.name, call.length_bytes) for call in maps] == [
        ("mmap", large_bytes),
        ("munmap", large_bytes),
        ("mmap", 0),
        ("mmap", PAGE_BYTES),
        ("mremap", 3 * PAGE_BYTES),
        ("munmap", 3 * PAGE_BYTES),
    ]
    assert "allocate_large" in functions(maps[0])
    assert (maps[1].address, maps[1].result) == (maps[0].result, 0)
    assert maps[2].result == -errno.EINVAL
    assert [call.frames[0].function for call in maps[2:]] == ["map_nothing"] + ["remap"] * 3
    assert maps[4].address == maps[3].result
    assert maps[5].address == maps[4].result


def functions(record):
    return [frame.function for frame in record.frames]


def test_a_program_in_the_midst_of_its_faults_is_traced_from_now_on(tmp_path):
    with held(build_workload("touches_forever", tmp_path)) as process:
        process.send_signal(signal.SIGUSR1)
        for _ in range(3):
            with traced(process.pid) as tracer:
                wait_until(lambda tracer=tracer: tracer.read().fault_count)
                first = tracer.read().fault_count
                wait_until(lambda tracer=tracer, first=first: tracer.read().fault_count > first)
                last = tracer.stop()
            assert dict(last.missed_by_reason) == {}
            assert all("touch" in functions(fault) for fault in last.faults)


def test_a_program_that_is_killed_leaves_its_trace(tmp_path):
    with (
        held(build_workload("touches_forever", tmp_path)) as process,
        traced(process.pid) as tracer,
    ):
        before = read_fault_counts(process.pid)
        process.send_signal(signal.SIGUSR1)
        wait_until(lambda: sum(read_fault_counts(process.pid)) > sum(before) + 1000)
        os.kill(process.pid, signal.SIGKILL)
        await_zombie(process)
        counted = sum(read_fault_counts(process.pid)) - sum(before)
        trace = tracer.stop()
    assert trace.fault_count == counted > 1000
    assert trace.is_complete


def test_becoming_another_program_ends_the_recording(tmp_path):
    with held(build_workload("exec_self", tmp_path)) as process, traced(process.pid) as tracer:
        process.send_signal(signal.SIGUSR1)
        assert process.wait(TIMEOUT_S) == 0
        trace = tracer.stop()
    assert any("main" in functions(fault) for fault in trace.faults)
    assert {call.name for call in trace.calls} == {"brk"}  # the new program's loader calls mmap


def test_memory_and_heap_sessions_on_one_process_agree_with_the_kernel(tmp_path):
    with (
        held(build_workload("touches", tmp_path)) as process,
        contextlib.closing(ProcessSymbols(process.pid)) as symbols,
        Tracer(process.pid, symbols) as heap,
        MemoryTracer(process.pid, symbols) as first,
        MemoryTracer(process.pid, symbols) as second,
    ):
        before = read_fault_counts(process.pid)
        process.send_signal(signal.SIGUSR1)
        await_zombie(process)
        counted = sum(read_fault_counts(process.pid)) - sum(before)
        traces = [first.stop(), second.stop()]
        assert heap.stop().events.missed == 0
    assert [trace.fault_count for trace in traces] == [counted, counted]
    assert all(trace.is_complete for trace in traces)


@pytest.mark.usefixtures("root")
def test_a_process_in_a_pid_namespace_of_its_own_is_traced(tmp_path):
    program = build_workload("touches", tmp_path)
    with held(program, "unshare", "--pid", "--fork", "--kill-child") as outside:
        deadline = time.monotonic() + TIMEOUT_S
        while not (found := psutil.Process(outside.pid).children()) and time.monotonic() < deadline:
            time.sleep(0.01)
        pid = found[0].pid
        wait_until_held(pid)
        with traced(pid) as tracer:
            os.kill(pid, signal.SIGUSR1)
            outside.wait(TIMEOUT_S)
            trace = tracer.stop()
        act = read_acts(outside.stdout)["write_first"]
    assert trace.faults_in(act.start, act.end) == 1000
    assert trace.is_complete


@pytest.mark.usefixtures("root")
def test_room_for_very_many_faults_is_for_those_who_started_the_service():
    nobody = pwd.getpwnam("nobody").pw_uid
    sleeper = subprocess.Popen(["sleep", "60"], user=nobody)
    request = {"operation": "trace_memory", "pid": sleeper.pid}
    try:
        for room, answer in ((FREE_FOR_ALL_FAULTS + 1, "error"), (1000, "opened_ns")):
            with connect_as(nobody) as connection:
                data = frame({**request, "max_faults": room})
                assert answer in converse(connection, data, 1)[0]
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_process_that_is_gone_is_a_sentence():
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(TargetError, match=f"no process {ended.pid}"):
        MemoryTracer(ended.pid, ProcessSymbols(ended.pid))
