"""Judge a submission of a lab: look at it, check by check, and say what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lablib.grading.answers import check_answers, skip_answers
from lablib.grading.checks import run_check
from lablib.grading.evidence import Evidence
from lablib.grading.labs import Check, Lab
from lablib.grading.limits import Limits
from lablib.grading.page import name_check
from lablib.grading.sandbox import require_sandbox
from lablib.grading.submissions import read_submission
from lablib.language import term
from lablib.records import Finding, GradeReport


def judge_submission(
    lab: Lab,
    folder: Path,
    student: str = "",
    hint: int = 0,
    on_check: Callable[[str], object] = lambda name: None,
) -> GradeReport:
    """Return what the submission in `folder` does, and the points for it.

    The checks are made in their order, up to the first that fails: a program that does other work,
    or writes where it must not, has no points for what else it does. Nor has one that grows only
    while nobody looks, has room for as long as it is tried, or gives all back when it ends.

    With `hint`, 1 to 3, the report has a hint for what failed first, the more telling the higher.
    `on_check` is told the name of each check before it is made. Raises `GradingError` where there
    is no submission, and it and `ToolMissingError` where none can be run safely.
    """
    require_sandbox()
    submission = read_submission(lab, folder)
    findings: list[Finding] = []
    with Evidence(lab, submission, Limits(may_fork=lab.may_fork)) as evidence:
        for check in lab.checks:
            failed = next((each for each in findings if each.state == "failed"), None)
            if failed:
                findings.append(_skip(check, failed))
                continue
            on_check(check.kind)
            findings.append(run_check(check, evidence))
        if any(_is_told_apart(each) for each in findings):
            findings = [replace(each, points=0) for each in findings]
        on_check("questions")
        if any(each.check == "unchanged" and each.state != "passed" for each in findings):
            findings += skip_answers(lab)
        else:
            findings += check_answers(evidence)
    return GradeReport(lab.name, student, tuple(findings), _choose_hint(lab, findings, hint))


def _choose_hint(lab: Lab, findings: Sequence[Finding], level: int) -> str:
    failed = next((finding.check for finding in findings if finding.state == "failed"), "")
    hints = lab.hints.get(failed, ())
    return term(hints[min(level, len(hints)) - 1]) if level and hints else ""


def _is_told_apart(finding: Finding) -> bool:
    """Whether it did better only where, or as long as, it was tried: that counts for nothing."""
    return finding.check in ("static_room", "flat_unwatched") and finding.state == "failed"


def _skip(check: Check, failed: Finding) -> Finding:
    reason = term("Not looked at: first mend what {check} found.", check=name_check(failed.check))
    return Finding(check.kind, "skipped", reason, 0, check.points)
