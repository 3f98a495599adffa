"""Is it true what a tool says? Its report against the program's ground truth, as a pure function.

A tool has *found* a leak when something that it complains of has the leaking function in its call
stack, or a line of that function. It has *seen* one when a total grows and nobody is named, or the
amount is there and the stack ends in a library or in numbers. What it lists without calling it a
leak (memcheck's "still reachable") counts for nothing.

Where nothing leaks, complaining is a false alarm, be it of a block that is in use. Both ways, less
than a byte a term is nothing: the C library's own notes of a thread are no growth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lablib.editing import read_function
from lablib.errors import AppError
from lablib.records import Frame, ToolFinding, ToolReport, ToolTotal
from lablib.wording import count_of, format_size

LEAST_BYTES_A_TERM = 1.0
LEAST_FILES_A_TERM = 0.1
LEAST_SHARE = 0.5
"""Who can't name a function has seen the leak if the amount is at least so much of what leaks."""

LEAST_GROWTH_BYTES = 64 << 10
"""A total that grows by less is flat: a few pages come and go in any program."""


def judge_report(
    report: ToolReport, truth: Mapping[str, Any], source: str, terms: int
) -> tuple[str, str]:
    """Return one of `TOOL_OUTCOMES` and the sentence that says why.

    `truth` is the app's (truth.py), `source` its source text; the report is on so many terms.
    """
    claims = [each for each in report.findings if each.is_complaint and _weighs(each, terms)]
    if not truth["is_leak"]:
        return _judge_innocent(claims, report.totals, source)
    for leak in truth["leaks"]:
        for rank, claim in enumerate(_order(claims), 1):
            if any(is_of_function(frame, leak, source) for frame in claim.frames):
                expected = 0 if report.is_early else leak["bytes_per_term"] * terms
                return "found", _tell_found(claim, leak["function"], expected, rank, len(claims))
    leaked = sum(leak["bytes_per_term"] for leak in truth["leaks"]) * terms
    unnamed = [each for each in claims if not name_own_function(each.frames, source)]
    if unnamed and leaked and (_order(unnamed)[0].size_bytes or 0) >= LEAST_SHARE * leaked:
        return "seen", f"It lists {_tell_amount(_order(unnamed)[0])}, and not which function's."
    grown = _find_growth(report.totals)
    if grown is not None:
        share = f"; {format_size(leaked)} leaked" if grown.unit == "bytes" and leaked else ""
        return "seen", f"It names nobody, but {_tell_growth(grown)}{share}."
    return "missed", _tell_missed(report, claims, source)


def is_of_function(frame: Frame, leak: Mapping[str, Any], source: str) -> bool:
    """Whether a frame is of the function that leaks: by its name, or by a line of it."""
    if frame.function is not None:
        return bool(frame.function.split("(")[0] == leak["function"])
    if frame.line is None or frame.file is None or frame.file.rpartition("/")[2] != leak["file"]:
        return False
    return frame.line in _find_lines(source, leak["function"])


def name_own_function(frames: Sequence[Frame], source: str) -> str:
    """Return the innermost frame that is the program's own, as a name or a place; "" if none is."""
    for frame in frames:
        if frame.function is not None:
            name = frame.function.split("(")[0]
            if re.search(rf"^[\w *]*\b{re.escape(name)}\(", source, re.MULTILINE):
                return name
        elif frame.line is not None:
            return f"{frame.file}:{frame.line}"
    return ""


def _weighs(finding: ToolFinding, terms: int) -> bool:
    if finding.size_bytes is not None:
        return finding.size_bytes >= LEAST_BYTES_A_TERM * terms
    return (finding.blocks or 0) >= LEAST_FILES_A_TERM * terms


def _order(claims: Sequence[ToolFinding]) -> list[ToolFinding]:
    return sorted(claims, key=lambda each: each.size_bytes or 0, reverse=True)


def _judge_innocent(
    claims: Sequence[ToolFinding], totals: Sequence[ToolTotal], source: str
) -> tuple[str, str]:
    for claim in _order(claims):
        own = name_own_function(claim.frames, source) or "a function that it can't name"
        return "false alarm", f"It lists {_tell_amount(claim)} of {own} ({claim.kind}): in use."
    grown = _find_growth(totals)
    if grown is not None:
        return "false alarm", f"Nothing leaks, and {_tell_growth(grown)}."
    return "quiet", "It complains of nothing."


def _find_growth(totals: Sequence[ToolTotal]) -> ToolTotal | None:
    """Return the total that grew most, None where all are flat."""
    grown = [
        total
        for total in totals
        if total.growth >= (LEAST_GROWTH_BYTES if total.unit == "bytes" else 1)
    ]
    return max(grown, key=lambda each: each.growth, default=None)


def _tell_found(claim: ToolFinding, function: str, expected: float, rank: int, of: int) -> str:
    amount = f"It names {function}, with {_tell_amount(claim)}"
    if claim.size_bytes is not None and expected:
        amount += f"; {format_size(expected)} leaked"
    place = "" if of < 2 else f", number {rank} of {of} that it lists"
    return f"{amount}{place}."


def _tell_missed(report: ToolReport, claims: Sequence[ToolFinding], source: str) -> str:
    if claims:
        own = name_own_function(_order(claims)[0].frames, source) or "a library"
        return f"It names {own}, which is not what leaks."
    listed = [each for each in report.findings if not each.is_complaint and each.size_bytes]
    if listed:
        most = _order(listed)[0]
        return f"It lists {_tell_amount(most)} as “{most.kind}”, and doesn't call it a leak."
    return "It says nothing of it."


def _tell_amount(finding: ToolFinding) -> str:
    parts = []
    if finding.size_bytes is not None:
        parts.append(format_size(finding.size_bytes))
    if finding.blocks is not None:
        noun = "block" if finding.size_bytes is not None else "file"
        parts.append(count_of(finding.blocks, noun))
    return " in ".join(parts) or "something"


def _tell_growth(total: ToolTotal) -> str:
    if total.unit == "files":
        return f"{total.name} grew from {total.before:,} to {total.after:,}"
    return f"{total.name} grew by {format_size(total.growth)}"


def _find_lines(source: str, function: str) -> range:
    """Return the numbers of a function's lines; none where the source doesn't have it."""
    try:
        text = read_function(source, function)
    except AppError:
        return range(0)
    first = source.count("\n", 0, source.index(text)) + 1
    return range(first, first + text.count("\n") + 1)
