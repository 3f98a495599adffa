"""The work that a program does, as far as its output and its text tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lablib.grading.building import LEVELS
from lablib.grading.checks.failing import (
    Failed,
    NotChecked,
    describe_end,
    measure,
    quote,
    require_build,
)
from lablib.grading.evidence import Evidence
from lablib.grading.labs import ANSWERS, Check, read_letter
from lablib.grading.sandbox import Run
from lablib.language import term

_FETCH = re.compile(r"^fetched .+, fetch (\d+)$", re.MULTILINE)
_HITS = re.compile(r"^hits: (\d+) of (\d+)$", re.MULTILINE)


def check_builds(evidence: Evidence, check: Check) -> str:
    """It compiles."""
    for level in LEVELS:
        require_build(evidence, level)
    first, last = LEVELS
    if not evidence.lab.failing:
        return term("It builds at {first} and at {last}.", first=first, last=last)
    return term(
        "It builds at {first} and at {last}; some of its calls of {refused} will be refused.",
        first=first,
        last=last,
        refused=" and ".join(evidence.lab.failing),
    )


def check_same_output(evidence: Evidence, check: Check) -> str:
    """It does the same work, as far as its output tells."""
    terms = evidence.lab.terms
    for level in LEVELS:
        for count in (terms, 2 * terms, 4 * terms):
            where = term("at {level}", level=level)
            compare_output(evidence, measure(evidence, level, count).run, where, count)
    # Nor is the program another one where the sanitizer looks.
    sanitized = evidence.run_sanitized(terms)
    compare_output(evidence, sanitized, term("under AddressSanitizer"), terms)
    return term(
        "It prints the same as before, over {once:,}, {twice:,} and {often:,} terms.",
        once=terms,
        twice=2 * terms,
        often=4 * terms,
    )


def check_hit_rate(evidence: Evidence, check: Check) -> str:
    """What it remembers still serves.

    A hit is a term without a fetch. A companion of the lab prints each fetch, and numbers them, so
    that one which is not shown is missed.
    """
    terms, least = 4 * evidence.lab.terms, check.parameters["least_percent"]
    for level in LEVELS:
        output = measure(evidence, level, terms).run.output
        numbers = [int(number) for number in _FETCH.findall(output)]
        if numbers != list(range(1, len(numbers) + 1)):
            raise Failed(f"At {level} some fetches are not shown: their numbers have gaps.")
        hits = terms - len(numbers)
        told = next(reversed(_HITS.findall(output)), ("nothing", "nothing"))
        if told != (str(hits), str(terms)):
            raise Failed(
                f"At {level} it says that {told[0]} of {told[1]} were hits, but over {terms:,} "
                f"terms it fetched {len(numbers):,} times: {hits:,} were."
            )
        if 100 * hits < least * terms:
            raise Failed(
                f"At {level} {hits:,} of {terms:,} terms were hits, {100 * hits / terms:.1f} %: "
                f"the README asks for {least} % at least."
            )
    return f"{100 * hits / terms:.1f} % of {terms:,} terms were hits: {least} % are enough."


def check_unchanged(evidence: Evidence, check: Check) -> str:
    """Nothing was changed, comments and all."""
    change = _find_change(evidence)
    if change:
        raise Failed(term("{change}: there is nothing in it to mend.", change=change))
    return term("The program is as it was handed out.")


def check_decision(evidence: Evidence, check: Check) -> str:
    """It was changed where something leaks, and left alone where nothing does.

    To leave it alone is a decision only with its reason: the right answer to the question `kind`.
    """
    lab, change = evidence.lab, _find_change(evidence)
    question = next(each for each in lab.questions if each.name == "kind")
    letter = read_letter(evidence.submission.answers.get("kind") or "")
    is_leak = lab.truth and lab.truth["is_leak"]
    if lab.truth is None and (change or letter):
        raise NotChecked(term("whether there is something to mend, your instructor's copy knows."))
    if not change and (is_leak or letter != question.expected):
        raise Failed(
            term(
                "The program is as it was handed out. Mend it; or, if there is nothing to mend, "
                "say in {file} what kind of growth it is.",
                file=ANSWERS,
            )
        )
    if change and not is_leak:
        raise Failed(
            term(
                "{change}: there is nothing in it to mend, since what it holds has a limit.",
                change=change,
            )
        )
    if change:
        return term("{change}: there was something to mend.", change=change)
    return term("The program is as it was handed out: there is nothing in it to mend.")


def compare_output(evidence: Evidence, run: Run, where: str, terms: int) -> None:
    """Fail unless a run did the work of the program as it was handed out, by its output."""
    if run.exit_code != 0 or run.ended_by != "itself":
        raise Failed(
            term(
                "Over {terms:,} terms, {where}, it {end}.",
                terms=terms,
                where=where,
                end=describe_end(run),
            )
        )
    expected, may_differ = evidence.expect_output(terms), evidence.lab.may_differ
    if run.output == expected:
        return
    wanted, got = (
        [line for line in text.splitlines() if not line.startswith(may_differ)]
        for text in (expected, run.output)
    )
    if wanted == got:
        return
    number = next(_find_differences(wanted, got), min(len(wanted), len(got)))
    was, is_now = (
        quote(lines[number]) if number < len(lines) else term("nothing") for lines in (wanted, got)
    )
    raise Failed(
        term(
            "Not the same work {where}, over {terms:,} terms: line {number} of the output was "
            "{was}, and is {is_now}.",
            where=where,
            terms=terms,
            number=number + 1,
            was=was,
            is_now=is_now,
        )
    )


def _find_change(evidence: Evidence) -> str:
    """Return that the program was changed, and where, "" where it is as it was handed out."""
    handed_out = evidence.lab.read_source()
    submitted = evidence.submission.source.decode(errors="replace")
    if handed_out.split() == submitted.split():
        return ""
    lines = zip(handed_out.splitlines(), submitted.splitlines(), strict=False)
    number = next((n for n, (a, b) in enumerate(lines, 1) if a.split() != b.split()), 0)
    if not number:
        return term("The program was changed")
    return term("The program was changed (line {number} is the first)", number=number)


def _find_differences(wanted: list[str], got: list[str]) -> Iterator[int]:
    for number, (one, other) in enumerate(zip(wanted, got, strict=False)):
        if one != other:
            yield number
