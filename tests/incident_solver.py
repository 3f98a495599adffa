"""A learner that is a script: works an incident from its page to its post-mortem.

It uses what a learner has, and nothing else: what the room shows (the tracer's account, /proc, the
clock), and the program's source. It never reads the lab's truth, nor which family was drawn. Only
the fix is not its own: `fix_for` gives one for the function that it names, and only if that is the
right place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from lablib.grading.judging import judge_submission
from lablib.grading.labs import NEVER
from lablib.incident_room import IncidentRoom
from lablib.incident_room.evidence import Site, list_sites
from lablib.records import GradeReport, Rehearsal

TERMS, ROUNDS = 509, 6  # no period of a program is likely to divide it
SPEED = 40.0
LATE = 3
LEAST_GROWTH = 0.01
FALLS, VARIES = 0.6, 0.5

KINDS = {
    "lost": "each term a block is lost",
    "lost at failures": "whenever something fails",
    "kept": "takes in more and more",
    "mapped": "doesn't come from malloc",
    "cache": "a cache with a limit",
    "loaded": "loaded piece by piece",
    "retention": "the allocator keeps the pages",
    "sawtooth": "a sawtooth",
}
"""What a diagnosis is called here, and the words of the question's choice that say it."""


@dataclass(frozen=True)
class Diagnosis:
    """What the script makes of an incident."""

    kind: str
    function: str
    bytes_per_term: float
    oom_seconds: float | str
    peak_rss_bytes: int | str

    @property
    def is_leak(self) -> bool:
        return self.oom_seconds != NEVER


def solve(room: IncidentRoom, fix_for: Callable[[str], str]) -> tuple[Diagnosis, GradeReport]:
    """Work the incident in a room, up to the judge's report and the post-mortem."""
    room.start_service()
    room.trace(2)
    room.look()
    room.note("it is looked at ahead of time")
    diagnosis = diagnose(room, room.rehearse(TERMS, ROUNDS))
    answer(room, diagnosis)
    if diagnosis.is_leak:
        room.incident.source_file.write_text(fix_for(diagnosis.function))
        room.ship()
        assert room.prove().kind == "fixed"
    report = judge_submission(room.lab, room.incident.folder)
    room.keep_report(report)
    room.write_post_mortem()
    return diagnosis, report


def diagnose(room: IncidentRoom, rehearsal: Rehearsal) -> Diagnosis:
    """Say what it is, from what was seen after so many terms."""
    sites = list_sites(rehearsal)
    rounds = rehearsal.rounds
    late = [each.peak_rss_bytes for each in rounds[-1 - LATE :]]
    if all(b - a > LEAST_GROWTH * a for a, b in pairwise(late)):
        return diagnose_leak(room, rehearsal, sites)
    holder = max(sites, key=lambda site: max(site.live_bytes))
    kind = name_no_leak(rehearsal, sites, holder)
    assert rounds[-1].peak_rss_bytes < room.terms.limit_bytes
    return Diagnosis(kind, holder.function, 0, NEVER, rounds[-1].peak_rss_bytes)


def diagnose_leak(room: IncidentRoom, rehearsal: Rehearsal, sites: tuple[Site, ...]) -> Diagnosis:
    """Say what leaks: who takes more after each round, and what becomes of it."""
    growing = [site for site in sites if site.grows_to_the_end(LATE)]
    worst = max(growing, key=lambda site: site.keeps_per_term(TERMS, LATE))
    kept = sum(site.keeps_per_term(TERMS, LATE) for site in growing)
    live_blocks = worst.allocated_blocks[-1] - worst.freed_blocks[-1]
    if worst.kind != "heap":
        kind = "mapped"
    elif not worst.lost_blocks or worst.lost_blocks < live_blocks / 2:
        kind = "kept"
    else:
        kind = "lost at failures" if worst.freed_blocks[-1] > live_blocks / 10 else "lost"
    first, last = rehearsal.rounds[-1 - LATE], rehearsal.rounds[-1]
    slope = (last.rss_anon_bytes - first.rss_anon_bytes) / (last.terms - first.terms)
    at_start = last.rss_anon_bytes - slope * last.terms
    seconds = (room.terms.limit_bytes - at_start) / slope / room.terms.rate
    return Diagnosis(kind, worst.function, kept, round(seconds), NEVER)


def name_no_leak(rehearsal: Rehearsal, sites: tuple[Site, ...], holder: Site) -> str:
    """Say why it comes to an end: by live beside resident memory, and by who goes on taking."""
    live = [sum(site.live_bytes[n] for site in sites) for n in range(len(rehearsal.traced_terms))]
    resident = [each.rss_anon_bytes for each in rehearsal.rounds]
    if max(live) - min(live) > VARIES * max(live):
        lowest = live.index(min(live))
        return "sawtooth" if resident[lowest] < FALLS * max(resident) else "retention"
    goes_on = holder.freed_blocks[-1] > holder.freed_blocks[-1 - LATE]
    return "cache" if goes_on else "loaded"


def answer(room: IncidentRoom, diagnosis: Diagnosis) -> None:
    """Fill in the form, and say why."""
    question = next(each for each in room.lab.questions if each.name == "kind")
    letters = [k for k, text in question.choices.items() if KINDS[diagnosis.kind] in text]
    assert len(letters) == 1, diagnosis.kind
    name = re.sub(r"\W", "", diagnosis.function)
    many = "which was measured ahead of time, over some thousand terms, with the kernel's account"
    room.answer(
        kind=letters[0],
        function=name,
        bytes_per_term=diagnosis.bytes_per_term,
        oom_seconds=diagnosis.oom_seconds,
        peak_rss_bytes=diagnosis.peak_rss_bytes,
        what_happened=f"The service did its work, and its memory rose from the start, {many}.",
        cause=f"The function {name} takes what is held, and the kind is {diagnosis.kind}, {many}.",
        fix=f"What {name} takes is given back, or nothing had to be changed at all, {many}.",
        prevention=f"A run of some thousand terms before it goes into service, {many}.",
    )
