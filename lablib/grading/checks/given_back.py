"""What a program gives back that it has given back already, by the notes of labs/noting.c.

The kernel refuses to close such a file, and nothing is unmapped where nothing is mapped: no harm
is seen until its number, or its address, is somebody else's.
"""

from __future__ import annotations

from lablib.grading.building import LEVELS
from lablib.grading.checks.failing import Failed, NotChecked, measure
from lablib.grading.evidence import Evidence
from lablib.grading.labs import Check
from lablib.grading.measuring import Measurement

_WORDS = {
    "files": ("closes a file that is closed already", "its number"),
    "mappings": ("unmaps what is unmapped already", "the address"),
}
"""What is given back -> what is wrong with it, and by what something else is hit."""


def check_given_back_once(evidence: Evidence, check: Check) -> str:
    """No term gives back what is given back already.

    What happens as often in a longer run is no term's: a program may close all numbers at its end.
    """
    terms, (wrong, hit) = evidence.lab.terms, _WORDS[check.parameters["what"]]
    for level in LEVELS:
        twice, four_times = (measure(evidence, level, n * terms) for n in (2, 4))
        more = _count(four_times) - _count(twice)
        if more > 0:
            by = four_times.notes.again_by if four_times.notes else ""
            often = "once" if more == 2 * terms else f"{more / 2 / terms:,.2f} times"
            raise Failed(
                f"At {level} {by or 'it'} {wrong}, {often} a term: by then {hit} may be "
                "somebody else's."
            )
    return "Nothing is given back twice."


def _count(measurement: Measurement) -> int:
    if measurement.notes is None:
        raise NotChecked("the program's end could not be looked at.")
    return measurement.notes.again
