"""The tables of verdicts.py: for a terminal, as a Markdown page, and as a JSON document."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from benchmarks.corpus_runs import MOMENTS_S, Judgement
from benchmarks.naive import Reading
from benchmarks.pages import Sheet, format_markdown
from lablib.records import AppFiles

WORDS = ("leak", "growing", "fine", "undecided")
TOOLS = ("RSS grows", "memleak's top stack", "LeakSanitizer")
MAX_UNDECIDED = 2

_INTRODUCTION = """\
Made by `./lab bench verdicts`: every program of the corpus (`leaky_apps/leaks` and
`leaky_apps/lookalikes`) is traced for 30 seconds, eight at a time on this machine, and judged by
what was seen after 3, 10 and 30. The truth lies beside each program. A verdict is wrong that calls
a look-alike a leak or a leak fine, or that is none of the kinds that are right for the program.

The naive readings are made of the same programs at 10 seconds. "RSS grows": its slope is above
zero, beyond doubt. memleak: bcc's own, attached before the first term; the stack that it lists
first is taken for the leak, as its reader would. LeakSanitizer: a build of the same source with
`-fsanitize=address`, at the program's end. In the right place: one of the functions named is the
one that leaks."""


@dataclass(frozen=True)
class Row:
    """One program: what the lab says of it at each moment, and what the naive readings say.

    `error` says why it could not be run, "" where it could.
    """

    app: AppFiles
    judgements: tuple[Judgement, ...] = ()
    readings: tuple[Reading, ...] = ()
    error: str = ""

    @property
    def is_leak(self) -> bool:
        """Whether the program leaks."""
        return bool(self.app.truth["is_leak"])


def is_clean(rows: Sequence[Row], seconds: int = 10) -> bool:
    """Whether every program was run, none judged wrongly, and hardly one left undecided."""
    at = [judgement for row in rows for judgement in row.judgements if judgement.seconds == seconds]
    undecided = sum(judgement.word == "undecided" for judgement in at)
    is_right = not any(row.error for row in rows) and not any(each.is_wrong for each in at)
    return is_right and undecided <= MAX_UNDECIDED


def make_sheets(rows: Sequence[Row], moments_s: Sequence[int] = MOMENTS_S) -> list[Sheet]:
    """Return the confusion matrices, the naive readings where there are some, and what is wrong."""
    sheets = [_make_matrix(rows, seconds) for seconds in moments_s]
    if any(row.readings for row in rows):
        sheets.append(_make_naive(rows))
    return [*sheets, _make_list(rows, moments_s)]


def _make_matrix(rows: Sequence[Row], seconds: int) -> Sheet:
    lines = []
    for is_leak, title in ((True, "leaks"), (False, "look-alikes")):
        found = [
            judgement
            for row in rows
            for judgement in row.judgements
            if judgement.seconds == seconds and row.is_leak == is_leak
        ]
        counts = [str(sum(each.word == word for each in found)) for word in WORDS]
        lines.append((title, *counts, str(sum(each.is_wrong for each in found))))
    return Sheet(f"After {seconds} seconds", ("truth", *WORDS, "wrong"), tuple(lines))


def _make_naive(rows: Sequence[Row]) -> Sheet:
    lines = []
    for number, tool in enumerate(TOOLS):
        told = [(row, row.readings[number]) for row in rows if row.readings]
        leaks = [(row, reading) for row, reading in told if row.is_leak]
        others = [reading for row, reading in told if not row.is_leak]
        lines.append(
            (
                tool,
                _count(leaks, lambda pair: pair[1].says_leak is True),
                _count(leaks, lambda pair: pair[1].says_leak is True and pair[1].names(pair[0].app))
                if tool != TOOLS[0]
                else "-",
                _count(others, lambda reading: reading.says_leak is True),
                _count([r for _, r in told], lambda reading: reading.says_leak is None),
            )
        )
    headings = ("reading", "leaks found", "in the right place", "false alarms", "no answer")
    return Sheet("Naive readings at 10 seconds", headings, tuple(lines))


def _count(items: Sequence[Any], is_counted: Callable[[Any], bool]) -> str:
    return f"{sum(map(is_counted, items))} of {len(items)}"


def _make_list(rows: Sequence[Row], moments_s: Sequence[int]) -> Sheet:
    lines = []
    for row in sorted(rows, key=lambda row: (not row.is_leak, row.app.name)):
        said = [row.error or _say(judgement) for judgement in row.judgements] or [row.error]
        readings = [_say_reading(row, reading) for reading in row.readings]
        said += [""] * (len(moments_s) - len(said))
        lines.append((f"{row.app.name} ({'leak' if row.is_leak else 'no leak'})", *said, *readings))
    tools = TOOLS if any(row.readings for row in rows) else ()
    headings = ("program", *(f"{seconds} s" for seconds in moments_s), *tools)
    full = [line + ("",) * (len(headings) - len(line)) for line in lines]
    return Sheet("Each program", headings, tuple(full))


def _say(judgement: Judgement) -> str:
    mark = "WRONG: " if judgement.is_wrong else ""
    place = "" if judgement.is_placed or judgement.word == "undecided" else " (elsewhere)"
    return f"{mark}{judgement.verdict.kind}{place}"


def _say_reading(row: Row, reading: Reading) -> str:
    if reading.says_leak is None:
        return "no answer"
    if not reading.says_leak:
        return "nothing"
    return "leak" if not reading.functions or reading.names(row.app) else "leak (elsewhere)"


def format_page(rows: Sequence[Row], seconds: float) -> str:
    """Return the Markdown page."""
    page = format_markdown("Leak or not", _INTRODUCTION, make_sheets(rows))
    return f"{page}\nIt took {seconds:.0f} seconds.\n"


def describe_rows(rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    """Return the document of `--json`."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "date": date.today().isoformat(),
        "seconds": round(seconds, 1),
        "is_clean": is_clean(rows),
        "programs": [
            {
                "name": row.app.name,
                "is_leak": row.is_leak,
                "error": row.error,
                "verdicts": [
                    {
                        "seconds": each.seconds,
                        "kind": each.verdict.kind,
                        "said": each.word,
                        "is_wrong": each.is_wrong,
                        "is_placed": each.is_placed,
                        "sentence": each.verdict.sentence,
                    }
                    for each in row.judgements
                ],
                "readings": {
                    tool: {
                        "says_leak": reading.says_leak,
                        "names_it": reading.names(row.app),
                        "note": reading.note,
                    }
                    for tool, reading in zip(TOOLS, row.readings, strict=False)
                },
            }
            for row in rows
        ],
    }
