"""What outlives a program: shared memory and files, after an ordinary end and after a crash."""

from __future__ import annotations

import secrets

from lablib.grading.building import LEVELS
from lablib.grading.checks.failing import Failed, NotChecked, require_build
from lablib.grading.checks.output import compare_output
from lablib.grading.evidence import Evidence
from lablib.grading.labs import Check
from lablib.grading.leftovers import Aftermath
from lablib.wording import count_of, make_printable

_CRASHES = 2
_LOOKS = 3
"""A program that prints a few pages is looked at so often before it can have ended."""


def check_nothing_left(evidence: Evidence, check: Check) -> str:
    """Nothing is left when it has ended, nor when it was killed at a moment that nobody knows."""
    level, terms = LEVELS[-1], 4 * evidence.lab.terms
    require_build(evidence, level)
    ended = evidence.look_back(level, terms)
    compare_output(evidence, ended.run, f"at {level}", terms)
    _require_nothing(ended, f"When it has ended, after {terms:,} terms,")
    for _ in range(_CRASHES):
        crashed = evidence.look_back(level, terms, kill_at=1 + secrets.randbelow(_LOOKS))
        if crashed.run.exit_code == 0:
            raise NotChecked("it prints too little to be killed in the middle of its work.")
        lines = crashed.run.output.count("\n")
        _require_nothing(crashed, f"Killed (kill -9) in its work, after {count_of(lines, 'line')},")
    restarted = evidence.look_back(level, terms)
    compare_output(evidence, restarted.run, "when it is started again after that", terms)
    _require_nothing(restarted, "When it was killed, started again and has ended,")
    return "Nothing is left behind, neither at its end nor when it is killed in its work."


def _require_nothing(aftermath: Aftermath, when: str) -> None:
    if not aftermath.leftovers:
        return
    first, *others = aftermath.leftovers
    more = f", and {len(others)} more" if others else ""
    raise Failed(
        f"{when} there still is {make_printable(first.name)}, {first.size_bytes:,} bytes{more}: "
        "it outlives the program."
    )
