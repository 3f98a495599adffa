"""The leaky apps print what they should, keep their rate, and stay within their cap."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from workload import build_workload

from lablib.apps import LocalApp, build_app, list_apps, list_corpus
from lablib.errors import AppError
from lablib.release import MEMORY_CAP_BYTES
from lablib.sysv import list_system_v_segments, remove_system_v_segment

PACED = list_corpus()
STEERED = sorted(set(list_apps()) - set(PACED))


def fibonacci(count):
    a, b = 0, 1
    for _ in range(count):
        a, b = b, a + b
        yield b % 2**64


@pytest.mark.parametrize("name", ["fib_leak", "fib_fixed"])
def test_the_sequence_is_right_also_past_64_bits(name):
    program = build_app(name).executable
    printed = subprocess.run(
        [program, "--rate", "0", "--terms", "200"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert printed == [f"{n}th => {value}" for n, value in enumerate(fibonacci(200), start=2)]


def test_one_term_a_second_is_the_default():
    before_s = time.monotonic()
    with subprocess.Popen([build_app("fib_leak").executable], stdout=subprocess.PIPE) as process:
        said = [process.stdout.readline() for _ in range(3)]
        process.kill()
    assert said == [b"2th => 1\n", b"3th => 2\n", b"4th => 3\n"]
    assert 1.9 < time.monotonic() - before_s < 19  # at ten times less it would be 20


def test_every_app_waits_for_its_release_and_keeps_its_terms():
    with contextlib.ExitStack() as running:
        apps = [
            running.enter_context(LocalApp(build_app(name), rate=0, terms=10)) for name in PACED
        ]
        time.sleep(0.2)
        assert [app.app.name for app in apps if app.read_logs() != ""] == []
        for app in apps:
            app.release()
        assert {app.app.name: app.wait(30) for app in apps} == dict.fromkeys(PACED, 0)
        assert [app.app.name for app in apps if app.read_logs() == ""] == []


def test_no_thread_that_is_there_early_takes_the_signal_that_releases_the_program(tmp_path):
    program = build_workload("early_thread", tmp_path)
    ran = subprocess.run([program], capture_output=True, text=True, check=True, timeout=10)
    assert ran.stdout == "left to the first thread\n"


@pytest.mark.parametrize("name", ["fib_leak", "exception_path", *STEERED])
@pytest.mark.parametrize(
    "options", [["--rate", "x"], ["--terms", "-1"], ["extra"], ["--none"], ["--lifetime", "x"]]
)
def test_bad_options_are_refused(name, options):
    ran = subprocess.run([build_app(name).executable, *options], capture_output=True, timeout=10)
    assert ran.returncode == 2


def test_a_lifetime_ends_the_program():
    started = time.monotonic()
    subprocess.run(
        [build_app("fib_leak").executable, "--lifetime", "1"], capture_output=True, timeout=10
    )
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", STEERED)
def test_a_steered_app_ends_with_its_input_or_its_lifetime(name):
    program = build_app(name).executable
    assert subprocess.run([program], stdin=subprocess.DEVNULL, timeout=10).returncode == 0
    with subprocess.Popen([program, "--lifetime", "1"], stdin=subprocess.PIPE) as process:
        assert process.wait(10) == 0


def list_survivors(pid):
    """The shared memory that a process has made."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    files = list(Path("/dev/shm").glob(f"memory-leak-lab-{os.getuid()}-{pid}-*"))
    return files + [row[1] for row in rows if row[4] == str(pid)]


def await_none(list_some, pid):
    deadline = time.monotonic() + 10
    while list_some(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not list_some(pid)


@pytest.mark.parametrize("name", ["posix_shm", "sysv_shm"])
def test_what_outlives_an_app_is_removed_however_that_ends(name):
    with LocalApp(build_app(name), rate=0, terms=5, stays=True) as app:
        app.release()
        app.wait_for_terms(10)
        assert len(list_survivors(app.pid)) == 5
    assert await_none(list_survivors, app.pid)  # it was killed
    with LocalApp(build_app(name), rate=0, terms=5) as app:
        app.release()
        assert app.wait(10) == 0
    assert await_none(list_survivors, app.pid)


@pytest.mark.parametrize("name", ["posix_shm", "sysv_shm"])
def test_shared_memory_without_end_stops_at_its_cap(name):
    with LocalApp(build_app(name), rate=0) as app:
        app.release()
        assert app.wait(30) == 2
        assert "so many are enough" in app.read_logs()[-200:]


def test_clean_up_removes_the_shared_memory_of_an_app_whose_guard_was_killed_too():
    with LocalApp(build_app("sysv_shm"), rate=0, terms=5, stays=True) as app:
        for guard in psutil.Process(app.pid).children():
            guard.kill()
        app.release()
        app.wait_for_terms(10)
        ids = [int(segment) for segment in list_survivors(app.pid)]
        assert len(ids) == 5
        assert set(ids) <= set(list_system_v_segments())
    assert all(remove_system_v_segment(segment) for segment in ids)
    assert list_survivors(app.pid) == []
    assert not remove_system_v_segment(ids[0])


def test_a_leak_without_end_stops_at_its_cap():
    with LocalApp(build_app("fib_leak"), rate=0) as app:
        app.release()
        assert app.wait(60) == 2
        assert "Cannot allocate memory" in app.read_logs()[-200:]


def test_a_program_dies_with_the_one_who_started_it(tmp_path):
    script = (
        "import os, signal; from lablib.apps import LocalApp, build_app\n"
        "print(LocalApp(build_app('fib_leak'), 1).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    import sys

    died = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    pid = int(died.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_an_unknown_app_is_a_sentence():
    with pytest.raises(AppError, match="choose from"):
        build_app("nothing_like_it")


def test_the_cap_leaves_room_for_the_study():
    assert MEMORY_CAP_BYTES > 100 * 8192 * 60
