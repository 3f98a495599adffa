"""The table of exactness.py: for a terminal, as a Markdown page, and as a JSON document."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from rich.table import Table

import lablib
from benchmarks.answers import NOT_INSTALLED, RIGHT, WRONG, Answer
from benchmarks.pages import describe_machine
from lablib.tracing.control import SYSTEM_PYTHON

TOOLS = ("lablib", "memleak", "memcheck", "heaptrack")

_INTRODUCTION = """\
Made by `./lab bench exactness`. Each case is a small program in `tests/integration/programs`, whose
true answer is known to the byte; `tests/integration/cases.py` holds the truth. lablib and bcc's
memleak attach while the program waits for its release, and look when it has done its work; memcheck
and heaptrack start it. A tool is given what its manual offers for the case, and it is said what.
memleak's references to uprobe counters are set to 0 (its Python leaves them out), and the
mistake that ends its combined mode is mended. heaptrack is asked for bytes: it tells no blocks.

right: the tool says what is true. WRONG: it says something else. no answer: it ran and said
nothing that could be right or wrong. Where a case is about a function, the bytes must be below that
function."""


@dataclass(frozen=True)
class Row:
    """One case: its title, the truth in words, and the answer of each of `TOOLS`."""

    name: str
    title: str
    truth: str
    answers: dict[str, Answer]


def read_versions() -> dict[str, str]:
    """Return the versions of the tools, and of the C library and compiler of the programs."""
    commands = {
        "memleak": [SYSTEM_PYTHON, "-c", "import bcc; print('bcc', bcc.__version__)"],
        "memcheck": ["valgrind", "--version"],
        "heaptrack": ["heaptrack", "--version"],
        "compiler": ["gcc", "--version"],
    }
    own = {"lablib": lablib.__version__, "C library": " ".join(platform.libc_ver())}
    return own | {name: _read_first_line(command) for name, command in commands.items()}


def _read_first_line(command: Sequence[str]) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return NOT_INSTALLED
    return (ran.stdout.splitlines() or [NOT_INSTALLED])[0]


def count_marks(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Return for each tool how often it got each mark."""
    return {tool: dict(Counter(row.answers[tool].mark for row in rows)) for tool in TOOLS}


def describe_rows(rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    """Return the document of `--json`."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "date": date.today().isoformat(),
        "seconds": round(seconds, 1),
        "versions": read_versions(),
        "marks": count_marks(rows),
        "cases": [dataclasses.asdict(row) for row in rows],
    }


def render_rows(rows: Sequence[Row]) -> Table:
    """Return the table for the terminal."""
    table = Table(show_lines=True)
    for heading in ("case", "the truth", *TOOLS):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(row.title, row.truth, *(str(row.answers[tool]) for tool in TOOLS))
    table.add_row("", "", *_summarize(rows))
    return table


def format_page(rows: Sequence[Row], seconds: float) -> str:
    """Return the Markdown page."""
    versions = "; ".join(f"{name}: {version}" for name, version in read_versions().items())
    lines = [
        ("case", "the truth", *TOOLS),
        ("---",) * (2 + len(TOOLS)),
        *(
            (row.title, row.truth, *(_emphasize(row.answers[tool]) for tool in TOOLS))
            for row in rows
        ),
        ("", "", *_summarize(rows)),
    ]
    table = "\n".join(f"| {' | '.join(map(_escape, line))} |" for line in lines)
    machine = f"{describe_machine()}, in {seconds:.0f} seconds. {versions}."
    return "\n\n".join(["# Exact answers", _INTRODUCTION, machine, table]) + "\n"


def _summarize(rows: Sequence[Row]) -> list[str]:
    marks = count_marks(rows)
    return [
        f"{marks[tool].get(RIGHT, 0)} right, {marks[tool].get(WRONG, 0)} wrong" for tool in TOOLS
    ]


def _emphasize(answer: Answer) -> str:
    text = str(answer)
    return f"**{WRONG}**{text.removeprefix(WRONG)}" if answer.mark == WRONG else text


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
