"""The answers to a lab's questions, judged: by the key, or by what was measured."""

from __future__ import annotations

from typing import Any

from lablib.grading.building import LEVELS
from lablib.grading.evidence import Evidence
from lablib.grading.labs import ANSWERS, Lab, Question, Rate
from lablib.grading.measuring import Measurement
from lablib.records import Finding
from lablib.wording import make_printable


def check_answers(evidence: Evidence) -> list[Finding]:
    """Return a finding for each question of the lab."""
    return [_check_answer(question, evidence) for question in evidence.lab.questions]


def skip_answers(lab: Lab) -> list[Finding]:
    """Return the findings for questions that are about a program as it was handed out."""
    reason = "Not looked at: the questions are about the program as it was handed out."
    return [
        Finding(f"question {each.name}", "skipped", reason, 0, each.points)
        for each in lab.questions
    ]


def _check_answer(question: Question, evidence: Evidence) -> Finding:
    name, submission = f"question {question.name}", evidence.submission
    answer = submission.answers.get(question.name)
    if answer in (None, ""):
        reason = submission.complaint or f"{ANSWERS} has no answer to {question.name}"
        return Finding(name, "failed", f"No answer: {reason}.", 0, question.points)
    expected = question.expected
    if expected is None:
        reason = "Not checked: your instructor's copy has the answers."
        return Finding(name, "unchecked", reason, 0, question.points)
    if isinstance(expected, Rate) or (isinstance(expected, str) and not question.choices):
        measured = _measure(evidence, expected)
        if measured is None:
            reason = "Not checked: it could not be measured here."
            return Finding(name, "unchecked", reason, 0, question.points)
        expected = measured
    problem = _find_problem(question, answer, expected)
    if problem:
        return Finding(name, "failed", problem, 0, question.points)
    return Finding(name, "passed", "Right.", question.points, question.points)


def _measure(evidence: Evidence, wanted: str | Rate) -> float | None:
    """Return a quantity of the submission at the end of 4N terms, or a rate of what was handed out.

    None where nobody could look.
    """
    if isinstance(wanted, str):
        return _read_quantity(evidence.measure(LEVELS[-1], 4 * evidence.lab.terms), wanted)
    before, after = (
        _read_quantity(evidence.measure_handed_out(terms), wanted.quantity)
        for terms in wanted.terms
    )
    if before is None or after is None:
        return None
    return (after - before) / (wanted.terms[1] - wanted.terms[0])


def _read_quantity(measurement: Measurement, quantity: str) -> float | None:
    """Return what there was of it at the end: `live_bytes` by the tracer, else by the kernel."""
    if quantity == "live_bytes":
        trace = measurement.trace
        if trace is None or not trace.is_complete:
            return None
        return sum(usage.live_bytes for usage in trace.snapshots[-1].stacks)
    return getattr(measurement.at_exit, quantity, None)


def _find_problem(question: Question, answer: Any, expected: str | float) -> str:
    """Return why an answer is wrong, in a way that teaches; "" for a right one."""
    if question.choices:
        letter = str(answer).strip().upper()
        if letter not in question.choices:
            letters = ", ".join(question.choices)
            return f'"{make_printable(str(answer))[:40]}" is none of {letters}.'
        if letter == expected:
            return ""
        return question.feedback.get(letter, "That is not so.")
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        return f"{ANSWERS} must give a plain number for {question.name}, such as 12.5."
    right = float(expected)
    if abs(answer - right) <= abs(right) * question.tolerance:
        return ""
    return question.feedback.get("wrong", "That number is not what is measured.")
