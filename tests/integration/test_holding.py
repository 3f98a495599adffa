"""A target held still: it notices nothing, and nothing can leave it stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from waiting import read_signal_set, wait_until
from workload import build_workload, release_traced

from lablib import ptrace
from lablib.errors import TargetError
from lablib.release import wait_until_held
from lablib.scanning import scan
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer

pytestmark = pytest.mark.usefixtures("tracer_service")

TIMEOUT_S = 20.0

HOLD_AND_WAIT = """
import sys, time
from contextlib import closing
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer
pid = int(sys.argv[1])
with closing(ProcessSymbols(pid)) as symbols, Tracer(pid, symbols) as tracer, tracer.hold():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def blocked(tmp_path_factory):
    """The program whose threads wait in every kind of system call."""
    return build_workload("blocked", tmp_path_factory.mktemp("blocked"))


@contextlib.contextmanager
def started(program):
    """A program that has been released, traced, and its output."""
    process = subprocess.Popen([program, "--wait"], stdout=subprocess.PIPE, text=True)
    try:
        wait_until_held(process.pid)
        with (
            closing(ProcessSymbols(process.pid)) as symbols,
            Tracer(process.pid, symbols) as tracer,
        ):
            process.send_signal(signal.SIGUSR1)
            await_true(lambda: tracer.snapshot().live_blocks)
            yield process, tracer
    finally:
        process.kill()
        process.communicate()


def await_true(is_so):
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def states_of_threads(pid):
    return {
        (folder / "stat").read_text().rpartition(")")[2].split()[0]
        for folder in Path(f"/proc/{pid}/task").iterdir()
    }


def list_running_threads(pid):
    """Yield the threads of a process that have not ended."""
    for name in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            if state_of(int(name)) not in "ZX":
                yield int(name)


def test_no_system_call_returns_early_and_no_signal_is_lost_or_made(blocked):
    with started(blocked) as (process, tracer):
        for _ in range(20):
            with tracer.hold() as held:
                assert states_of_threads(process.pid) == {"t"}
                assert len(held.threads) == 20
                for _ in range(5):
                    process.send_signal(signal.SIGRTMIN)
            process.send_signal(signal.SIGRTMIN)
        for number in range(100):  # signals on their way while the threads are being stopped
            os.kill(process.pid, signal.SIGRTMIN)
            if number % 10 == 0:
                with tracer.hold():
                    pass
        wait_until(lambda: not read_signal_set(process.pid, "ShdPnd"))
        process.terminate()
        said, _ = process.communicate(timeout=TIMEOUT_S)
    assert said == "220 signals, the timer ran\n"
    assert process.returncode == 0


def test_a_stopped_target_is_stopped_again(blocked):
    with started(blocked) as (process, tracer):
        process.send_signal(signal.SIGSTOP)
        assert os.waitid(os.P_PID, process.pid, os.WSTOPPED) is not None
        assert scan(tracer).was_made
        await_true(lambda: states_of_threads(process.pid) == {"T"})
        assert os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG) is None
        process.send_signal(signal.SIGCONT)
        await_true(lambda: state_of(process.pid) == "R")


def test_a_target_of_another_tracer_is_refused_in_words_and_traced_on(blocked):
    with started(blocked) as (process, tracer):
        ptrace.ptrace(ptrace.SEIZE, process.pid)
        try:
            for _ in range(20):
                with pytest.raises(TargetError, match="held by another tracer"):
                    scan(tracer)
            assert tracer.snapshot().live_blocks == 1
        finally:
            ptrace.ptrace(ptrace.INTERRUPT, process.pid)
            os.waitpid(process.pid, 0)
            ptrace.ptrace(ptrace.DETACH, process.pid)
        assert scan(tracer).was_made


def test_a_thread_that_cannot_be_stopped_is_no_reason_to_hang(tmp_path):
    with started(build_workload("vforks", tmp_path)) as (process, tracer):
        await_true(lambda: state_of(process.pid) == "D")
        with pytest.raises(TargetError, match="can't be interrupted"):
            scan(tracer)
        assert tracer.snapshot().live_blocks == 1
        await_true(lambda: state_of(process.pid) == "S")
        assert scan(tracer).was_made


def test_a_target_killed_while_it_is_held_ends(blocked):
    with started(blocked) as (process, tracer):
        with tracer.hold() as held:
            process.kill()
            with pytest.raises(TargetError):
                held.end()
        assert process.wait(TIMEOUT_S) == -signal.SIGKILL
        assert not tracer.snapshot().is_running


def test_after_two_seconds_it_goes_on_by_itself(blocked):
    with started(blocked) as (process, tracer), tracer.hold() as held:
        await_true(lambda: state_of(process.pid) == "R")
        with pytest.raises(TargetError, match="stand still"):
            held.end()


def test_a_client_that_dies_lets_it_go_on(blocked):
    with started(blocked) as (process, _):
        client = subprocess.Popen(
            [sys.executable, "-c", HOLD_AND_WAIT, str(process.pid)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout.readline() == "held\n"
        assert state_of(process.pid) == "t"
        client.kill()
        client.communicate()
        await_true(lambda: state_of(process.pid) == "R")


def test_threads_that_come_and_go_are_all_held_or_it_is_said_that_they_are_not(tmp_path):
    times_held = 0
    with release_traced(build_workload("thread_churn", tmp_path)) as (process, tracer):
        await_true(lambda: tracer.snapshot().live_blocks)
        for _ in range(200):
            with contextlib.suppress(TargetError), tracer.hold() as held:
                running = set(list_running_threads(process.pid))
                assert {thread.thread for thread in held.threads} >= running
                times_held += 1
        assert process.poll() is None
    assert times_held
