"""What a submission was found to do, and the points for it."""

from __future__ import annotations

from dataclasses import dataclass

FINDING_STATES = ("passed", "failed", "skipped", "unchecked")
"""What can come of one check.

It is skipped where one before it failed. What this machine can't look at is unchecked: it never
passes.
"""


@dataclass(frozen=True)
class Finding:
    """What one check of a submission found.

    `check` is its name, `state` one of `FINDING_STATES`, and `sentence` the diagnosis: what was
    seen, with function and line where they are known, or why nothing was looked at. `points` are
    0 unless it passed.
    """

    check: str
    state: str
    sentence: str
    points: float
    possible: float


@dataclass(frozen=True)
class GradeReport:
    """A submission, judged: its findings in the order of the lab's checks, and a hint.

    `student` is "" where nobody was named. `hint` is for the first finding that failed, "" where
    none did.
    """

    lab: str
    student: str
    findings: tuple[Finding, ...]
    hint: str = ""

    @property
    def points(self) -> float:
        """Points for what passed."""
        return sum(finding.points for finding in self.findings)

    @property
    def possible(self) -> float:
        """Points that could be had, the unchecked ones too."""
        return sum(finding.possible for finding in self.findings)

    @property
    def unchecked(self) -> float:
        """Points that nobody could give or refuse here."""
        return sum(each.possible for each in self.findings if each.state == "unchecked")

    @property
    def has_passed(self) -> bool:
        """Whether nothing failed, and something was looked at."""
        states = {finding.state for finding in self.findings}
        return "failed" not in states and "passed" in states


RESULT_STATES = ("passed", "failed", "unchecked", "could not be judged")
"""What can come of one submission of a class."""


@dataclass(frozen=True)
class ClassResult:
    """What came of one student's submission of a lab, and how many seconds that took.

    `report` is None where it could not be judged, for the reason in `problem`.
    """

    student: str
    lab: str
    report: GradeReport | None
    problem: str
    seconds: float

    @property
    def state(self) -> str:
        """One of `RESULT_STATES`; it has not passed while something is unchecked."""
        if self.report is None:
            return "could not be judged"
        states = {finding.state for finding in self.report.findings}
        return next((each for each in ("failed", "unchecked") if each in states), "passed")

    @property
    def first_failed(self) -> Finding | None:
        """The first finding that failed, else the first that is unchecked, None without one."""
        findings = self.report.findings if self.report else ()
        return next((each for each in findings if each.state == self.state != "passed"), None)
