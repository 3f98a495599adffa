"""The gradebook: a CSV file with a row for each student and lab, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lablib.errors import GradingError
from lablib.records import ClassResult
from lablib.wording import make_printable

FIELDS = ("student", "lab", "points", "possible", "state", "check", "sentence", "seconds")
"""The columns; `check` and `sentence` are of the first finding that failed or was unchecked."""

_FORMULA_STARTS = "=+-@'"
"""How a cell begins that a spreadsheet would reckon with, and the sign that stops it."""

Row = tuple[str, ...]
Key = tuple[str, str]


def make_row(result: ClassResult) -> Row:
    """Return a result as the cells of `FIELDS`."""
    found, report = result.first_failed, result.report
    return (
        make_cell(result.student),
        make_cell(result.lab),
        f"{report.points:g}" if report else "0",
        f"{report.possible:g}" if report else "",
        result.state,
        found.check if found else "",
        make_cell(found.sentence if found else result.problem),
        f"{result.seconds:.1f}",
    )


def make_cell(text: str) -> str:
    """Return a stranger's text as a cell: in one line, and nothing that a spreadsheet executes."""
    cell = make_printable(text)
    return f"'{cell}" if cell[:1] and cell[0] in _FORMULA_STARTS else cell


def make_key(student: str, lab: str) -> Key:
    """Return what tells a row from all others."""
    return make_cell(student), make_cell(lab)


def read_gradebook(path: Path) -> dict[Key, Row]:
    """Return the rows of a gradebook, none where there is no file yet.

    Raises `GradingError` for a file that is none: it is not to be written over.
    """
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise GradingError(f"the gradebook {path} can't be read ({error})") from None
    if tuple(header) != FIELDS or any(len(row) != len(FIELDS) for row in rows):
        raise GradingError(f"{path} is no gradebook of the lab's", "give the name of a new file")
    return {(row[0], row[1]): tuple(row) for row in rows}


def write_gradebook(path: Path, rows: Mapping[Key, Row]) -> None:
    """Write the rows, sorted by student and lab; the file is the former or the new one, whole."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(FIELDS)
    writer.writerows(rows[key] for key in sorted(rows))
    replace_file(path, text.getvalue())


def replace_file(path: Path, text: str) -> None:
    """Write a file in one step; raises `GradingError` where it can't be written."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}-")
    except OSError as error:
        raise GradingError(f"{path} can't be written ({error.strerror})") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(name, 0o600)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
