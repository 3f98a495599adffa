"""The tables and pictures of a post-mortem: what was counted, drawn up for its reader."""

from __future__ import annotations

import io
from typing import Any

from lablib.comparison import per_term
from lablib.grading.page import STATE_WORDS, name_check
from lablib.incident_room.evidence import Site, list_sites
from lablib.incident_room.page import Picture, Table
from lablib.incident_room.seen import Seen, is_start
from lablib.incident_room.timeline import KIND_WORDS, word_clock
from lablib.language import say, term
from lablib.plots import plot_rehearsal, plot_service
from lablib.records import Comparison, GradeReport, Rehearsal
from lablib.wording import format_size

_MOST_SITES = 6
_SITE_WORDS = {
    "heap": term("heap"),
    "mapping": term("mapping"),
    "thread_stack": term("thread stack"),
}
_COLUMNS = (term("clock"), term("what"), term("entry"))


def tabulate_timeline(seen: Seen) -> Table:
    """Return the timeline: the clock's time, what each entry is about, and what it says."""
    rows = tuple(
        (word_clock(entry.elapsed_s), say(KIND_WORDS[entry.kind]), say(entry.text))
        for entry in seen.entries
    )
    return Table(
        say("What was seen and done, by the clock since the page"), tuple(map(say, _COLUMNS)), rows
    )


def picture_service(seen: Seen) -> Picture:
    """Return the service against its cap, with lines where it was started, killed and mended."""
    assert seen.lab.service is not None
    words = {"kill": term("killed"), "fix": term("fix shipped"), "service": term("started")}
    events = [
        (entry.elapsed_s, words[entry.kind])
        for entry in seen.entries
        if entry.kind == "kill" or is_start(entry)
    ]
    return _picture(
        "service.png", *plot_service(seen.samples, seen.lab.service.limit_bytes, events)
    )


def picture_rehearsal(rehearsal: Rehearsal, limit_bytes: int) -> Picture:
    """Return what the program held ahead of time, after so many terms."""
    return _picture("rehearsal.png", *plot_rehearsal(rehearsal, limit_bytes))


def _picture(name: str, figure: Any, words: str) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Picture(name, buffer.getvalue(), words)


def tabulate_rounds(rehearsal: Rehearsal) -> Table:
    """Return what the kernel has counted ahead of time, round by round."""
    rows = tuple(
        (
            f"{each.terms:,}",
            format_size(each.rss_bytes),
            format_size(each.peak_rss_bytes),
            f"{each.mappings:,}",
        )
        for each in rehearsal.rounds
    )
    columns = (
        say("terms done"),
        say("resident"),
        say("most until then (VmHWM)"),
        say("mappings"),
    )
    return Table(say("The program as it came, ahead of time and without a cap"), columns, rows)


def tabulate_sites(rehearsal: Rehearsal) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the headings and the rows of a table of the places that take memory."""
    if len(rehearsal.traced_terms) < 2:
        return (say("place"),), ()
    terms = rehearsal.traced_terms[0]
    middle = (len(rehearsal.traced_terms) - 1) // 2
    columns = (
        say("place"),
        say("what"),
        *(
            say("live after {terms:,} terms", terms=rehearsal.traced_terms[n])
            for n in (0, middle, -1)
        ),
        say("kept of a late term"),
        say("freed of its blocks"),
        say("lost blocks"),
    )
    shown = list_sites(rehearsal)[:_MOST_SITES]
    return columns, tuple(_tabulate_site(site, terms, middle) for site in shown)


def _tabulate_site(site: Site, terms: int, middle: int) -> tuple[str, ...]:
    freed = site.freed_blocks[-1] / site.allocated_blocks[-1] if site.allocated_blocks[-1] else 0
    return (
        say("{function}, line {line}", function=site.function, line=site.line)
        if site.line
        else site.function,
        say(_SITE_WORDS[site.kind]),
        *(format_size(site.live_bytes[place]) for place in (0, middle, -1)),
        say("{count:+,.0f} bytes", count=site.keeps_per_term(terms)),
        f"{100 * freed:.1f} %",
        say("not looked") if site.lost_blocks is None else f"{site.lost_blocks:,}",
    )


def list_places(rehearsal: Rehearsal) -> Table:
    """Return the places that take memory, with who has counted."""
    caption = say("Who takes memory, counted by {source}", source=rehearsal.source)
    return Table(caption, *tabulate_sites(rehearsal))


def tabulate_builds(comparison: Comparison) -> Table:
    """Return what both builds have kept, printed and taken at the same work."""
    before, after = comparison.kept_bytes
    return Table(
        say("Both builds at the same work, counted by {source}", source=comparison.source),
        ("", say("before"), say("after")),
        (
            (say("bytes kept of a term"), f"{before:,.1f}", f"{after:,.1f}"),
            (
                say("lines of output"),
                f"{comparison.before.output_lines:,}",
                f"{comparison.after.output_lines:,}",
            ),
            *_list_allocations(comparison),
        ),
    )


def tabulate_report(report: GradeReport) -> Table:
    """Return what the judge has found, check by check."""
    rows = tuple(
        (say(name_check(each.check)), say(STATE_WORDS[each.state]), say(each.sentence))
        for each in report.findings
    )
    columns = (say("check"), say("result"), say("what was seen"))
    return Table(say("What the check found"), columns, rows)


def _list_allocations(comparison: Comparison) -> list[tuple[str, ...]]:
    rows = []
    for stack in comparison.stacks[:_MOST_SITES]:
        if stack.functions:
            taken = (
                per_term(cost.allocated_blocks if cost else 0, comparison.terms)
                for cost in (stack.before, stack.after)
            )
            rows.append(
                (say("blocks taken in a term by {function}", function=stack.functions[0]), *taken)
            )
    return rows
