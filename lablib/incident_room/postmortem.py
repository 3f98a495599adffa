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
        ("look" in kinds, "Nobody has looked at the service yet."),
        ("note" in kinds, "There is no note in the timeline."),
        (not missing, f"Not answered: {', '.join(missing)}."),
        (seen.is_changed or not is_leak, "It is to be killed, says the prediction: mend it."),
        (
            not seen.is_changed or _find_shipped(seen) is not None,
            "The program was changed, and is not in service.",
        ),
        (
            not seen.is_changed or seen.comparison is not None,
            "The program was changed, and nothing proves that it does the same and keeps less.",
        ),
        (seen.report is not None, "It was not judged."),
    ]
    return [sentence for is_done, sentence in steps if not is_done]


def _find_shipped(seen: Seen) -> TimelineEntry | None:
    """Return when the program as it is now was put into service, None where it was not."""
    late = [entry for entry in seen.entries if entry.kind in ("change", "fix")]
    return late[-1] if late and late[-1].kind == "fix" else None


def compose(seen: Seen) -> tuple[str, list[Part]]:
    """Return the title of a post-mortem, and its parts."""
    day = datetime.datetime.fromtimestamp(seen.paged_s, datetime.timezone.utc)
    title = f"Post-mortem: the incident of {day:%d %B %Y, %H:%M} UTC"
    left = list_open(seen)
    parts: list[Part] = [
        *_make_open(left),
        Heading("Summary"),
        _written(seen, "what_happened", "what happened"),
        Paragraph(f"The page: {seen.lab.pager}"),
        Heading("Impact"),
        Bullets(tuple(_list_impact(seen))),
        Heading("Timeline"),
        _make_timeline(seen),
        *([_picture_service(seen)] if seen.samples else []),
        Heading("Root cause"),
        _written(seen, "cause", "the cause"),
        *_make_cause(seen),
        Heading("Evidence"),
        *_make_evidence(seen),
        Heading("The fix"),
        _written(seen, "fix", "what was changed, or why nothing was"),
        *_make_fix(seen),
        Heading("Proof"),
        *_make_proof(seen),
        Heading("What was predicted, and what came"),
        *_make_predictions(seen),
        Heading("Prevention"),
        _written(seen, "prevention", "what would have shown it before"),
    ]
    return title, parts


def _make_open(left: list[str]) -> list[Part]:
    return [Heading("Still open"), Bullets(tuple(left))] if left else []


def _written(seen: Seen, question: str, what: str) -> Paragraph:
    text = seen.text(question)
    return Paragraph(text) if text else Paragraph(f"Still to be written: {what}.", is_open=True)


def _list_impact(seen: Seen) -> list[str]:
    kills = [entry for entry in seen.entries if entry.kind == "kill"]
    service = seen.lab.service
    assert service is not None
    sentences = [
        f"The kernel has killed it {count_of(len(kills), 'time')} for want of memory."
        if kills
        else "The kernel has not killed it."
    ]
    down_s = _count_down(seen.entries)
    if down_s:
        lost = round(down_s * service.rate)
        sentences.append(f"It was down for {word_clock(down_s)}: about {lost:,} terms not served.")
    if seen.samples:
        most = max(sample.rss_bytes for sample in seen.samples)
        share = 100 * most / service.limit_bytes
        sentences.append(
            f"It held at most {format_size(most)}, {share:.0f} % of the "
            f"{format_size(service.limit_bytes)} that it may."
        )
    if seen.entries:
        sentences.append(f"From the page to the last entry: {_clock(seen.entries[-1])}.")
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
    return Table("What was seen and done, by the clock since the page", _COLUMNS, rows)


_COLUMNS = ("clock", "what", "entry")


def _clock(entry: TimelineEntry) -> str:
    return word_clock(entry.elapsed_s)


