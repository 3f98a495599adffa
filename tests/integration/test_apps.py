"""The leaky apps print what they should, keep their rate, and stay within their cap."""

import subprocess
import time

import psutil
import pytest

from lablib.apps import LocalApp, build_app, list_apps, list_corpus
from lablib.errors import AppError
from lablib.release import MEMORY_CAP_BYTES

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
    with subprocess.Popen([build_app("fib_leak").executable], stdout=subprocess.PIPE) as process:
        time.sleep(2.5)
        process.kill()
        assert process.stdout.read().split(b"\n")[:-1] == [b"2th => 1", b"3th => 2", b"4th => 3"]


@pytest.mark.parametrize("name", PACED)
def test_every_app_waits_for_its_release_and_keeps_its_terms(name):
    with LocalApp(build_app(name), rate=0, terms=10) as app:
        time.sleep(0.2)
        assert app.read_logs() == ""
        app.release()
        assert app.wait(10) == 0
        assert app.read_logs() != ""


@pytest.mark.parametrize("name", list_apps())
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
