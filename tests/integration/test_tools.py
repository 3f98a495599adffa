"""A tool's run within its limits: whatever it does, nothing of it is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_until

from lablib.apps import build_app
from lablib.tools import EXHIBITS, TOOLS, NoReportError, Tool, run_matrix, run_tool
from lablib.tools.trial import run_watched

SHELL = Path("/bin/sh")


def list_group(mark):
    """The processes whose command has a mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def test_a_tool_that_hangs_is_ended_with_all_that_it_has_started():
    mark = f"3{os.getpid()}"
    script = f"sleep {mark} & sleep {mark}"
    with pytest.raises(NoReportError, match="not done"):
        run_watched([str(SHELL), "-c", script], SHELL, time_limit_s=0.5)
    wait_until(lambda: not list_group(mark))


def test_a_child_that_outlives_its_tool_is_ended():
    mark = f"4{os.getpid()}"
    watched = run_watched([str(SHELL), "-c", f"sleep {mark} & exit 3"], SHELL)
    assert watched.exit_code == 3
    wait_until(lambda: not list_group(mark))


def test_a_tool_that_writes_without_end_is_ended():
    with pytest.raises(NoReportError, match="more than anybody reads"):
        run_watched(["/usr/bin/yes"], Path("/usr/bin/yes"))


def test_the_time_of_the_work_and_the_peak_are_the_programs():
    app = build_app("fib_fixed")
    words = [str(app.executable), "--rate", "100", "--terms", "30"]
    began_s = time.monotonic()
    watched = run_watched(words, app.executable)
    assert 0.1 < watched.work_seconds <= time.monotonic() - began_s
    assert 1 << 20 < watched.peak_rss_bytes < 32 << 20


FAILURES = {
    "is killed": ("kill -9 $$", "signal 9"),
    "fails": ("echo no room here >&2; exit 3", "no room here"),
    "writes nothing": ("exit 0", "wrote no report"),
    "runs the program only": ("fib_fixed --rate 0 --terms 2; exit 0", "wrote no report"),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ["memcheck", "massif", "heaptrack"])
def test_a_tool_without_a_whole_report_has_not_missed_anything(
    name, failure, tmp_path, monkeypatch
):
    """Its cell says that it can't run, and what it said."""
    script, said = FAILURES[failure]
    for program in ("valgrind", "heaptrack", "heaptrack_print"):
        stand_in = tmp_path / program
        stand_in.write_text(f"#!/bin/sh\n{script}\n")
        stand_in.chmod(0o755)
    folder = build_app("fib_leak").executable.parent
    monkeypatch.setenv("PATH", f"{tmp_path}:{folder}:{os.environ['PATH']}")
    tool = next(tool for tool in TOOLS if tool.name == name)
    run = run_tool(tool, EXHIBITS[0])
    assert run.outcome == "can't run"
    assert said in run.sentence


@pytest.mark.parametrize(
    ("name", "script", "said"),
    [
        ("mtrace", "exit 0", "printed nothing"),
        ("mtrace", "echo Cannot open the file >&2; exit 1", "Cannot open the file"),
        ("mtrace", "echo something else", "neither blocks"),
        ("pmap", "exit 1", "printed nothing"),
        ("pmap", "echo mapped: 12", "no total"),
    ],
)
def test_a_reader_that_fails_has_not_missed_anything(name, script, said, tmp_path, monkeypatch):
    stand_in = tmp_path / name
    stand_in.write_text(f"#!/bin/sh\n{script}\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run = run_tool(next(tool for tool in TOOLS if tool.name == name), EXHIBITS[0])
    assert run.outcome == "can't run"
    assert said in run.sentence


INTERRUPTED = """
import threading
from lablib.tools import EXHIBITS, TOOLS, run_matrix
began = threading.Event()
chosen = [tool for tool in TOOLS if tool.name in ("memcheck", "heaptrack", "pmap", "lab: preload")]
print("ready", flush=True)
try:
    run_matrix(chosen, EXHIBITS[:4])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_an_interrupted_matrix_leaves_no_process_and_no_file(tmp_path):
    build_app("fib_leak")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], env=environment, stdout=subprocess.PIPE, text=True
    ) as matrix:
        assert matrix.stdout.readline() == "ready\n"
        wait_until(lambda: list(tmp_path.glob("memory-leak-lab-tools-*")))
        matrix.send_signal(signal.SIGINT)
        assert matrix.stdout.read() == "interrupted\n"
    assert matrix.returncode == 0
    assert list(tmp_path.iterdir()) == []
    assert list_group(str(tmp_path)) == []


def test_a_tool_that_fails_is_a_cell_and_the_others_go_on():
    def fail(trial):
        raise NoReportError("it gave up")

    def say(trial):
        raise NoReportError("so did this one")

    tools = (Tool("one", fail, "", ""), Tool("other", say, "", ""))
    came = []
    matrix = run_matrix(tools, EXHIBITS[:2], came.append)
    assert [run.outcome for run in matrix.runs] == ["can't run"] * 4
    assert {run.reason for run in came} == {"it gave up", "so did this one"}
    assert run_tool(tools[0], EXHIBITS[0]).sentence == "it gave up."
