"""How long judging takes: `./lab bench grading`, and the page grading.md.

Every submission is the reference solution: nothing is judged longer, for each check is made.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.commands import Announce, Benchmark, Result
from benchmarks.pages import Sheet, Target
from benchmarks.service import own_service
from benchmarks.solutions import hand_in, make_solution
from lablib.errors import GradingError
from lablib.grading.labs import LABS_DIR, list_labs, list_sources
from lablib.grading.limits import Limits, open_group
from lablib.grading.sandbox import Sandboxed
from lablib.tracing.groups import CappedGroup

LAB = "fib_leak"
STUDENTS = 30
JOBS = 2
STARTS = 20


@dataclass(frozen=True)
class Figures:
    """Seconds: of a check of each lab, of a class, and of a run that does nothing.

    `load` is the machine's load average before and after all of it: what others had it do.
    """

    checks_s: dict[str, float]
    class_s: float
    passed: int
    start_s: float
    start_in_group_s: float
    group_s: float
    load: tuple[float, float]


def measure(announce: Announce) -> Result:
    """Return how long judging takes, against what was promised; raises `LabError`."""
    with own_service():
        figures = run_benchmark(announce)
    return Result(make_sheets(figures), dataclasses.asdict(figures), judge_figures(figures))


def run_benchmark(announce: Announce) -> Figures:
    """Judge a submission of each lab, and a class, in under eight minutes; raises `LabError`."""
    load_before = os.getloadavg()[0]
    checks_s = {}
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        for name in list_labs():
            announce(name)
            checks_s[name] = time_check(name, Path(folder) / name)
        announce(f"{STUDENTS} submissions of {LAB}")
        class_s, passed = time_class(Path(folder) / LAB, Path(folder) / "class")
    announce("the sandbox")
    start_s = time_start(None)
    started_s = time.monotonic()
    group = open_group()
    group_s = time.monotonic() - started_s
    if group is None:
        raise GradingError("no cgroup can be had here, so nothing is said of what it costs")
    with group:
        start_in_group_s = time_start(group)
    loads = load_before, os.getloadavg()[0]
    return Figures(checks_s, class_s, passed, start_s, start_in_group_s, group_s, loads)


def time_check(name: str, folder: Path) -> float:
    """Hand in a lab's solution, and return the seconds of judging it."""
    source = next(iter(list_sources(LABS_DIR / name)), "")
    folder.mkdir()
    hand_in(make_solution(name, source), folder)
    started_s = time.monotonic()
    document = run_check(name, f"--submission={folder}")
    seconds = time.monotonic() - started_s
    for finding in document["findings"]:
        if finding["state"] == "failed":
            raise GradingError(f"{name}: {finding['check']}: {finding['sentence']}")
    return seconds


def time_class(submission: Path, folder: Path) -> tuple[float, int]:
    """Hand in a submission for each student; return the seconds, and how many have passed."""
    for number in range(STUDENTS):
        shutil.copytree(submission, folder / f"student{number:02}")
    started_s = time.monotonic()
    document = run_check(LAB, f"--all={folder}", f"--csv={folder}.csv", f"--jobs={JOBS}")
    states = [each["state"] for each in document["submissions"]]
    return time.monotonic() - started_s, states.count("passed")


def run_check(*words: str) -> dict[str, Any]:
    """Return the document of `./lab check`; raises `GradingError` with its sentence."""
    command = [sys.executable, "-m", "lablib", "check", *words, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode == 2:
        raise GradingError(ran.stderr.strip().splitlines()[-1])
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def time_start(group: CappedGroup | None) -> float:
    """Return the seconds that a program in the sandbox takes which does nothing, the median."""
    seconds = []
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        for _ in range(STARTS):
            started_s = time.monotonic()
            with Sandboxed(Path(folder), ["/usr/bin/true"], Limits(), group) as program:
                program.release()
                program.finish()
            seconds.append(time.monotonic() - started_s)
    return statistics.median(seconds)


def judge_figures(figures: Figures) -> tuple[Target, ...]:
    """Return the promises and what was measured."""
    return (
        Target("a check, of the slowest lab", max(figures.checks_s.values()), 15.0, "s"),
        Target(f"{STUDENTS} submissions, {JOBS} at once", figures.class_s, 240.0, "s"),
        Target("of them passed", figures.passed, STUDENTS, "", is_at_least=True),
    )


def make_sheets(figures: Figures) -> tuple[Sheet, ...]:
    """Return the tables: each lab, and what the sandbox and its cgroup cost."""
    labs = tuple((name, f"{seconds:.1f} s") for name, seconds in figures.checks_s.items())
    costs = (
        ("a run that does nothing", f"{figures.start_s * 1e3:.0f} ms"),
        ("the same in a memory cgroup", f"{figures.start_in_group_s * 1e3:.0f} ms"),
        ("making the cgroup, once for each submission", f"{figures.group_s * 1e3:.0f} ms"),
        ("load average before", f"{figures.load[0]:.1f}"),
        ("load average after", f"{figures.load[1]:.1f}"),
    )
    return (
        Sheet("One check of each lab", ("lab", "seconds"), labs),
        Sheet("The sandbox", ("what", "measured"), costs),
    )


_INTRODUCTION = f"""\
Made by `./lab bench grading`. Each lab's reference solution is judged once, and then {STUDENTS} of
{LAB} as a class, {JOBS} at once. Each check is made of a right solution, and only the first ones of
a wrong one. Times are of the clock: other work on the machine adds to them."""


def main() -> int:
    """Measure, print, write the page; return the exit code."""
    return Benchmark("grading", "How long judging takes", _INTRODUCTION, measure).run()


if __name__ == "__main__":
    sys.exit(main())
