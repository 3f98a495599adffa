"""A judged submission, as the JSON document of `./lab check --json` and as a page for people."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lablib.grading.labs import Lab
from lablib.records import Finding, GradeReport

PROGRESS = "checking: "
"""What a line of the command's standard error begins with that says how far it is."""

_MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "skipped": (" ", "dim"),
    "unchecked": ("?", "yellow"),
}


def describe_report(report: GradeReport) -> dict[str, Any]:
    """Return the document of `./lab check --json`."""
    return {
        **dataclasses.asdict(report),
        "points": report.points,
        "possible": report.possible,
        "unchecked": report.unchecked,
        "has_passed": report.has_passed,
    }


def read_report(document: dict[str, Any]) -> GradeReport:
    """Return the report that a document of `./lab check --json` holds."""
    names = [field.name for field in dataclasses.fields(Finding)]
    findings = (Finding(**{name: each[name] for name in names}) for each in document["findings"])
    return GradeReport(
        document["lab"], document["student"], tuple(findings), document.get("hint", "")
    )


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
