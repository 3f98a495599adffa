"""The page that is read in the morning: made of the timeline, the answers and what was measured.

What the learner has not written yet stands there as open, and not as a guess.
"""

from __future__ import annotations

import datetime

from lablib.grading.labs import NEVER
from lablib.grading.page import STATE_WORDS
from lablib.incident_room.evidence import list_sites
from lablib.incident_room.exhibits import (
    list_places,
    picture_rehearsal,
    picture_service,
    tabulate_builds,
    tabulate_report,
    tabulate_rounds,
    tabulate_timeline,
)
from lablib.incident_room.page import Bullets, Code, Heading, Paragraph, Part, Table
from lablib.incident_room.seen import (
    Seen,
    count_down,
    find_current,
    find_function,
    list_open,
    make_diff,
)
from lablib.incident_room.timeline import word_clock
from lablib.language import say, term
from lablib.wording import count_of, format_size


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
        tabulate_timeline(seen),
        *([picture_service(seen)] if seen.samples else []),
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
    down_s = count_down(seen.entries)
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
        last = word_clock(seen.entries[-1].elapsed_s)
        sentences.append(say("From the page to the last entry: {time}.", time=last))
    return sentences


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
    looked = [say(entry.text) for entry in seen.entries if entry.kind == "look"]
    parts: list[Part] = [Bullets(tuple(looked))] if looked else []
    if seen.rehearsal is not None:
        assert seen.lab.service is not None
        parts += [
            tabulate_rounds(seen.rehearsal),
            list_places(seen.rehearsal),
            picture_rehearsal(seen.rehearsal, seen.lab.service.limit_bytes),
        ]
    return parts or [Paragraph(say("Nothing was measured yet."), is_open=True)]


def _make_fix(seen: Seen) -> list[Part]:
    if not seen.is_changed:
        return [Paragraph(say("The program is as it came: nothing was changed."))]
    shipped = find_current(seen, "fix")
    when = (
        say("In service since {time}.", time=word_clock(shipped.elapsed_s))
        if shipped
        else say("It is not in service yet.")
    )
    return [Paragraph(when, is_open=not shipped), Code("diff", make_diff(seen))]


def _make_proof(seen: Seen) -> list[Part]:
    comparison, report, parts = seen.comparison, seen.report, list[Part]()
    if comparison is not None:
        parts += [Paragraph(say(comparison.sentence)), tabulate_builds(comparison)]
    if report is not None:
        verdict = say("It has passed.") if report.has_passed else say("It has not passed.")
        sentence = say(
            "The check: {points:g} of {possible:g} points. {verdict}",
            points=report.points,
            possible=report.possible,
            verdict=verdict,
        )
        parts += [Paragraph(sentence), tabulate_report(report)]
    return parts or [Paragraph(say("Nothing is proven yet."), is_open=True)]


def _make_predictions(seen: Seen) -> list[Part]:
    predicted = seen.text("oom_seconds")
    if not predicted:
        return [Paragraph(say("No time was predicted."), is_open=True)]
    kills = [entry for entry in seen.entries if entry.kind == "kill"]
    said = (
        say(term("never"))
        if predicted == NEVER
        else say("after {seconds} s at the rate of the service", seconds=predicted)
    )
    came = say("It was not killed here.") if not kills else say(kills[0].text)
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
                    state=say(STATE_WORDS[judged.state]),
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
