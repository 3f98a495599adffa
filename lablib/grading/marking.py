"""Mark a class: judge its submissions, keep the gradebook and the pages, show how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lablib.errors import GradingError
from lablib.grading.classes import Handed, find_submissions, judge_class
from lablib.grading.gradebook import (
    FIELDS,
    Key,
    Row,
    make_key,
    make_row,
    read_gradebook,
    write_gradebook,
)
from lablib.grading.labs import Lab
from lablib.grading.measuring import start_tracer
from lablib.grading.pages import INDEX, name_page, render_index, render_page, write_page
from lablib.grading.sandbox import require_sandbox
from lablib.records import RESULT_STATES, ClassResult
from lablib.wording import make_printable

_JUDGED = ("passed", "failed", "unchecked")
_MAX_NAMES = 48


@dataclass(frozen=True)
class Marking:
    """How a class is marked: where its submissions are, and where the results go.

    A result takes the place of a former one of the same student and lab; other rows stay. With
    `resumes`, who has been judged before is not judged again. With the course's key each is judged
    by his own variant of the lab.
    """

    lab: Lab
    folder: Path
    gradebook: Path
    pages: Path | None
    key_file: Path | None
    jobs: int
    resumes: bool = False


@dataclass
class _Desk:
    """The rows as they come in, and the progress that is shown."""

    marking: Marking
    progress: Progress
    rows: dict[Key, Row]
    under_way: list[str] = field(default_factory=list)
    results: list[ClassResult] = field(default_factory=list)

    def begin(self, student: str) -> None:
        self.under_way.append(student)
        self._show()

    def end(self, result: ClassResult) -> None:
        """Keep a result at once: whatever comes next, it stays."""
        if result.student in self.under_way:
            self.under_way.remove(result.student)
        self.results.append(result)
        marking = self.marking
        self.rows[make_key(result.student, result.lab)] = make_row(result)
        write_gradebook(marking.gradebook, self.rows)
        if marking.pages is not None:
            page = render_page(marking.lab, result)
            write_page(marking.pages, name_page(result.student), page)
        self.progress.advance(self.progress.task_ids[0])
        self._show()

    def _show(self) -> None:
        passed = sum(result.state == "passed" for result in self.results)
        names = make_printable(", ".join(self.under_way))
        shown = names if len(names) <= _MAX_NAMES else names[: _MAX_NAMES - 3] + "..."
        self.progress.update(self.progress.task_ids[0], names=shown, passed=passed)


def mark_class(marking: Marking, console: Console) -> list[ClassResult]:
    """Judge what is to be judged, and return the results, sorted by student.

    The gradebook is whole, and has every result so far, whenever this is left. Raises
    `GradingError` where there is nothing to judge or nowhere to write, and it and
    `ToolMissingError` where no program can be run safely.
    """
    handed = find_submissions(marking.folder, marking.lab.name)
    rows = read_gradebook(marking.gradebook)
    write_gradebook(marking.gradebook, rows)  # now rather than after the first submission
    due = [each for each in handed if not (marking.resumes and _is_judged(each, marking, rows))]
    require_sandbox()
    untraced = start_tracer()
    if untraced:
        console.print(Text(f"No tracer: what it would check stays unchecked ({untraced})."))
    progress = Progress(
        TextColumn("{task.fields[names]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[passed]} passed"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    progress.add_task("", total=len(due), names="", passed=0)
    desk = _Desk(marking, progress, rows)
    try:
        with progress:
            judge_class(due, marking.lab.name, marking.key_file, marking.jobs, desk.begin, desk.end)
    finally:
        if marking.pages is not None:
            _write_index(marking, marking.pages, handed, rows)
    return sorted(desk.results, key=lambda result: result.student)


def describe_class(marking: Marking, results: list[ClassResult]) -> dict[str, Any]:
    """Return the document of `./lab check --all --json`: the gradebook's rows of this run."""
    rows = [dict(zip(FIELDS, make_row(result), strict=True)) for result in results]
    return {"lab": marking.lab.name, "gradebook": str(marking.gradebook), "submissions": rows}


def render_class(marking: Marking, results: list[ClassResult]) -> RenderableType:
    """Return a table for people: each student's points, and the first thing to mend."""
    states = [result.state for result in results]
    counts = ", ".join(f"{states.count(each)} {each}" for each in RESULT_STATES if each in states)
    title = f"{marking.lab.title}: {counts or 'nobody was left to judge'}"
    table = Table(title=Text(title, "bold"), title_justify="left", box=None)
    for heading in ("student", "points", "result", "first thing to mend"):
        table.add_column(heading, justify="right" if heading == "points" else "left")
    for result in results:
        student, _, points, possible, state, _, sentence, _ = make_row(result)
        of = f" of {possible}" if possible else ""
        table.add_row(Text(student), f"{points}{of}", state, Text(sentence))
    return table


def _is_judged(handed: Handed, marking: Marking, rows: dict[Key, Row]) -> bool:
    row = rows.get(make_key(handed.student, marking.lab.name))
    return row is not None and row[FIELDS.index("state")] in _JUDGED


def _write_index(
    marking: Marking, folder: Path, handed: list[Handed], rows: dict[Key, Row]
) -> None:
    judged, links = [], []
    for each in handed:
        row = rows.get(make_key(each.student, marking.lab.name))
        if row is not None:
            judged.append(row)
            name = name_page(each.student)
            links.append(name if (folder / name).exists() else "")
    try:
        write_page(folder, INDEX, render_index(marking.lab, judged, links))
    except OSError as error:
        raise GradingError(f"{folder} can't be written ({error.strerror})") from None
