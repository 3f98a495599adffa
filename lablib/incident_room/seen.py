"""What a post-mortem is made of, and what of it is still open."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lablib.grading.labs import NEVER, Lab
from lablib.language import say
from lablib.records import Comparison, GradeReport, Rehearsal, ServiceSample, TimelineEntry
from lablib.wording import count_of


@dataclass(frozen=True)
class Seen:
    """All that a post-mortem is made of.

    `answers` are the learner's, by question. `source` is the program as it is now. What was not
    done is None or empty.
    """

    lab: Lab
    paged_s: float
    source: str
    answers: dict[str, Any]
    entries: Sequence[TimelineEntry]
    samples: Sequence[ServiceSample] = ()
    rehearsal: Rehearsal | None = None
    comparison: Comparison | None = None
    report: GradeReport | None = None

    @property
    def is_changed(self) -> bool:
        """Whether the program was changed."""
        return self.source != self.lab.read_source()

    def text(self, question: str) -> str:
        """Return an answer as a text, "" without one."""
        value = self.answers.get(question)
        return "" if value is None else str(value).strip()


def list_open(seen: Seen) -> list[str]:
    """Return what is still to be done, a sentence each; nothing where all is."""
    kinds = {entry.kind for entry in seen.entries}
    missing = [each.name for each in seen.lab.questions if not seen.text(each.name)]
    is_leak = seen.answers.get("oom_seconds") not in (NEVER, None, "")
    steps = [
        ("look" in kinds, say("Nobody has looked at the service yet.")),
        ("note" in kinds, say("There is no note in the timeline.")),
        (not missing, say("Not answered: {names}.", names=say(", ").join(missing))),
        (seen.is_changed or not is_leak, say("It is to be killed, says the prediction: mend it.")),
        (
            not seen.is_changed or find_current(seen, "fix") is not None,
            say("The program was changed, and is not in service."),
        ),
        (
            not seen.is_changed or is_proven(seen),
            say(
                "The program was changed, and nothing proves that it does the same and keeps less."
            ),
        ),
        (find_current(seen, "check") is not None, say("It was not judged.")),
    ]
    return [sentence for is_done, sentence in steps if not is_done]


def find_current(seen: Seen, kind: str) -> TimelineEntry | None:
    """Return the last "fix", "proof" or "check" of the program as it is now, None without one.

    One that came before a change is of another program.
    """
    late = [entry for entry in seen.entries if entry.kind in ("change", kind)]
    return late[-1] if late and late[-1].kind == kind else None


def is_proven(seen: Seen) -> bool:
    """Return whether the program as it is now was found to do the same and to keep nothing."""
    is_fixed = seen.comparison is not None and seen.comparison.kind == "fixed"
    return is_fixed and find_current(seen, "proof") is not None


def is_start(entry: TimelineEntry) -> bool:
    """Return whether a service, mended or not, was started then."""
    return entry.kind in ("service", "fix") and "runtime" in entry.details


def count_down(entries: Sequence[TimelineEntry]) -> float:
    """Return for how many seconds the service was down after kills, until it was started again.

    Where it was not, that is until the last entry.
    """
    down_s, since_s = 0.0, None
    for entry in entries:
        if entry.kind == "kill" and since_s is None:
            since_s = entry.elapsed_s
        elif is_start(entry) and since_s is not None:
            down_s += entry.elapsed_s - since_s
            since_s = None
    return down_s if since_s is None else down_s + entries[-1].elapsed_s - since_s


def find_function(source: str, name: str) -> int | None:
    """Return the line on which a function of a C source begins, None where there is none."""
    if not re.fullmatch(r"\w+", name):
        return None
    found = re.search(rf"^\w[\w *]*\b{name}\([^;{{]*\)\s*\{{", source, re.MULTILINE)
    return source.count("\n", 0, found.start()) + 1 if found else None


def make_diff(seen: Seen) -> str:
    """Return what was changed in the program, as a unified diff; "" for nothing."""
    before, after = (text.splitlines() for text in (seen.lab.read_source(), seen.source))
    names = f"a/{seen.lab.source}", f"b/{seen.lab.source}"
    return "\n".join(difflib.unified_diff(before, after, *names, lineterm=""))


def word_changes(before: str, after: str) -> str:
    """Return how many lines of a program were added and removed, in words."""
    lines = [*difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)][2:]
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return say("{added} added, {removed} removed", added=count_of(added, "line"), removed=removed)
