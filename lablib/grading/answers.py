"""The answers to a lab's questions, judged: by the key, or by what was measured."""

from __future__ import annotations

from typing import Any

from lablib.grading.evidence import Evidence
from lablib.grading.labs import ANSWERS, Question
from lablib.records import Finding
from lablib.wording import make_printable


def check_answers(evidence: Evidence) -> list[Finding]:
    """Return a finding for each question of the lab."""
    submission = evidence.submission
    return [
        _check_answer(question, submission.answers.get(question.name), submission.complaint)
        for question in evidence.lab.questions
    ]


def _check_answer(question: Question, answer: Any, complaint: str) -> Finding:
    name = f"question {question.name}"
    if answer in (None, ""):
        reason = complaint or f"{ANSWERS} has no answer to {question.name}"
        return Finding(name, "failed", f"No answer: {reason}.", 0, question.points)
    problem = _find_problem(question, answer)
    if problem:
        return Finding(name, "failed", problem, 0, question.points)
    return Finding(name, "passed", "Right.", question.points, question.points)


def _find_problem(question: Question, answer: Any) -> str:
    """Return why an answer is wrong, in a way that teaches; "" for a right one."""
    if question.choices:
        letter = str(answer).strip().upper()
        if letter not in question.choices:
            letters = ", ".join(question.choices)
            return f'"{make_printable(str(answer))[:40]}" is none of {letters}.'
        if letter == question.expected:
            return ""
        return question.feedback.get(letter, "That is not so.")
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        return f"{ANSWERS} must give a plain number for {question.name}, such as 12.5."
    expected = float(question.expected)
    if abs(answer - expected) <= abs(expected) * question.tolerance:
        return ""
    return question.feedback.get("wrong", "That number is not what is measured.")
