"""A judged submission, as the JSON document of `./lab check --json` and as a page for people."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lablib.grading.labs import Lab
from lablib.language import Said, say_in_all, term
from lablib.records import Finding, GradeReport

PROGRESS = "checking: "
"""What a line of the command's standard error begins with that says how far it is."""

STATE_WORDS = {
    "passed": term("passed"),
    "failed": term("failed"),
    "skipped": term("skipped"),
    "unchecked": term("unchecked"),
}
"""What a reader is told that came of a check."""

CHECK_WORDS = {
    "builds": term("builds"),
    "same_output": term("same output"),
    "given_back_once": term("given back once"),
    "flat_heap": term("flat heap"),
    "hit_rate": term("hit rate"),
    "flat_kernel": term("flat kernel"),
    "left_alone": term("left alone"),
    "static_room": term("static room"),
    "flat_unwatched": term("flat unwatched"),
    "nothing_left": term("nothing left"),
    "no_memory_errors": term("no memory errors"),
    "unchanged": term("unchanged"),
    "decision": term("decision"),
    "questions": term("questions"),
}
"""What a reader is told that a check is called."""

QUESTION = "question "
"""What the name of a finding about an answer begins with."""

_MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "skipped": (" ", "dim"),
    "unchecked": ("?", "yellow"),
}


def describe_report(report: GradeReport) -> dict[str, Any]:
    """Return the document of `./lab check --json`.

    `others` of a finding, and `hint_others`, are the sentence in other languages, by their locales.
    """
    return {
        **dataclasses.asdict(report),
        "findings": [
            {**dataclasses.asdict(each), "others": _list_others(each.sentence)}
            for each in report.findings
        ],
        "hint_others": _list_others(report.hint),
        "points": report.points,
        "possible": report.possible,
        "unchecked": report.unchecked,
        "has_passed": report.has_passed,
    }


def _list_others(text: str) -> dict[str, str]:
    return dict(say_in_all(lambda: text).others)


def read_report(document: dict[str, Any]) -> GradeReport:
    """Return the report that a document of `./lab check --json` holds."""
    names = [field.name for field in dataclasses.fields(Finding)]
    findings = (
        Finding(
            **{
                **{name: each[name] for name in names},
                "sentence": Said(each["sentence"], each.get("others", {})),
            }
        )
        for each in document["findings"]
    )
    hint = Said(document.get("hint", ""), document.get("hint_others", {}))
    return GradeReport(document["lab"], document["student"], tuple(findings), hint)


def name_check(check: str) -> str:
    """Return what a reader is told that a finding is about, by the name of its check."""
    if check.startswith(QUESTION):
        return term("question {name}", name=check.removeprefix(QUESTION))
    return CHECK_WORDS.get(check, check.replace("_", " "))


def render_report(lab: Lab, report: GradeReport) -> RenderableType:
    """Return a page: what was found, check by check, the points, and a hint."""
    who = f", {report.student}" if report.student else ""
    parts: list[RenderableType] = [Text(f"{lab.title} ({lab.name}{who})", "bold")]
    parts += [_render_finding(finding) for finding in report.findings]
    points = f"{report.points:g} of {report.possible:g} points"
    left = f"; {report.unchecked:g} could not be given or refused here" if report.unchecked else ""
    parts.append(Text(f"{points}{left}", "bold green" if report.has_passed else "bold"))
    if report.hint:
        parts.append(Text(f"Hint: {report.hint}", "cyan"))
    return Group(*parts)


def _render_finding(finding: Finding) -> Text:
    mark, style = _MARKS[finding.state]
    worth = f"  ({finding.points:g} of {finding.possible:g})" if finding.possible else ""
    return Text.assemble((f"{mark} {finding.state:<9} ", style), f"{finding.sentence}{worth}")
