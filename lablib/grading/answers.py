"""The answers to a lab's questions, judged: by the key, or by what was measured."""

from __future__ import annotations

import re
from typing import Any

from lablib.errors import GradingError
from lablib.grading.building import LEVELS
from lablib.grading.checks.failing import NotChecked
from lablib.grading.evidence import Evidence
from lablib.grading.labs import ANSWERS, NEVER, Lab, Question, Rate, read_letter
from lablib.grading.measuring import NOT_TRACED, Measurement
from lablib.language import term
from lablib.records import Finding
from lablib.wording import make_printable

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_WORD = re.compile(r"[\u3400-\u9fff]|[^\s\u3400-\u9fff]*\w[^\s\u3400-\u9fff]*")
"""Chinese has no spaces between its words: there each character counts."""
_SHOWN_LETTERS = 40


def check_answers(evidence: Evidence) -> list[Finding]:
    """Return a finding for each question of the lab."""
    return [_check_answer(question, evidence) for question in evidence.lab.questions]


def skip_answers(lab: Lab) -> list[Finding]:
    """Return the findings for questions that are about a program as it was handed out."""
    reason = term("Not looked at: the questions are about the program as it was handed out.")
    return [
        Finding(f"question {each.name}", "skipped", reason, 0, each.points)
        for each in lab.questions
    ]


def _check_answer(question: Question, evidence: Evidence) -> Finding:
    name, submission = f"question {question.name}", evidence.submission
    answer = submission.answers.get(question.name)
    if answer in (None, ""):
        reason = submission.complaint or term(
            "{file} has no answer to {question}", file=ANSWERS, question=question.name
        )
        sentence = term("No answer: {reason}.", reason=reason)
        return Finding(name, "failed", sentence, 0, question.points)
    if question.expected is None:
        reason = term("Not checked: your instructor's copy has the answers.")
        return Finding(name, "unchecked", reason, 0, question.points)
    try:
        problem = _find_problem(question, answer, evidence)
    except NotChecked as refusal:
        sentence = term("Not checked: {reason}", reason=refusal.sentence)
        return Finding(name, "unchecked", sentence, 0, question.points)
    if problem:
        return Finding(name, "failed", problem, 0, question.points)
    sentence = term("Right.")
    if question.least_words:
        sentence = term(
            "It is there. Whether it is good, a person must judge: nobody has read it here."
        )
    return Finding(name, "passed", sentence, question.points, question.points)


def _find_problem(question: Question, answer: Any, evidence: Evidence) -> str:
    """Return why an answer is wrong, in a way that teaches; "" for a right one."""
    if question.choices:
        return _find_problem_of_choice(question, answer)
    if question.is_name or question.least_words:
        if not isinstance(answer, str):
            return term(
                "{file} must give a text for {question}, between quotation marks.",
                file=ANSWERS,
                question=question.name,
            )
        find = _find_problem_of_text if question.least_words else _find_problem_of_name
        return find(question, answer)
    return _find_problem_of_number(question, answer, evidence)


def _find_problem_of_choice(question: Question, answer: Any) -> str:
    letter = read_letter(answer)
    if letter not in question.choices:
        return term(
            "{answer} is none of {letters}.",
            answer=_show(str(answer)),
            letters=", ".join(question.choices),
        )
    if letter == question.expected:
        return ""
    told = question.feedback.get(letter)
    return term(told) if told else term("That is not so.")


def _find_problem_of_name(question: Question, answer: str) -> str:
    """A name may be written with what belongs to a call of it."""
    name = answer.strip().removesuffix(";").removesuffix("()").strip()
    if not _NAME.fullmatch(name):
        return term(
            "{answer} is not a name: one is asked for, such as leaky_run.", answer=_show(answer)
        )
    if name in _list_names(question):
        return ""
    told = question.feedback.get("wrong")
    return term(told) if told else term("It is not {name}.", name=_show(name))


def _find_problem_of_text(question: Question, answer: str) -> str:
    words, names = _WORD.findall(answer), _list_names(question)
    if len(words) < question.least_words:
        return term(
            "{count} words are too few: write {least} or more, for somebody who was not there.",
            count=len(words),
            least=question.least_words,
        )
    if names and not set(names) & set(_NAME.findall(answer)):
        return term(
            "It does not name the function that question function asks for: its reader must."
        )
    return ""


def _find_problem_of_number(question: Question, answer: Any, evidence: Evidence) -> str:
    expected = question.expected
    right = _measure(evidence, expected) if isinstance(expected, (str, Rate)) else expected
    says_never = isinstance(answer, str) and answer.strip().lower() == NEVER
    if says_never or right == NEVER:
        if says_never and right == NEVER:
            return ""
        is_number = isinstance(answer, (int, float)) and not isinstance(answer, bool)
        if says_never or is_number:
            return term(question.feedback["never" if says_never else "number"])
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        or_never = term(', or "never"') if question.may_be_never else ""
        return term(
            "{file} must give a plain number for {question}, such as 12.5{or_never}.",
            file=ANSWERS,
            question=question.name,
            or_never=or_never,
        )
    assert isinstance(right, (int, float))
    if abs(answer - right) <= abs(right) * question.tolerance:
        return ""
    told = question.feedback.get("wrong")
    return term(told) if told else term("That number is not what is measured.")


def _measure(evidence: Evidence, wanted: str | Rate) -> float | str:
    """Return a rate, a quantity, or `NEVER`; raises `NotChecked` where nobody could look.

    A quantity is of the submission at the end of 4N terms, which is as it was handed out in the
    labs that ask: `live_bytes` is what malloc has given out by the tracer's account, the others are
    the kernel's. Of the program as it was handed out are the rates and, run as its users run it,
    `oom_seconds` until it is killed for want of memory, and `peak_rss_bytes`, its largest resident
    set if it is not.
    """
    if isinstance(wanted, Rate):
        before, after = (
            _read_quantity(evidence.measure_handed_out(terms), wanted.quantity)
            for terms in wanted.terms
        )
        return (after - before) / (wanted.terms[1] - wanted.terms[0])
    if wanted in ("oom_seconds", "peak_rss_bytes"):
        return _measure_exhaustion(evidence, wanted)
    return _read_quantity(evidence.measure(LEVELS[-1], 4 * evidence.lab.terms), wanted)


def _read_quantity(measurement: Measurement, quantity: str) -> float:
    """Return what there was of it as the program was about to end; raises `NotChecked`."""
    trace = measurement.trace
    if quantity != "live_bytes":
        value: float | None = getattr(measurement.at_exit, quantity, None)
    elif trace is None or not trace.is_complete:
        value = None
    else:
        value = sum(usage.live_bytes for usage in trace.snapshots[-1].stacks)
    if value is None:
        raise NotChecked(term("it could not be measured here."))
    return value


def _measure_exhaustion(evidence: Evidence, quantity: str) -> float | str:
    service = evidence.lab.service
    assert service is not None, "a lab that asks for it says how its program is run"
    try:
        fared = evidence.exhaust_handed_out(service)
    except (*NOT_TRACED, GradingError) as error:
        raise NotChecked(
            term("it could not be run under its limit here ({error}).", error=error.sentence)
        ) from None
    if quantity == "oom_seconds":
        return fared.terms / service.rate if fared.is_killed else NEVER
    return NEVER if fared.peak_rss_bytes is None else fared.peak_rss_bytes


def _list_names(question: Question) -> tuple[str, ...]:
    return question.expected if isinstance(question.expected, tuple) else ()


def _show(answer: str) -> str:
    return f'"{make_printable(answer)[:_SHOWN_LETTERS]}"'
