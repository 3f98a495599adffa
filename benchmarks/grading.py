"""How long judging takes: `./lab bench grading`, and the page grading.md.

Every submission is the reference solution: nothing is judged longer, for each check is made.
"""

from __future__ import annotations

import argparse
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

from rich.console import Console

from benchmarks.pages import (
    Sheet,
    Target,
    describe_machine,
    format_markdown,
    make_targets_sheet,
    render_sheet,
)
from benchmarks.service import own_service
from lablib.errors import GradingError, LabError, ToolMissingError
from lablib.grading.labs import ANSWERS, LABS_DIR, list_labs, load_lab
from lablib.grading.limits import Limits, open_group
from lablib.grading.sandbox import Sandboxed
from lablib.tracing.groups import CappedGroup

PAGE = Path(__file__).with_name("grading.md")
INSTRUCTOR = LABS_DIR.parent / "instructor"
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


def measure() -> Figures:
    """Return the figures; raises `LabError`."""
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        checks_s = {name: time_check(name, Path(folder) / name) for name in list_labs()}
        class_s, passed = time_class(Path(folder) / LAB, Path(folder) / "class")
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
    lab = load_lab(name)
    folder.mkdir()
    shutil.copy(lab.folder / lab.source, folder)
    patch = INSTRUCTOR / name / "solution.patch"
    if patch.exists():
        if shutil.which("patch") is None:
            raise ToolMissingError("the solutions are patches", "run: sudo apt-get install patch")
        words = ["patch", "--silent", str(folder / lab.source), str(patch)]
        subprocess.run(words, check=True, capture_output=True)
    answers = json.loads((INSTRUCTOR / name / ANSWERS).read_text())
    (folder / ANSWERS).write_text(json.dumps(answers))
    started_s = time.monotonic()
    run_check(name, f"--submission={folder}")
    return time.monotonic() - started_s


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


def make_sheets(figures: Figures, targets: tuple[Target, ...]) -> tuple[Sheet, ...]:
    """Return the tables: each lab, what the sandbox and its cgroup cost, and the targets."""
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
        make_targets_sheet(targets),
    )


_INTRODUCTION = f"""\
Made by `./lab bench grading`. Each lab's reference solution is judged once, and then {STUDENTS} of
{LAB} as a class, {JOBS} at once. Each check is made of a right solution, and only the first ones of
a wrong one. Times are of the clock: other work on the machine adds to them."""


def main() -> int:
    """Measure, print, write the page; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="./lab bench grading", description="How long judging submissions takes."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--no-write", action="store_true", help="leave grading.md as it is")
    options = parser.parse_args()
    try:
        with own_service():
            figures = measure()
    except (LabError, OSError) as error:
        print(f"lab: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    targets = judge_figures(figures)
    sheets = make_sheets(figures, targets)
    if options.json:
        judged = [{**dataclasses.asdict(each), "is_met": each.is_met} for each in targets]
        print(json.dumps({**dataclasses.asdict(figures), "targets": judged}, indent=2))
    else:
        page = Console(highlight=False, markup=False)
        page.print(describe_machine())
        for sheet in sheets:
            page.print(render_sheet(sheet), "")
        if not options.no_write:
            PAGE.write_text(format_markdown("How long judging takes", _INTRODUCTION, sheets))
    return 0 if all(target.is_met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
