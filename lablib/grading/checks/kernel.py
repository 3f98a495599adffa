"""What a program has, as the kernel counts it: at its end, and unwatched in the middle."""

from __future__ import annotations

from lablib.grading.building import LEVELS
from lablib.grading.checks.failing import Failed, NotChecked, measure
from lablib.grading.checks.output import compare_output
from lablib.grading.evidence import Evidence
from lablib.grading.labs import Check
from lablib.grading.measuring import Glance, Measurement
from lablib.language import term
from lablib.wording import make_printable

_KERNEL_WORDS = {
    "rss_anon_bytes": (term("bytes of anonymous memory"), 128 << 10),
    "vm_size_bytes": (term("bytes of address space"), 256 << 10),
    "open_files": (term("open files"), 0),
    "threads": (term("threads"), 0),
    "mappings": (term("mappings"), 2),
}
"""What the kernel counts -> its words, and how much more of it 2N further terms may leave."""

_STATIC_ROOM_BYTES = 256 << 10

_UNWATCHED_WORDS = {
    "peak_rss_bytes": (term("resident bytes"), 4 << 20),
    "vm_size_bytes": (term("bytes of address space"), 1 << 20),
    "open_files": (term("open files"), 8),
}
"""The same for what a run without a tracer had in the middle of its work."""


def check_flat_kernel(evidence: Evidence, check: Check) -> str:
    """What the kernel counts does not grow with the terms."""
    terms, what = evidence.lab.terms, check.parameters["what"]
    words, tolerance = _KERNEL_WORDS[what]
    tolerance = check.parameters.get("tolerance", tolerance)
    for level in LEVELS:
        twice, four_times = (measure(evidence, level, n * terms) for n in (2, 4))
        before, after = _count(twice, what), _count(four_times, what)
        if after - before > tolerance:
            opener, newest = _name_files(four_times) if what == "open_files" else ("", "")
            raise Failed(
                term(
                    "At {level} it has {after:,} {words} at the end of {late:,} terms, and had "
                    "{before:,} at the end of {early:,}: {more:,.2f} more with each term"
                    "{opener}.{newest}",
                    level=level,
                    after=after,
                    words=words,
                    late=4 * terms,
                    before=before,
                    early=2 * terms,
                    more=(after - before) / 2 / terms,
                    opener=opener,
                    newest=newest,
                )
            )
    return term(
        "The kernel counts as many {words} after {late:,} terms as after {early:,}.",
        words=words,
        late=4 * terms,
        early=2 * terms,
    )


def check_left_alone(evidence: Evidence, check: Check) -> str:
    """It takes as much address space for its work as the program as handed out does."""
    terms = 4 * evidence.lab.terms
    takes = measure(evidence, LEVELS[-1], terms).peak_vm_size_bytes
    took = evidence.measure_handed_out(terms).peak_vm_size_bytes
    if takes is None or took is None:
        raise NotChecked(term("the program's end could not be looked at."))
    if takes < check.parameters["least_share"] * took:
        raise Failed(
            f"Over {terms:,} terms it takes {takes:,} bytes of address space, and took {took:,} as "
            "it was handed out: what was taken away was no leak."
        )
    return f"What is no leak is left alone: it takes {takes:,} bytes of address space."


def check_static_room(evidence: Evidence, check: Check) -> str:
    """Its globals and statics have no room for all that it was to give back."""
    terms = evidence.lab.terms
    for level in LEVELS:
        has = measure(evidence, level, terms).static_bytes
        had = evidence.measure_handed_out(terms).static_bytes
        if has is None or had is None:
            raise NotChecked(term("the program's end could not be looked at."))
        if has - had > check.parameters.get("tolerance", _STATIC_ROOM_BYTES):
            raise Failed(
                f"At {level} its static data is {has:,} bytes, and was {had:,} as it was handed "
                "out: room that is made beforehand is used up in the end."
            )
    return "Its static data has not become larger."


def check_flat_unwatched(evidence: Evidence, check: Check) -> str:
    """It does the same when nobody looks.

    `last` says how many of the looks count, where a program first fills what it keeps. The last
    three lie after a third of the output, or later.
    """
    terms = check.parameters["terms"]
    what = check.parameters.get("what", "peak_rss_bytes")
    words, allowed = _UNWATCHED_WORDS[what]
    allowed = check.parameters.get("tolerance", allowed)
    run, glances = evidence.watch_from_afar(LEVELS[-1], terms)
    compare_output(evidence, run, term("at {level}", level=LEVELS[-1]), terms)
    if len(glances) < 2:
        raise NotChecked(term("it prints too little to be looked at in the middle of its work."))
    counts = [_get_counted(glance, what) for glance in glances[-check.parameters.get("last", 0) :]]
    if max(counts) - counts[0] > allowed:
        raise Failed(
            term(
                "Over {terms:,} terms without a tracer it grew from {first:,} to {most:,} {words}: "
                "what it holds grows with its work.",
                terms=terms,
                first=counts[0],
                most=max(counts),
                words=words,
            )
        )
    return term("Over {terms:,} terms without a tracer it did not grow either.", terms=terms)


def _count(measurement: Measurement, what: str) -> int:
    at_exit = measurement.at_exit
    value = measurement.mappings if what == "mappings" else getattr(at_exit, what, None)
    if value is None:
        raise NotChecked(term("the program's end could not be looked at."))
    return int(value)


def _name_files(measurement: Measurement) -> tuple[str, str]:
    """Return who opened most open files, and a sentence on the one with the highest number.

    Each is "" where it is not known.
    """
    notes, files = measurement.notes, measurement.at_exit and measurement.at_exit.newest_files
    opener = f", opened by {notes.opened_by}" if notes and notes.opened_by else ""
    return opener, f" The newest is {make_printable(files[0])}." if files else ""


def _get_counted(glance: Glance, what: str) -> int:
    value = glance.peak_rss_bytes if what == "peak_rss_bytes" else getattr(glance.resources, what)
    if value is None:
        raise NotChecked(term("what it has could not be counted."))
    return int(value)
