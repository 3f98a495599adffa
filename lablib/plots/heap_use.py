"""Live bytes beside resident bytes, step by step: where the two part is what malloc keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lablib.language import say, term
from lablib.plots.lettering import letter
from lablib.plots.palette import BLUE, SIZE_STYLES, LineStyle
from lablib.plots.parts import MIB, make_figure
from lablib.records import HeapUse

_LIVE = LineStyle(term("live (malloc's count)"), BLUE, "-", "o")


def plot_heap_use(situations: Mapping[str, Sequence[HeapUse]]) -> tuple[Figure, str]:
    """Return a figure with a chart for each situation, side by side, and its text description.

    Both lines are in MiB, on one scale for all charts; across are the steps, each named by the
    first word of its command.
    """
    figure = make_figure(4.6)
    charts = figure.subplots(1, len(situations), sharey=True, squeeze=False)[0]
    for axes, (name, used) in zip(charts, situations.items(), strict=True):
        _draw(axes, name, used)
    charts[0].set_ylabel(letter("size (MiB)"))
    charts[0].set_ylim(bottom=0)
    lines = charts[0].get_lines()
    figure.legend(lines, [line.get_label() for line in lines], loc="outside upper center", ncols=2)
    return figure, " ".join(_describe(name, used) for name, used in situations.items())


def _draw(axes: Axes, name: str, used: Sequence[HeapUse]) -> None:
    sizes = {
        _LIVE: [use.live_bytes / MIB for use in used],
        SIZE_STYLES["RSS"]: [use.rss_bytes / MIB for use in used],
    }
    for style, values in sizes.items():
        axes.plot(
            range(1, len(used) + 1),
            values,
            color=style.color,
            linestyle=style.dashes,
            linewidth=2.5,
            marker=style.marker,
            markersize=7,
            label=letter(
                term("RSS, grown since the start") if style.label == "RSS" else style.label
            ),
        )
    words = [use.step.split()[0].split("_")[0] for use in used]
    axes.set_xticks(range(1, len(used) + 1), words, rotation=60, fontsize=10)
    axes.set_xlabel(letter("step"))
    axes.set_title(letter(name))
    axes.grid(alpha=0.3)


def _describe(name: str, used: Sequence[HeapUse]) -> str:
    if not used:
        return say("{name}: no step.", name=term(name))
    live, rss = used[-1].live_bytes / MIB, used[-1].rss_bytes / MIB
    falls = any(after.rss_bytes < before.rss_bytes - MIB / 2 for before, after in pairwise(used))
    return say(
        "{name}: after {steps} steps {live:,.1f} MiB are live and RSS has grown by {rss:,.1f} MiB;"
        " {fell}.",
        name=term(name),
        steps=len(used),
        live=live,
        rss=rss,
        fell=term("RSS falls on the way" if falls else "RSS does not fall on the way"),
    )
