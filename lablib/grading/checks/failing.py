"""What every check needs: how it fails, and a run that has ended well."""

from __future__ import annotations

import re
import signal

from lablib.grading.evidence import Evidence
from lablib.grading.limits import TOTAL_BYTES
from lablib.grading.measuring import Measurement
from lablib.grading.sandbox import Run
from lablib.language import term
from lablib.wording import make_printable

_MAX_LINE = 60

_LIMITS = {
    "output": term("printed without end"),
    "memory": term(
        "took more than the {mib} MiB of memory that all of it may have", mib=TOTAL_BYTES >> 20
    ),
    "disk": term("filled the room that it has for files"),
    "processes": term("had too many processes and threads at one time"),
}
"""What ended a run -> what it did, in words that follow "it"."""

_SANITIZER_LIMIT = re.compile(r"hard rss limit exhausted \((\d+)Mb")
"""AddressSanitizer looks ten times a second: a fast program meets the limit of the group first."""


class Refusal(Exception):
    """Why a check was not passed, as a `sentence`, which may be a `term`."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class Failed(Refusal):
    """What a check found wrong."""


class NotChecked(Refusal):
    """Why a check could not be made."""


def require_build(evidence: Evidence, level: str) -> None:
    """Fail unless the submission builds at this level."""
    built = evidence.build(level)
    if not built.is_built:
        complaint = make_printable(built.complaint)
        raise Failed(
            term("It does not build at {level}: {complaint}.", level=level, complaint=complaint)
        )


def measure(evidence: Evidence, level: str, terms: int) -> Measurement:
    """Return what was seen of a run; fail unless the program ended by itself, and well."""
    require_build(evidence, level)
    measurement = evidence.measure(level, terms)
    run = measurement.run
    if run.exit_code != 0 or run.ended_by != "itself":
        raise Failed(
            term(
                "At {level}, over {terms:,} terms, it {end}.",
                level=level,
                terms=terms,
                end=describe_end(run),
            )
        )
    if measurement.has_executed:
        raise Failed(
            term(
                "At {level} it became another program: its own work is what is looked at.",
                level=level,
            )
        )
    return measurement


def describe_end(run: Run) -> str:
    """Return how a run ended that should not have, in words that follow "it"."""
    if run.ended_by == "time":
        return term("still ran after {seconds:.0f} s, and was ended", seconds=run.seconds)
    if run.ended_by in _LIMITS:
        return term("{excess}, and was ended", excess=_LIMITS[run.ended_by])
    said = _find_last_words(run.errors)
    if limit := _SANITIZER_LIMIT.match(said):
        return term(
            "took more than the {mib} MiB of memory that it may have, and was ended", mib=limit[1]
        )
    saying = term(", and said {words}", words=quote(said)) if said else ""
    if run.exit_code < 0:
        name = _name_signal(-run.exit_code)
        return term("was ended by {signal}{saying}", signal=name, saying=saying)
    return term("ended with exit code {code}{saying}", code=run.exit_code, saying=saying)


def _find_last_words(errors: str) -> str:
    """Return the line that says why a program ended: the last, but for AddressSanitizer's.

    That one says it first, and lists addresses and mappings after it.
    """
    lines = errors.strip().splitlines()
    reasons = (line.partition("AddressSanitizer: ") for line in lines)
    return next((reason for _, name, reason in reasons if name), lines[-1] if lines else "")


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def quote(line: str) -> str:
    """Return a line of output between quotation marks, shortened, with nothing to interpret."""
    return f'"{shorten(line)}"'


def shorten(line: str, most: int = _MAX_LINE) -> str:
    """Return a submission's own words, shortened, with nothing to interpret."""
    text = line if line.isprintable() else make_printable(line)
    return text if len(text) <= most else text[: most - 3] + "..."
