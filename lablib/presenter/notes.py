"""What the presenter says, and on which cells: the tables of instructor/presenting.md."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lablib.language import say

_ROW = re.compile(r"^\| (?P<minute>\d+) \| (?P<cells>[^|]+) \| [^|]+ \| (?P<say>[^|]+) \|$", re.M)
_SPAN = re.compile(r"`cell-(\d+)`(?: to `cell-(\d+)`)?")


@dataclass(frozen=True)
class Step:
    """A row of the presenter's table: the minute it begins, its cells' ids, and what is said."""

    minute: int
    cells: tuple[str, ...]
    say: str


def read_steps(page: str, number: str) -> list[Step]:
    """Return the presenter's steps through a notebook, given by its number: "01"."""
    section = re.search(rf"^## {number} .*?(?=^## |\Z)", page, re.M | re.S)
    rows = _ROW.finditer(section[0]) if section else ()
    return [Step(int(row["minute"]), _read_cells(row["cells"]), row["say"].strip()) for row in rows]


def read_notes(page: str, number: str) -> dict[str, str]:
    """Return what is said of each step, in the reader's language, under its first cell's id."""
    return {
        step.cells[0]: say("Minute {minute}. {words}", minute=step.minute, words=say(step.say))
        for step in read_steps(page, number)
    }


def list_texts(page: str) -> dict[str, str]:
    """Return all that is said on slides, as it stands on the page, and in which notebook."""
    numbers = re.findall(r"^## (\d\d) ", page, re.M)
    return {step.say: number for number in numbers for step in read_steps(page, number)}


def _read_cells(words: str) -> tuple[str, ...]:
    spans = [(int(span[1]), int(span[2] or span[1])) for span in _SPAN.finditer(words)]
    return tuple(f"cell-{n:02}" for first, last in spans for n in range(first, last + 1))
