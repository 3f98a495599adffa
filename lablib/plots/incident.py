"""An incident in two figures: the service against its cap, and the program ahead of time."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from lablib.language import say, term
from lablib.plots.lettering import letter
from lablib.plots.palette import BLACK, BLUE, ORANGE, SERVICE_STYLES, VERMILLION
from lablib.plots.parts import MIB, make_figure
from lablib.records import Rehearsal, ServiceSample
from lablib.wording import format_size


def plot_service(
    samples: Sequence[ServiceSample], limit_bytes: int, events: Sequence[tuple[float, str]] = ()
) -> tuple[Figure, str]:
    """Return a figure of the service's resident set over the minutes since the page, and its words.

    `events` are (seconds since the page, word): each is a line across, with its word. Between two
    runs of the service the line is broken.
    """
    figure = make_figure()
    axes = figure.subplots()
    resident, cap = SERVICE_STYLES["resident"], SERVICE_STYLES["cap"]
    for run in _split_runs(samples):
        minutes = [sample.elapsed_s / 60 for sample in run]
        axes.plot(
            minutes, [sample.rss_bytes / MIB for sample in run], color=resident.color, linewidth=2.5
        )
    axes.axhline(limit_bytes / MIB, color=cap.color, linestyle=cap.dashes, linewidth=2)
    axes.annotate(
        letter("cap: {mib} MiB", mib=limit_bytes // MIB),
        (0.99, limit_bytes / MIB),
        xycoords=("axes fraction", "data"),
        xytext=(0, -14),
        textcoords="offset points",
        ha="right",
    )
    for elapsed_s, word in events:
        axes.axvline(elapsed_s / 60, color=BLACK, linestyle=":", linewidth=1.5)
        axes.annotate(
            letter(word),
            (elapsed_s / 60, 0.04),
            xycoords=("data", "axes fraction"),
            rotation=90,
            xytext=(3, 0),
            textcoords="offset points",
            va="bottom",
        )
    axes.set(
        xlabel=letter("minutes since the page"),
        ylabel=letter("resident set (MiB)"),
        ylim=(0, limit_bytes / MIB * 1.1),
    )
    axes.set_title(letter("The service against its cap"))
    return figure, _describe_service(samples, limit_bytes, events)


def _split_runs(samples: Sequence[ServiceSample]) -> list[list[ServiceSample]]:
    runs: list[list[ServiceSample]] = []
    for sample in samples:
        if not runs or sample.up_s < runs[-1][-1].up_s:
            runs.append([])
        runs[-1].append(sample)
    return runs


def _describe_service(
    samples: Sequence[ServiceSample], limit_bytes: int, events: Sequence[tuple[float, str]]
) -> str:
    if not samples:
        return say("The service was never sampled.")
    most = max(sample.rss_bytes for sample in samples)
    marked = "".join(
        say(
            " {event} after {minutes:.1f} minutes.", event=say(word).capitalize(), minutes=at_s / 60
        )
        for at_s, word in events
    )
    told = say(
        "The resident set of the service over {minutes:.1f} minutes: at most {most}, of a cap of "
        "{cap}.",
        minutes=samples[-1].elapsed_s / 60,
        most=format_size(most),
        cap=format_size(limit_bytes),
    )
    return told + marked


def plot_rehearsal(rehearsal: Rehearsal, limit_bytes: int, title: str = "") -> tuple[Figure, str]:
    """Return a figure of what a program held after so many terms, and its words.

    Two lines: the resident set of the run that nobody traced, and what the trace says is live, of
    the heap and of what the program has mapped by itself.
    """
    figure = make_figure()
    axes = figure.subplots()
    resident = [(each.terms, each.rss_bytes / MIB) for each in rehearsal.rounds]
    live = [
        (terms, sum(u.live_bytes for u in (*shot.stacks, *shot.mappings) if u.kind in _TAKEN) / MIB)
        for terms, shot in zip(rehearsal.traced_terms, rehearsal.trace.snapshots, strict=False)
    ]
    for points, name, color, marker, dashes in (
        (resident, letter("resident set"), BLUE, "o", "-"),
        (live, letter("taken and not given back"), ORANGE, "s", "--"),
    ):
        if points:
            terms, sizes = zip(*points, strict=True)
            axes.plot(
                terms,
                sizes,
                color=color,
                marker=marker,
                linestyle=dashes,
                linewidth=2.5,
                label=name,
            )
    axes.axhline(
        limit_bytes / MIB, color=VERMILLION, linestyle=":", linewidth=2, label=letter("cap")
    )
    axes.set(xlabel=letter("terms done"), ylabel="MiB")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.set_title(letter(title or term("Ahead of time, without a cap")))
    said = say(", ").join(
        say("{size:,.1f} MiB after {terms:,} terms", size=size, terms=terms)
        for terms, size in resident
    )
    held = say(" Live at the end: {size:,.1f} MiB.", size=live[-1][1]) if live else ""
    return figure, say("The resident set: {said}.", said=said or say("not seen")) + held


_TAKEN = ("heap", "mapping")
