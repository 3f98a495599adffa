"""The checks that a lab may ask for: each takes the evidence, and says what it found.

    builds              the program compiles, at -O0 and at -O2
    same_output         it prints what the program as handed out prints, over N, 2N and 4N terms
    given_back_once     no term gives back a file or a mapping (`what`) that is given back already
    flat_heap           live bytes are the same after 2N and 4N terms, and never pile up between
    hit_rate            what it remembers still serves: few of its terms have to fetch
    flat_kernel         so is what the kernel counts (`what`), as the program is about to end
    left_alone          it takes as much address space as the program as handed out: nothing is
                        "mended" that was no leak
    static_room         its globals and statics are hardly larger than as handed out
    flat_unwatched      and so is its resident set, or `what`, in the middle of a run that no tracer
                        looks at
    nothing_left        shared memory and files are gone when it has ended, killed or not, and it
                        does the same when it is started again
    no_memory_errors    AddressSanitizer finds no error
    unchanged           the program is the one that was handed out
    decision            it is that one where nothing leaks, for the right reason, else another
    questions           the answers, each for its own points

A check that can't be made here is unchecked: it never passes for want of a look.
"""

from __future__ import annotations

from collections.abc import Callable

from lablib.grading.checks.failing import Failed, NotChecked, shorten
from lablib.grading.checks.given_back import check_given_back_once
from lablib.grading.checks.heap import check_flat_heap
from lablib.grading.checks.kernel import (
    check_flat_kernel,
    check_flat_unwatched,
    check_left_alone,
    check_static_room,
)
from lablib.grading.checks.leftovers import check_nothing_left
from lablib.grading.checks.output import (
    check_builds,
    check_decision,
    check_hit_rate,
    check_same_output,
    check_unchanged,
)
from lablib.grading.checks.sanitizer import check_no_memory_errors
from lablib.grading.evidence import Evidence
from lablib.grading.labs import Check
from lablib.language import term
from lablib.records import Finding

_MAX_SENTENCE = 400

CHECKS: dict[str, Callable[[Evidence, Check], str]] = {
    "builds": check_builds,
    "same_output": check_same_output,
    "given_back_once": check_given_back_once,
    "flat_heap": check_flat_heap,
    "hit_rate": check_hit_rate,
    "flat_kernel": check_flat_kernel,
    "flat_unwatched": check_flat_unwatched,
    "left_alone": check_left_alone,
    "static_room": check_static_room,
    "nothing_left": check_nothing_left,
    "no_memory_errors": check_no_memory_errors,
    "unchanged": check_unchanged,
    "decision": check_decision,
}
"""Each kind of check, but for the questions: these are in answers.py."""


def run_check(check: Check, evidence: Evidence) -> Finding:
    """Return what one check found."""
    try:
        sentence = CHECKS[check.kind](evidence, check)
        return Finding(check.kind, "passed", sentence, check.points, check.points)
    except Failed as found:
        return Finding(
            check.kind, "failed", shorten(found.sentence, _MAX_SENTENCE), 0, check.points
        )
    except NotChecked as refusal:
        sentence = term("Not checked: {reason}", reason=refusal.sentence)
        return Finding(check.kind, "unchecked", sentence, 0, check.points)
