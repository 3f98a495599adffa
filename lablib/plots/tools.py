"""What a tool costs the program that it looks at: time and memory, beside a run without it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lablib.language import say, term
from lablib.plots.lettering import letter
from lablib.plots.palette import BLUE, ORANGE
from lablib.plots.parts import EDGE_COLOR, make_figure
from lablib.records import ToolMatrix, ToolRun


def read_costs(matrix: ToolMatrix) -> tuple[dict[str, float], dict[str, float]]:
    """Return by tool how many times as long the program took, and how many times the memory.

    They are those of the program that has a plain run. Tools that could not run, or where nobody
    could see when the terms began, are left out.
    """
    plain = matrix.plain[0]
    slower: dict[str, float] = {}
    larger: dict[str, float] = {}
    assert plain.report is not None
    for run in matrix.runs:
        if run.program != plain.program or run.report is None:
            continue
        if run.report.work_seconds and plain.report.work_seconds:
            slower[run.tool] = run.report.work_seconds / plain.report.work_seconds
        if run.report.peak_rss_bytes and plain.report.peak_rss_bytes:
            larger[run.tool] = run.report.peak_rss_bytes / plain.report.peak_rss_bytes
    return slower, larger


def plot_tool_costs(matrix: ToolMatrix) -> tuple[Figure, str]:
    """Return a chart of `read_costs`, a bar for each tool with its number, and a description."""
    slower, larger = read_costs(matrix)
    names = list(dict.fromkeys(run.tool for run in matrix.runs))
    figure = make_figure()
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, names, slower, BLUE, "////", term("time for the same terms"))
    _draw(right, names, larger, ORANGE, "...", term("the program's peak memory"))
    left.invert_yaxis()
    parts = [
        say(
            "{name}: {time} the time, {memory} the memory",
            name=name,
            time=say(_tell(slower.get(name))),
            memory=say(_tell(larger.get(name))),
        )
        for name in names
    ]
    return figure, say(
        "What each tool costs {program}. {costs}.",
        program=_name(matrix.plain[0]),
        costs=say("; ").join(parts),
    )


def _draw(
    axes: Axes, names: list[str], values: dict[str, float], color: str, hatch: str, title: str
) -> None:
    places = range(len(names))
    widths = [values.get(name, 0.0) for name in names]
    axes.barh(places, widths, color=color, hatch=hatch, edgecolor=EDGE_COLOR, linewidth=0.8)
    axes.set_yticks(places, names, fontsize=12)
    axes.set_xscale("log")
    most = max([*widths, 2.0])
    axes.set_xlim(0.5, most * 8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(letter("times that without a tool"), fontsize=12)
    axes.axvline(1, color=EDGE_COLOR, linestyle="--", linewidth=1)
    axes.set_title(letter(title), fontsize=13)
    axes.grid(alpha=0.3, axis="x")
    for place, name in zip(places, names, strict=True):
        at = max(values.get(name, 0.5), 0.5)
        axes.text(at * 1.08, place, letter(_tell(values.get(name))), va="center", fontsize=12)


def _tell(value: float | None) -> str:
    if value is None:
        return term("not measured")
    return term("{value} times", value=f"{value:.0f}" if value >= 10 else f"{value:.1f}")


def _name(run: ToolRun) -> str:
    return say("{program}, {terms:,} terms", program=run.program, terms=run.terms)
