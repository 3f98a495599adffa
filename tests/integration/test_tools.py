"""A tool's run within its limits: whatever it does, nothing of it is left."""

import os
import time
from pathlib import Path

import pytest
from waiting import wait_until

from lablib.apps import build_app
from lablib.tools import EXHIBITS, NoReportError, Tool, run_matrix, run_tool
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
