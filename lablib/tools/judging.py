"""Is it true what a tool says? Its report against the program's ground truth, as a pure function.

The rules, which notebook 10 tells its reader under "How the lab judges":

1. A tool that sorts what it lists is taken at its word: what it doesn't call a leak (memcheck's
   "still reachable", the lab's "steady") is no complaint. A tool with one list offers all of it.
   Massif has a curve instead, in one run: what still grows on it is a complaint (valgrind.py).
2. *Found*: something that it complains of has the leaking function in its call stack, or a line of
   that function; the amount and the rank in the list are told, and don't count.
3. *Seen*: it lists the right amount (`LEAST_SHARE`), and the stack has none of the program's
   functions; or a total has grown by `LEAST_GROWTH_BYTES`, whatever its share of the leak is: pages
   that nobody has touched are in no resident total.
4. *False alarm*: nothing leaks, and it complains, if only of a block in use, or a total grows.
5. Less than a byte a term is nothing, either way: the C library's own notes of a thread are no
   growth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lablib.editing import read_function
from lablib.errors import AppError
from lablib.language import term
from lablib.records import Frame, ToolFinding, ToolReport, ToolTotal
from lablib.wording import count_of, format_size

LEAST_BYTES_A_TERM = 1.0
LEAST_FILES_A_TERM = 0.1
LEAST_SHARE = 0.5
"""The right amount is at least so much of what leaks, and at most as many times more."""

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
                return term("found"), _tell_found(
                    claim, leak["function"], expected, rank, len(claims)
                )
    leaked = sum(leak["bytes_per_term"] for leak in truth["leaks"]) * terms
    for claim in _order(claims):
        is_right = LEAST_SHARE * leaked <= (claim.size_bytes or 0) <= leaked / LEAST_SHARE
        if leaked and is_right and not name_own_function(claim.frames, source):
            amount = _tell_amount(claim)
            return term("seen"), term("It lists {amount}, and not which function's.", amount=amount)
    grown = _find_growth(report.totals)
    if grown is not None:
        said = _tell_leaked(_tell_growth(grown), leaked if grown.unit == "bytes" else 0)
        return term("seen"), term("It names nobody, but {growth}.", growth=said)
    return term("missed"), _tell_missed(report, claims, source)


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
        own = name_own_function(claim.frames, source) or term("a function that it can't name")
        said = term(
            "It lists {amount} of {function} ({kind}): in use.",
            amount=_tell_amount(claim),
            function=own,
            kind=claim.kind,
        )
        return term("false alarm"), said
    grown = _find_growth(totals)
    if grown is not None:
        return term("false alarm"), term("Nothing leaks, and {growth}.", growth=_tell_growth(grown))
    return term("quiet"), term("It complains of nothing.")


def _find_growth(totals: Sequence[ToolTotal]) -> ToolTotal | None:
    """Return the total that grew most, None where all are flat."""
    grown = [
        total
        for total in totals
        if total.growth >= (LEAST_GROWTH_BYTES if total.unit == "bytes" else 1)
    ]
    return max(grown, key=lambda each: each.growth, default=None)


def _tell_found(claim: ToolFinding, function: str, expected: float, rank: int, of: int) -> str:
    said: str = term(
        "It names {function}, with {amount}", function=function, amount=_tell_amount(claim)
    )
    said = _tell_leaked(said, expected if claim.size_bytes is not None else 0)
    if of > 1:
        said = term("{said}, number {rank} of {of} that it lists", said=said, rank=rank, of=of)
    return term("{said}.", said=said)


def _tell_leaked(said: str, size_bytes: float) -> str:
    """Return what was said with what really leaked beside it, unless that is 0."""
    if not size_bytes:
        return said
    return term("{said}; {amount} leaked", said=said, amount=format_size(size_bytes))


def _tell_missed(report: ToolReport, claims: Sequence[ToolFinding], source: str) -> str:
    if claims:
        most = _order(claims)[0]
        if own := name_own_function(most.frames, source):
            return term("It names {function}, which is not what leaks.", function=own)
        amount = _tell_amount(most)
        return term("It lists {amount}, with no function of the program.", amount=amount)
    listed = [each for each in report.findings if not each.is_complaint and each.size_bytes]
    if listed:
        most = _order(listed)[0]
        return term(
            "It lists {amount} as “{kind}”, and doesn't call it a leak.",
            amount=_tell_amount(most),
            kind=most.kind,
        )
    return term("It says nothing of it.")


def _tell_amount(finding: ToolFinding) -> str:
    if finding.size_bytes is None:
        return count_of(finding.blocks or 0, "file")
    size = format_size(finding.size_bytes)
    if finding.blocks is None:
        return size
    return term("{size} in {blocks}", size=size, blocks=count_of(finding.blocks, "block"))


def _tell_growth(total: ToolTotal) -> str:
    if total.unit == "files":
        return term(
            "{total} grew from {before:,} to {after:,}",
            total=total.name,
            before=total.before,
            after=total.after,
        )
    return term("{total} grew by {amount}", total=total.name, amount=format_size(total.growth))


def _find_lines(source: str, function: str) -> range:
    """Return the numbers of a function's lines; none where the source doesn't have it."""
    try:
        text = read_function(source, function)
    except AppError:
        return range(0)
    first = source.count("\n", 0, source.index(text)) + 1
    return range(first, first + text.count("\n") + 1)
