"""What AddressSanitizer and UBSan find."""

from __future__ import annotations

import re

from lablib.grading.building import SANITIZED
from lablib.grading.checks.failing import Failed, describe_end, require_build
from lablib.grading.evidence import Evidence
from lablib.grading.labs import Check
from lablib.language import term

_ASAN_ERROR = re.compile(r"SUMMARY: AddressSanitizer: ([\w-]+)")
_UBSAN_ERROR = re.compile(r"^(\S+?:\d+):\d+: runtime error: (.+)$", re.MULTILINE)
_ASAN_FRAME = re.compile(r"^\s*#\d+ \S+ in (\S+) (\S+?):(\d+)", re.MULTILINE)


def check_no_memory_errors(evidence: Evidence, check: Check) -> str:
    """AddressSanitizer and UBSan find nothing."""
    require_build(evidence, SANITIZED)
    run = evidence.run_sanitized(evidence.lab.terms)
    undefined = _UBSAN_ERROR.search(run.errors)
    if undefined:
        raise Failed(f"UndefinedBehaviorSanitizer: {undefined[2]} ({undefined[1]}).")
    error = _ASAN_ERROR.search(run.errors)
    if error:
        frames = _ASAN_FRAME.findall(run.errors)
        own = [frame for frame in frames if frame[1].endswith(evidence.lab.source)]
        where = f" in {own[0][0]} ({evidence.lab.source}:{own[0][2]})" if own else ""
        raise Failed(f"AddressSanitizer: {error[1]}{where}.")
    if run.exit_code != 0 or run.ended_by != "itself":
        raise Failed(term("Under AddressSanitizer it {end}.", end=describe_end(run)))
    return term("AddressSanitizer finds no error.")