def _picture_service(seen: Seen) -> Picture:
    assert seen.lab.service is not None
    words = {"kill": "killed", "fix": "fix shipped", "service": "started"}
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
        return [Paragraph("Still to be named: the function.", is_open=True)]
    source = seen.lab.read_source()
    line = find_function(source, name)
    parts: list[Part] = [
        Paragraph(
            f"The function named is {name}, "
            + (f"{seen.lab.source}:{line}." if line else "which the program does not have.")
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
    return parts or [Paragraph("Nothing was measured yet.", is_open=True)]


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
    columns = ("terms done", "resident", "most until then (VmHWM)", "mappings")
    return Table("The program as it came, ahead of time and without a cap", columns, rows)


def tabulate_sites(rehearsal: Rehearsal) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the headings and the rows of a table of the places that take memory."""
    if len(rehearsal.traced_terms) < 2:
        return ("place",), ()
    terms = rehearsal.traced_terms[0]
    middle = (len(rehearsal.traced_terms) - 1) // 2
    columns = (
        "place",
        "what",
        *(f"live after {rehearsal.traced_terms[n]:,} terms" for n in (0, middle, -1)),
        "kept of a late term",
        "freed of its blocks",
        "lost blocks",
    )
    shown = list_sites(rehearsal)[:_MOST_SITES]
    return columns, tuple(_tabulate_site(site, terms, middle) for site in shown)


def _tabulate_site(site: Site, terms: int, middle: int) -> tuple[str, ...]:
    freed = site.freed_blocks[-1] / site.allocated_blocks[-1] if site.allocated_blocks[-1] else 0
    return (
        f"{site.function}, line {site.line}" if site.line else site.function,
        site.kind.replace("_", " "),
        *(format_size(site.live_bytes[place]) for place in (0, middle, -1)),
        f"{site.keeps_per_term(terms):+,.0f} bytes",
        f"{100 * freed:.1f} %",
        "not looked" if site.lost_blocks is None else f"{site.lost_blocks:,}",
    )


def _make_sites(rehearsal: Rehearsal) -> Table:
    caption = f"Who takes memory, counted by {rehearsal.source}"
    return Table(caption, *tabulate_sites(rehearsal))


def _make_fix(seen: Seen) -> list[Part]:
    if not seen.is_changed:
        return [Paragraph("The program is as it came: nothing was changed.")]
    shipped = _find_shipped(seen)
    when = f"In service since {_clock(shipped)}." if shipped else "It is not in service yet."
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
            Paragraph(comparison.sentence),
            Table(
                f"Both builds at the same work, counted by {comparison.source}",
                ("", "before", "after"),
                (
                    ("bytes kept of a term", f"{before:,.1f}", f"{after:,.1f}"),
                    (
                        "lines of output",
                        f"{comparison.before.output_lines:,}",
                        f"{comparison.after.output_lines:,}",
                    ),
                    *_list_allocations(comparison),
                ),
            ),
        ]
    if seen.report is not None:
        report = seen.report
        verdict = "It has passed." if report.has_passed else "It has not passed."
        rows = tuple(
            (each.check.replace("_", " "), each.state, each.sentence) for each in report.findings
        )
        parts += [
            Paragraph(f"The check: {report.points:g} of {report.possible:g} points. {verdict}"),
            Table("What the check found", ("check", "result", "what was seen"), rows),
        ]
    return parts or [Paragraph("Nothing is proven yet.", is_open=True)]


def _list_allocations(comparison: Comparison) -> list[tuple[str, ...]]:
    rows = []
    for stack in comparison.stacks[:_MOST_SITES]:
        if stack.functions:
            taken = (
                per_term(cost.allocated_blocks if cost else 0, comparison.terms)
                for cost in (stack.before, stack.after)
            )
            rows.append((f"blocks taken in a term by {stack.functions[0]}", *taken))
    return rows


def _make_predictions(seen: Seen) -> list[Part]:
    predicted = seen.text("oom_seconds")
    if not predicted:
        return [Paragraph("No time was predicted.", is_open=True)]
    kills = [entry for entry in seen.entries if entry.kind == "kill"]
    said = predicted if predicted == NEVER else f"after {predicted} s at the rate of the service"
    came = "It was not killed here." if not kills else kills[0].text
    rows = [("killed for want of memory", said, came)]
    for name, words in (
        ("bytes_per_term", "bytes kept of a term"),
        ("peak_rss_bytes", "largest resident set"),
    ):
        if seen.text(name):
            rows.append((words, seen.text(name), _find_seen(seen, name)))
    findings = {each.check: each for each in (seen.report.findings if seen.report else ())}
    judged = findings.get("question oom_seconds")
    parts: list[Part] = [Table("Predicted and seen", ("what", "predicted", "came"), tuple(rows))]
    if judged is not None:
        parts.append(Paragraph(f"The check says of the time: {judged.state}. {judged.sentence}"))
    return parts


def _find_seen(seen: Seen, name: str) -> str:
    """Return what the rehearsal has to say of a number that was predicted."""
    rehearsal = seen.rehearsal
    if rehearsal is None or not rehearsal.rounds or len(rehearsal.traced_terms) < 2:
        return "not measured"
    if name == "peak_rss_bytes":
        last = rehearsal.rounds[-1]
        return f"{last.peak_rss_bytes:,} bytes after {last.terms:,} terms without a cap"
    terms = rehearsal.traced_terms[0]
    kept = sum(
        max(0.0, site.keeps_per_term(terms))
        for site in list_sites(rehearsal)
        if site.grows_to_the_end()
    )
    return f"{kept:,.0f} bytes, by the trace"
