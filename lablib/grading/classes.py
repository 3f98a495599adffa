"""A class's submissions of one lab, each judged by a process of its own.

Whatever happens to that process, whether it hangs, crashes or is killed, costs only the one
submission.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import GradingError
from lablib.grading.gradebook import make_cell
from lablib.grading.page import PROGRESS, read_report
from lablib.records import ClassResult
from lablib.scratch import make_scratch_folder

SECONDS = 300.0
"""How long judging one submission may take; what takes longer could not be judged."""

MAX_JOBS = 6
"""How many are judged at once at the most: the tracer service serves each user so many."""

_CHECKOUT = Path(__file__).resolve().parents[2]
_END_S = 10.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Handed:
    """What a student has handed in: the folder with the program, or why there is none."""

    student: str
    folder: Path
    problem: str = ""


def find_submissions(folder: Path, lab: str) -> list[Handed]:
    """Return what lies in `folder`, a folder for each student, sorted by student.

    The program lies in FOLDER/STUDENT, or in FOLDER/STUDENT/LAB. Files beside the students' folders
    and what begins with a dot are nobody's. Raises `GradingError` where there is no submission, or
    two students can't be told apart in print.
    """
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.name.startswith(".") and (entry.is_symlink() or entry.is_dir()):
            found.append(_find_submission(entry.name, folder / entry.name, lab))
    if not found:
        raise GradingError(f"{folder} has no submissions", "give it a folder for each student")
    cells: dict[str, str] = {}
    for handed in found:
        if cells.setdefault(make_cell(handed.student), handed.student) != handed.student:
            raise GradingError(
                f"two students look the same in print: {make_cell(handed.student)}",
                "rename one folder",
            )
    return found


def judge_class(
    handed: Sequence[Handed],
    lab: str,
    key_file: Path | None,
    jobs: int,
    on_start: Callable[[str], object],
    on_end: Callable[[ClassResult], object],
) -> None:
    """Judge submissions, `jobs` at once; tell of each when it begins, and its result when it ends.

    `on_start` is called in other threads, `on_end` in this one. Left early, by an exception, it
    ends what is under way, and returns when that is gone.
    """
    stop = threading.Event()

    def judge(each: Handed) -> ClassResult:
        on_start(each.student)
        return _judge_apart(each, lab, make_command(each, lab, key_file), stop)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(judge, each) for each in handed]
        try:
            for future in as_completed(futures):
                on_end(future.result())
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def make_command(handed: Handed, lab: str, key_file: Path | None) -> list[str]:
    """Return the command that judges one submission: with a key, by the student's variant."""
    return [
        *(sys.executable, "-m", "lablib", "check", lab, "--json"),
        *(f"--submission={handed.folder.absolute()}", f"--student={handed.student}"),
        *([f"--key-file={key_file.absolute()}"] if key_file else []),
    ]


def _find_submission(student: str, folder: Path, lab: str) -> Handed:
    """What a link leads to is not what this student has handed in."""
    for place in (folder, folder / lab):
        if place.is_symlink():
            return Handed(student, place, f"{make_cell(place.name)} is a link, and no folder")
    return Handed(student, folder / lab if (folder / lab).is_dir() else folder)


def _judge_apart(
    handed: Handed, lab: str, command: Sequence[str], stop: threading.Event
) -> ClassResult:
    """Return the result of one submission; raises nothing that the submission could cause."""
    if handed.problem:
        return ClassResult(handed.student, lab, None, handed.problem, 0.0)
    started_s = time.monotonic()
    with _start_judge(command) as judge:
        output, errors = _await_end(judge, started_s + SECONDS, stop)
    seconds = time.monotonic() - started_s
    problem = f"it could not be judged within {SECONDS:.0f} s"
    if seconds < SECONDS:
        lines = [line for line in errors.splitlines() if not line.startswith(PROGRESS)]
        problem = lines[-1].removeprefix("lab: ") if lines else "its judge ended without a report"
    report = None
    if judge.returncode in (0, 1):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            report = read_report(json.loads(output))
    return ClassResult(handed.student, lab, report, "" if report else problem, seconds)


@contextlib.contextmanager
def _start_judge(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a judge in a session and a temporary folder of its own; at the end both are gone."""
    with (
        make_scratch_folder("class") as folder,
        subprocess.Popen(
            command,
            cwd=_CHECKOUT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as judge,
    ):
        try:
            yield judge
        except BaseException:
            judge.kill()
            raise


def _await_end(
    judge: subprocess.Popen[str], deadline_s: float, stop: threading.Event
) -> tuple[str, str]:
    """Return what a judge has printed, and its errors; it is ended when its time is over."""
    while True:
        try:
            return judge.communicate(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline_s or stop.is_set():
                break
    judge.terminate()
    try:
        return judge.communicate(timeout=_END_S)
    except subprocess.TimeoutExpired:
        os.killpg(judge.pid, signal.SIGKILL)
        return judge.communicate()
