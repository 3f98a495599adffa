"""What every check needs: how it fails, and a run that has ended well."""

from __future__ import annotations

import signal

from lablib.grading.evidence import Evidence
from lablib.grading.limits import TOTAL_BYTES
from lablib.grading.measuring import Measurement
from lablib.grading.sandbox import Run
from lablib.wording import make_printable

_MAX_LINE = 60

_LIMITS = {
    "output": "printed without end",
    "memory": f"took more than the {TOTAL_BYTES >> 20} MiB of memory that all of it may have",
    "disk": "filled the room that it has for files",
    "processes": "had too many processes and threads at one time",
}
"""What ended a run -> what it did, in words that follow "it"."""


class Failed(Exception):
    """What a check found wrong, as a sentence."""


class NotChecked(Exception):
    """Why a check could not be made, as a sentence."""


def require_build(evidence: Evidence, level: str) -> None:
    """Fail unless the submission builds at this level."""
    built = evidence.build(level)
    if not built.is_built:
        raise Failed(f"It does not build at {level}: {make_printable(built.complaint)}.")


def measure(evidence: Evidence, level: str, terms: int) -> Measurement:
    """Return what was seen of a run; fail unless the program ended by itself, and well."""
    require_build(evidence, level)
    measurement = evidence.measure(level, terms)
    run = measurement.run
    if run.exit_code != 0 or run.ended_by != "itself":
        raise Failed(f"At {level}, over {terms:,} terms, it {describe_end(run)}.")
    if measurement.has_executed:
        raise Failed(f"At {level} it became another program: its own work is what is looked at.")
    return measurement


def describe_end(run: Run) -> str:
    """Return how a run ended that should not have, in words that follow "it"."""
    if run.ended_by == "time":
        return f"still ran after {run.seconds:.0f} s, and was ended"
    if run.ended_by in _LIMITS:
        return f"{_LIMITS[run.ended_by]}, and was ended"
    said = run.errors.strip().splitlines()
    saying = f', and said "{shorten(said[-1])}"' if said else ""
    if run.exit_code < 0:
        return f"was ended by {_name_signal(-run.exit_code)}{saying}"
    return f"ended with exit code {run.exit_code}{saying}"


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
    text = make_printable(line)
    return text if len(text) <= most else text[: most - 3] + "..."
