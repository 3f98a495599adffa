"""A class's results as HTML: a page for each student, to be given to them, and one of all.

Each page is one file that loads nothing. What comes from a submission is text in it, never HTML.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from lablib.document import make_document
from lablib.grading.gradebook import FIELDS, Row, replace_file
from lablib.grading.labs import Lab
from lablib.records import ClassResult, Finding
from lablib.wording import count_of, make_printable

INDEX = "index.html"

_STYLE = """\
.failed { font-weight: bold; border-left: .4rem solid #a40000; }
.unchecked, .could { font-style: italic; border-left: .4rem dashed #5c5c00; }"""


def name_page(student: str) -> str:
    """Return the name of a student's page: theirs, or what can be said of it, and a digest."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}", student):
        return f"student-{student}.html"
    digest = hashlib.sha256(student.encode(errors="surrogateescape")).hexdigest()[:12]
    return f"student-{re.sub(r'[^A-Za-z0-9_]+', '-', student)[:40]}-{digest}.html"


def render_page(lab: Lab, result: ClassResult) -> str:
    """Return a student's page: the points, and what each check and each answer came to."""
    if result.report is None:
        body = _paragraph(f"It could not be judged: {result.problem}.")
        return _fill(f"{lab.title}: {result.student}", body)
    report = result.report
    unchecked = f" {report.unchecked:g} could not be given or refused." if report.unchecked else ""
    body = _paragraph(
        f"{report.points:g} of {report.possible:g} points: {result.state}.{unchecked}"
    )
    body += _table(
        f"What was found in {lab.name}, in the order in which it was looked at",
        ("check", "result", "what was seen", "points"),
        [_finding_cells(finding) for finding in report.findings],
    )
    return _fill(f"{lab.title}: {result.student}", body)


def render_index(lab: Lab, rows: Sequence[Row], links: Iterable[str]) -> str:
    """Return the page of all: the rows of the gradebook; a link "" stands for no page."""
    states = [row[FIELDS.index("state")] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    body = _paragraph(f"{count_of(len(rows), 'submission')}: {counts}.")
    headings = ("student", "points", "result", "first thing to mend")
    cells = []
    for row, link in zip(rows, links, strict=True):
        student, _, points, possible, state, _, sentence, _ = row
        name = _text(student)
        anchor = f'<a href="{escape(link)}">{name}</a>' if link else name
        of = f" of {_text(possible)}" if possible else ""
        cells.append((anchor, _text(points) + of, _text(state), _text(sentence)))
    return _fill(f"{lab.title}: the class", body + _table(lab.name, headings, cells))


def write_page(folder: Path, name: str, page: str) -> None:
    """Write a page into a folder, which is made if it is not there; raises `GradingError`."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / name, page)


def _finding_cells(finding: Finding) -> tuple[str, str, str, str]:
    points = f"{finding.points:g} of {finding.possible:g}" if finding.possible else ""
    name = finding.check.replace("_", " ")
    return _text(name), _text(finding.state), _text(finding.sentence), points


def _table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of HTML cells: the first of each row is its heading, the third its state."""
    head = "".join(f'<th scope="col">{_text(heading)}</th>' for heading in headings)
    column = headings.index("result")
    lines = []
    for first, *others in rows:
        state = others[column - 1].split()[0]
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        lines.append(f'<tr class="{state}"><th scope="row">{first}</th>{cells}</tr>')
    return (
        f"<table>\n<caption>{_text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody>\n</table>\n"
    )


def _paragraph(text: str) -> str:
    return f"<p>{_text(text)}</p>\n"


def _text(text: str) -> str:
    return escape(make_printable(text))


def _fill(title: str, body: str) -> str:
    return make_document(title, body, _STYLE, locale="")
