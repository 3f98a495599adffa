"""The page that is read in the morning: made of the timeline, the answers and what was measured.

What the learner has not written yet stands there as open, and not as a guess.
"""

from __future__ import annotations

import datetime
import difflib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lablib.comparison import per_term
from lablib.grading.labs import NEVER, Lab
from lablib.incident_room.evidence import Site, list_sites
from lablib.incident_room.page import Bullets, Code, Heading, Paragraph, Part, Picture, Table
from lablib.incident_room.timeline import word_clock
from lablib.language import say, term
from lablib.plots import plot_rehearsal, plot_service
from lablib.records import (
    Comparison,
    GradeReport,
    Rehearsal,
    ServiceSample,
    TimelineEntry,
)
from lablib.wording import count_of, format_size

_MOST_SITES = 6


@dataclass(frozen=True)
class Seen:
    """All that a post-mortem is made of.

    `answers` are the learner's, by question. `source` is the program as it is now. What was not
    done is None or empty. `take_picture` turns a figure into a PNG file.
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
        (not missing, say("Not answered: {names}.", names=", ".join(missing))),
        (seen.is_changed or not is_leak, say("It is to be killed, says the prediction: mend it.")),
        (
            not seen.is_changed or _find_shipped(seen) is not None,
            say("The program was changed, and is not in service."),
        ),
        (
            not seen.is_changed or seen.comparison is not None,
            say(
                "The program was changed, and nothing proves that it does the same and keeps less."
            ),
        ),
        (seen.report is not None, say("It was not judged.")),
    ]
    return [sentence for is_done, sentence in steps if not is_done]


def _find_shipped(seen: Seen) -> TimelineEntry | None:
    """Return when the program as it is now was put into service, None where it was not."""
    late = [entry for entry in seen.entries if entry.kind in ("change", "fix")]
    return late[-1] if late and late[-1].kind == "fix" else None


def compose(seen: Seen) -> tuple[str, list[Part]]:
    """Return the title of a post-mortem, and its parts."""
    day = datetime.datetime.fromtimestamp(seen.paged_s, datetime.timezone.utc)
    title = say("Post-mortem: the incident of {day:%d %B %Y, %H:%M} UTC", day=day)
    left = list_open(seen)
    parts: list[Part] = [
        *_make_open(left),
        Heading(say("Summary")),
        _written(seen, "what_happened", say("what happened")),
        Paragraph(say("The page: {pager}", pager=say(seen.lab.pager))),
        Heading(say("Impact")),
        Bullets(tuple(_list_impact(seen))),
        Heading(say("Timeline")),
        _make_timeline(seen),
        *([_picture_service(seen)] if seen.samples else []),
        Heading(say("Root cause")),
        _written(seen, "cause", say("the cause")),
        *_make_cause(seen),
        Heading(say("Evidence")),
        *_make_evidence(seen),
        Heading(say("The fix")),
        _written(seen, "fix", say("what was changed, or why nothing was")),
        *_make_fix(seen),
        Heading(say("Proof")),
        *_make_proof(seen),
        Heading(say("What was predicted, and what came")),
        *_make_predictions(seen),
        Heading(say("Prevention")),
        _written(seen, "prevention", say("what would have shown it before")),
    ]
    return title, parts


def _make_open(left: list[str]) -> list[Part]:
    return [Heading(say("Still open")), Bullets(tuple(left))] if left else []


def _written(seen: Seen, question: str, what: str) -> Paragraph:
    text = seen.text(question)
    return (
        Paragraph(text)
        if text
        else Paragraph(say("Still to be written: {what}.", what=what), is_open=True)
    )


def _list_impact(seen: Seen) -> list[str]:
    kills = [entry for entry in seen.entries if entry.kind == "kill"]
    service = seen.lab.service
    assert service is not None
    sentences = [
        say(
            "The kernel has killed it {times} for want of memory.",
            times=count_of(len(kills), "time"),
        )
        if kills
        else say("The kernel has not killed it.")
    ]
    down_s = _count_down(seen.entries)
    if down_s:
        lost = round(down_s * service.rate)
        sentences.append(
            say(
                "It was down for {time}: about {lost:,} terms not served.",
                time=word_clock(down_s),
                lost=lost,
            )
        )
    if seen.samples:
        most = max(sample.rss_bytes for sample in seen.samples)
        share = 100 * most / service.limit_bytes
        sentences.append(
            say(
                "It held at most {most}, {share:.0f} % of the {limit} that it may.",
                most=format_size(most),
                share=share,
                limit=format_size(service.limit_bytes),
            )
        )
    if seen.entries:
        last = _clock(seen.entries[-1])
        sentences.append(say("From the page to the last entry: {time}.", time=last))
    return sentences


def _count_down(entries: Sequence[TimelineEntry]) -> float:
    """Return for how many seconds the service was down after a kill, until it was started again."""
    down_s, since_s = 0.0, None
    for entry in entries:
        if entry.kind == "kill" and since_s is None:
            since_s = entry.elapsed_s
        elif entry.kind in ("service", "fix") and since_s is not None:
            down_s += entry.elapsed_s - since_s
            since_s = None
    return down_s


def _make_timeline(seen: Seen) -> Table:
    rows = tuple((_clock(entry), entry.kind, entry.text) for entry in seen.entries)
    return Table(
        say("What was seen and done, by the clock since the page"), tuple(map(say, _COLUMNS)), rows
    )


_COLUMNS = (term("clock"), term("what"), term("entry"))


def _clock(entry: TimelineEntry) -> str:
    return word_clock(entry.elapsed_s)


def _picture_service(seen: Seen) -> Picture:
    assert seen.lab.service is not None
    words = {"kill": term("killed"), "fix": term("fix shipped"), "service": term("started")}
    events = [(e.elapsed_s, words[e.kind]) for e in seen.entries if e.kind in words]
    return _picture(
        "service.png", *plot_service(seen.samples, seen.lab.service.limit_bytes, events)
    )


def _picture(name: str, figure: Any, words: str) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Picture(name, buffer.getvalue(), words)


def find_function(source: str, name: str) -> int | None:
    """Return the line on which a function of a C source begins, None where there is none."""
    if not re.fullmatch(r"\w+", name):
        return None
    found = re.search(rf"^\w[\w *]*\b{name}\([^;{{]*\)\s*\{{", source, re.MULTILINE)
    return source.count("\n", 0, found.start()) + 1 if found else None


def _make_cause(seen: Seen) -> list[Part]:
    name = seen.text("function").removesuffix("()")
    if not name:
        return [Paragraph(say("Still to be named: the function."), is_open=True)]
    source = seen.lab.read_source()
    line = find_function(source, name)
    parts: list[Part] = [
        Paragraph(
            say(
                "The function named is {name}, {place}.",
                name=name,
                place=f"{seen.lab.source}:{line}",
            )
            if line
            else say("The function named is {name}, which the program does not have.", name=name)
        )
    ]
    if line:
        lines = source.expandtabs(4).splitlines()[line - 1 :]
        length = next((n for n, text in enumerate(lines, start=1) if text == "}"), len(lines))
        numbered = (f"{line + n:>4}  {text}" for n, text in enumerate(lines[:length]))
        parts.append(Code("c", "\n".join(numbered)))
    return parts


def _make_evidence(seen: Seen) -> list[Part]:
    looked = [entry.text for entry in seen.entries if entry.kind == "look"]
    parts: list[Part] = [Bullets(tuple(looked))] if looked else []
    if seen.rehearsal is not None:
        assert seen.lab.service is not None
        parts += [
            _make_rounds(seen.rehearsal),
            _make_sites(seen.rehearsal),
            _picture(
                "rehearsal.png", *plot_rehearsal(seen.rehearsal, seen.lab.service.limit_bytes)
            ),
        ]
    return parts or [Paragraph(say("Nothing was measured yet."), is_open=True)]


def _make_rounds(rehearsal: Rehearsal) -> Table:
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
        site.kind.replace("_", " "),
        *(format_size(site.live_bytes[place]) for place in (0, middle, -1)),
        say("{count:+,.0f} bytes", count=site.keeps_per_term(terms)),
        f"{100 * freed:.1f} %",
        say("not looked") if site.lost_blocks is None else f"{site.lost_blocks:,}",
    )


def _make_sites(rehearsal: Rehearsal) -> Table:
    caption = say("Who takes memory, counted by {source}", source=rehearsal.source)
    return Table(caption, *tabulate_sites(rehearsal))


def _make_fix(seen: Seen) -> list[Part]:
    if not seen.is_changed:
        return [Paragraph(say("The program is as it came: nothing was changed."))]
    shipped = _find_shipped(seen)
    when = (
        say("In service since {time}.", time=_clock(shipped))
        if shipped
        else say("It is not in service yet.")
    )
    return [Paragraph(when, is_open=not shipped), Code("diff", make_diff(seen))]


def make_diff(seen: Seen) -> str:
    """Return what was changed in the program, as a unified diff; "" for nothing."""
    before, after = (text.splitlines() for text in (seen.lab.read_source(), seen.source))
    names = f"a/{seen.lab.source}", f"b/{seen.lab.source}"
    return "\n".join(difflib.unified_diff(before, after, *names, lineterm=""))


def _make_proof(seen: Seen) -> list[Part]:
    comparison, parts = seen.comparison, list[Part]()
    if comparison is not None:
        before, after = comparison.kept_bytes
        parts += [
            Paragraph(say(comparison.sentence)),
            Table(
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
            ),
        ]
    if seen.report is not None:
        report = seen.report
        verdict = say("It has passed.") if report.has_passed else say("It has not passed.")
        rows = tuple(
            (each.check.replace("_", " "), say(each.state), say(each.sentence))
            for each in report.findings
        )
        parts += [
            Paragraph(
                say(
                    "The check: {points:g} of {possible:g} points. {verdict}",
                    points=report.points,
                    possible=report.possible,
                    verdict=verdict,
                )
            ),
            Table(
                say("What the check found"),
                (say("check"), say("result"), say("what was seen")),
                rows,
            ),
        ]
    return parts or [Paragraph(say("Nothing is proven yet."), is_open=True)]


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


def _make_predictions(seen: Seen) -> list[Part]:
    predicted = seen.text("oom_seconds")
    if not predicted:
        return [Paragraph(say("No time was predicted."), is_open=True)]
    kills = [entry for entry in seen.entries if entry.kind == "kill"]
    said = (
        predicted
        if predicted == NEVER
        else say("after {seconds} s at the rate of the service", seconds=predicted)
    )
    came = say("It was not killed here.") if not kills else kills[0].text
    rows = [(say("killed for want of memory"), said, came)]
    for name, words in (
        ("bytes_per_term", say("bytes kept of a term")),
        ("peak_rss_bytes", say("largest resident set")),
    ):
        if seen.text(name):
            rows.append((words, seen.text(name), _find_seen(seen, name)))
    findings = {each.check: each for each in (seen.report.findings if seen.report else ())}
    judged = findings.get("question oom_seconds")
    parts: list[Part] = [
        Table(say("Predicted and seen"), (say("what"), say("predicted"), say("came")), tuple(rows))
    ]
    if judged is not None:
        parts.append(
            Paragraph(
                say(
                    "The check says of the time: {state}. {sentence}",
                    state=say(judged.state),
                    sentence=say(judged.sentence),
                )
            )
        )
    return parts


def _find_seen(seen: Seen, name: str) -> str:
    """Return what the rehearsal has to say of a number that was predicted."""
    rehearsal = seen.rehearsal
    if rehearsal is None or not rehearsal.rounds or len(rehearsal.traced_terms) < 2:
        return say("not measured")
    if name == "peak_rss_bytes":
        last = rehearsal.rounds[-1]
        return say(
            "{size:,} bytes after {terms:,} terms without a cap",
            size=last.peak_rss_bytes,
            terms=last.terms,
        )
    terms = rehearsal.traced_terms[0]
    kept = sum(
        max(0.0, site.keeps_per_term(terms))
        for site in list_sites(rehearsal)
        if site.grows_to_the_end()
    )
    return say("{kept:,.0f} bytes, by the trace", kept=kept)
