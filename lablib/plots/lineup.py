"""Several traced programs side by side, each under a letter: what a reader compares by eye."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lablib.language import say, term
from lablib.plots.lettering import letter
from lablib.plots.palette import (
    BLUE,
    HATCHES,
    SIZE_STYLES,
    SKY_BLUE,
    VERMILLION,
    AreaStyle,
    LineStyle,
)
from lablib.plots.parts import EDGE_COLOR, make_figure, make_key
from lablib.records import AgeBand, HeapTrace, ReachabilityScan
from lablib.wording import count_of, format_size

CHARTS_A_ROW = 4
KIB = 1024
MIN_RANGE_KIB = 64.0
"""No chart is stretched more than this: the flicker of a few pages shall not look like a curve."""

_LIVE = LineStyle(term("live"), BLUE, "-", "o")
_LOST = AreaStyle(term("lost: nothing points at them"), VERMILLION, "crosses")
_REACHED = AreaStyle(term("still pointed at"), SKY_BLUE)


def plot_resident_curves(traces: Mapping[str, HeapTrace]) -> tuple[Figure, str]:
    """Return a figure with a chart of RSS for each trace, and its text description.

    In KiB since the first snapshot, over the seconds since the tracing began; each chart has a
    scale of its own.
    """
    figure = _draw_charts(traces, _draw_resident)
    figure.supylabel(letter("RSS, grown since the start (KiB)"))
    figure.supxlabel(letter("time (s)"))
    words = (f"{letter}: {describe_resident(trace)}" for letter, trace in traces.items())
    return figure, " ".join(words)


def plot_live_curves(traces: Mapping[str, HeapTrace]) -> tuple[Figure, str]:
    """Return the charts of `plot_resident_curves` with the live bytes of the heap beside RSS."""
    figure = _draw_charts(traces, _draw_live)
    figure.supylabel(letter("size (KiB)"))
    figure.supxlabel(letter("time (s)"))
    lines = figure.axes[0].get_lines()
    labels = [letter(_LIVE.label), letter("RSS, grown since the start")]
    figure.legend(lines, labels, loc="outside upper center", ncols=2, frameon=False)
    words = (
        f"{letter}: {describe_live(trace)} {describe_resident(trace)}"
        for letter, trace in traces.items()
    )
    return figure, " ".join(words)


def plot_ages(traces: Mapping[str, HeapTrace]) -> tuple[Figure, str]:
    """Return a figure with the live bytes of each trace by the time of their birth, and its words.

    From the last scan of each: a bar for each tenth of the time, with the bytes that are lost apart
    from those that something still points at.
    """
    figure = _draw_charts(traces, _draw_ages)
    figure.supylabel(letter("live at the end (KiB)"))
    figure.supxlabel(letter("allocated at (s)"))
    figure.legend(
        handles=[make_key(_REACHED), make_key(_LOST)],
        loc="outside upper center",
        ncols=2,
        frameon=False,
    )
    words = (f"{letter}: {describe_ages(trace)}" for letter, trace in traces.items())
    return figure, " ".join(words)


def describe_resident(trace: HeapTrace) -> str:
    """Return in a sentence how RSS went: by how much it grew, and how much of that came late."""
    times, sizes = _read_resident(trace)
    if len(sizes) < 2:
        return say("RSS was not measured.")
    middle = next(size for at, size in zip(times, sizes, strict=True) if at >= times[-1] / 2)
    most, last = max(sizes), sizes[-1]
    if most < MIN_RANGE_KIB:
        return say("RSS hardly changes.")
    late = last - middle
    facts = {"rise": _size(most * KIB), "end": _size(last * KIB), "when": term("none of it late")}
    if late > most / 20:
        facts["when"] = term("{size} of it in the second half", size=_size(late * KIB))
    if last < 0.9 * most:
        return say("RSS rises by {rise}, falls again to {end}, {when}.", **facts)
    return say("RSS rises by {rise}, {when}.", **facts)


def describe_live(trace: HeapTrace) -> str:
    """Return in a sentence how the live bytes went, and how many of the blocks were freed."""
    last = trace.snapshots[-1]
    most = max(shot.live_bytes for shot in trace.snapshots)
    allocated = sum(stack.allocated_blocks for stack in last.stacks)
    freed = sum(stack.freed_blocks for stack in last.stacks)
    facts = {
        "most": _size(most),
        "end": _size(last.live_bytes),
        "blocks": count_of(allocated, "block"),
        "freed": f"{freed:,}",
    }
    if not most:
        return say("Nothing is live at any look; of {blocks} {freed} were freed.", **facts)
    if last.live_bytes > 0.98 * most:
        return say("{most} are live at the end; of {blocks} {freed} were freed.", **facts)
    return say(
        "{most} are live at most, {end} at the end; of {blocks} {freed} were freed.", **facts
    )


def describe_ages(trace: HeapTrace) -> str:
    """Return in a sentence how old what lives is, and how much of it is lost."""
    scan = _find_scan(trace)
    if scan is None:
        return say("It was not looked what still points at its blocks.")
    bands = _add_bands(scan)
    lost, live = sum(b.lost_bytes for b in bands), sum(b.live_bytes for b in bands)
    if not live:
        return say("Nothing is live.")
    oldest, youngest = bands[0].born_from_s, bands[-1].born_to_s
    share = term("{size} of it lost", size=_size(lost)) if lost else term("none of it lost")
    return say(
        "{live} are live, allocated from {oldest:.0f} to {youngest:.0f} s in {tenths} of the time,"
        " {share}.",
        live=_size(live),
        oldest=oldest,
        youngest=youngest,
        tenths=count_of(len(bands), "tenth"),
        share=share,
    )


def _size(size_bytes: float) -> str:
    return format_size(int(size_bytes))


def _draw_charts(
    traces: Mapping[str, HeapTrace], draw: Callable[[Axes, HeapTrace], None]
) -> Figure:
    figure = make_figure()
    columns = min(CHARTS_A_ROW, len(traces))
    rows = -(-len(traces) // columns)
    charts = figure.subplots(rows, columns, squeeze=False).flat
    for (name, trace), axes in zip(traces.items(), charts, strict=False):
        draw(axes, trace)
        axes.set_title(name, fontsize=15, fontweight="bold", pad=3)
        axes.grid(alpha=0.3)
        axes.set_xlim(0, trace.seconds)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,g}"))
    for axes in charts:  # those that no trace was left for
        axes.set_axis_off()
    return figure


def _draw_resident(axes: Axes, trace: HeapTrace) -> None:
    times, sizes = _read_resident(trace)
    _draw_line(axes, times, sizes, SIZE_STYLES["RSS"])
    _fit(axes, sizes)


def _draw_live(axes: Axes, trace: HeapTrace) -> None:
    live = [shot.live_bytes / KIB for shot in trace.snapshots]
    _draw_line(axes, [shot.elapsed_s for shot in trace.snapshots], live, _LIVE)
    times, sizes = _read_resident(trace)
    _draw_line(axes, times, sizes, SIZE_STYLES["RSS"])
    _fit(axes, [*live, *sizes])


def _draw_line(axes: Axes, times: list[float], values: list[float], style: LineStyle) -> None:
    axes.plot(times, values, color=style.color, linestyle=style.dashes, linewidth=2.5)


def _fit(axes: Axes, values: list[float]) -> None:
    low, high = min(values, default=0), max(values, default=0)
    room = 0.08 * max(high - low, MIN_RANGE_KIB)
    axes.set_ylim(low - room, max(high, low + MIN_RANGE_KIB) + room)


def _draw_ages(axes: Axes, trace: HeapTrace) -> None:
    scan = _find_scan(trace)
    if scan is None:
        _write(axes, letter("not looked at"))
        return
    bands = _add_bands(scan)
    highest = max((band.live_bytes / KIB for band in bands), default=0)
    axes.set_ylim(0, 1.1 * max(highest, MIN_RANGE_KIB / 8))
    if highest < 1:  # too little for a bar
        _write(axes, letter("{size} live", size=_size(highest * KIB)))
    for band in bands:
        width = band.born_to_s - band.born_from_s
        reached = (band.live_bytes - band.lost_bytes) / KIB
        for style, bottom, height in (
            (_REACHED, 0.0, reached),
            (_LOST, reached, band.lost_bytes / KIB),
        ):
            if height:
                axes.bar(
                    *(band.born_from_s, height, width, bottom),
                    align="edge",
                    facecolor=style.color,
                    hatch=HATCHES[style.hatch],
                    edgecolor=EDGE_COLOR,
                    linewidth=0.8,
                )


def _write(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", fontsize=12)


def _read_resident(trace: HeapTrace) -> tuple[list[float], list[float]]:
    """Return when RSS was read, and how many KiB it was above the first time."""
    read = [(s.elapsed_s, s.rss_bytes) for s in trace.snapshots if s.rss_bytes is not None]
    return [at for at, _ in read], [(size - read[0][1]) / KIB for _, size in read]


def _find_scan(trace: HeapTrace) -> ReachabilityScan | None:
    """Return the last scan that could be made; one that could not has no stacks but says why."""
    made = [scan for scan in trace.scans if scan.stacks or not scan.limits]
    return made[-1] if made else None


def _add_bands(scan: ReachabilityScan) -> list[AgeBand]:
    """Return the bands of all stacks together, in order of birth."""
    sums: dict[tuple[float, float], Counter[str]] = {}
    for band in (band for stack in scan.stacks for band in stack.bands):
        total = sums.setdefault((band.born_from_s, band.born_to_s), Counter())
        total.update(
            live_blocks=band.live_blocks,
            live_bytes=band.live_bytes,
            lost_blocks=band.lost_blocks,
            lost_bytes=band.lost_bytes,
        )
    return [AgeBand(*ends, **sums[ends]) for ends in sorted(sums)]
