"""The heap by call stack as it grows: a line for each of the largest, and a table of all shown."""

from __future__ import annotations

import html
from collections import deque
from collections.abc import Iterable

import bqplot
import ipywidgets as widgets
from matplotlib.figure import Figure

from lablib.language import say, term
from lablib.panels.base import Panel
from lablib.panels.parts import DASHES, MARKERS, draw_marked_sample
from lablib.panels.sources import Source
from lablib.plots.palette import STACK_STYLES, LineStyle
from lablib.plots.parts import MIB
from lablib.plots.stacks import (
    MIN_SPAN_MIB,
    StackHistory,
    StackLine,
    choose_largest,
    plot_stacks,
)
from lablib.records import HeapSnapshot
from lablib.wording import make_printable

POINTS_SHOWN = 300

_HEADINGS = (
    term("drawn as"),
    term("allocated by"),
    term("live bytes"),
    term("blocks"),
    term("freed"),
    term("bytes / s"),
)
_CELL = "padding: 1px 10px 1px 0; text-align: "


class StacksPanel(Panel[HeapSnapshot]):
    """A live chart of the call stacks that hold the most, in MiB over the last 300 snapshots.

    At most five are shown. A stack keeps its colour, dashes and marker as long as it is among them.

    `source` gives `HeapSnapshot`: `lambda: tracer.sample(6)`, or the snapshots of a `HeapTrace`.
    """

    def __init__(
        self,
        source: Source[HeapSnapshot],
        title: str = term("Live bytes by call stack"),
        interval_s: float = 0.5,
        recorded_on: str = "",
        points: int = POINTS_SHOWN,
    ) -> None:
        self.snapshots: deque[HeapSnapshot] = deque(maxlen=points)
        self._clear()
        self.scales = {"x": bqplot.LinearScale(), "y": bqplot.LinearScale(min=0, max=1)}
        self.lines = {name: self._make_line(style) for name, style in STACK_STYLES.items()}
        super().__init__(source, self._make_view(), title, interval_s, recorded_on)

    def _make_line(self, style: LineStyle) -> bqplot.Lines:
        return bqplot.Lines(
            x=[],
            y=[],
            scales=self.scales,
            colors=[style.color],
            line_style=DASHES[style.dashes],
            marker=MARKERS[style.marker][0],
            marker_size=40,
            stroke_width=2.5,
        )

    def _make_view(self) -> widgets.DOMWidget:
        along = bqplot.Axis(
            scale=self.scales["x"],
            label=say("time since the tracing began (s)"),
            label_offset="2.8em",
            grid_lines="none",
        )
        up = bqplot.Axis(
            scale=self.scales["y"],
            label=say("live heap (MiB)"),
            side="left",
            label_offset="4em",
            grid_color="#dddddd",
        )
        return bqplot.Figure(
            marks=list(self.lines.values()),
            axes=[along, up],
            fig_margin={"top": 10, "bottom": 45, "left": 75, "right": 20},
            min_aspect_ratio=0.01,
            max_aspect_ratio=100,
            layout=widgets.Layout(width="100%", height="300px"),
        )

    def _clear(self) -> None:
        self.snapshots.clear()
        self._history = StackHistory(self.snapshots.maxlen)
        self._style_by_stack: dict[int, str] = {}

    def _draw(self, record: HeapSnapshot) -> str:
        self.snapshots.append(record)
        self._history.add(record)
        followed = self._history.follow(choose_largest(record))
        self._assign_styles(followed)
        top_bytes = max((max(line.live_bytes) for line in followed.values()), default=0)
        self._fit_scale(top_bytes / MIB)
        styled = {self._style_by_stack[number]: line for number, line in followed.items()}
        for name, mark in self.lines.items():
            self._show_line(mark, styled.get(name))
        return _render_table(styled)

    def _assign_styles(self, shown: Iterable[int]) -> None:
        """Give each stack a style: the one that it has, or one that has become free."""
        given = {stack: self._style_by_stack.get(stack) for stack in shown}
        free = (name for name in STACK_STYLES if name not in given.values())
        self._style_by_stack = {stack: name or next(free) for stack, name in given.items()}

    def _show_line(self, mark: bqplot.Lines, line: StackLine | None) -> None:
        if line is None and not len(mark.x):
            return
        with mark.hold_sync():
            mark.x = line.times_s if line else []
            mark.y = [size / MIB for size in line.live_bytes] if line else []

    def _fit_scale(self, largest_mib: float) -> None:
        """Leave room above the largest; in steps, so that the chart doesn't breathe."""
        needed = max(largest_mib * 1.05, MIN_SPAN_MIB)
        if not needed <= self.scales["y"].max <= 2 * needed:
            self.scales["y"].max = 1.3 * needed

    def _plot(self) -> tuple[Figure, str] | None:
        if not self.snapshots:
            return None
        return plot_stacks(list(self.snapshots), self.title, tuple(self._style_by_stack.values()))


def _render_table(lines: dict[str, StackLine]) -> str:
    """Return a table with a row for each line: how it looks, and its numbers."""
    head = "".join(
        f'<th scope="col" style="{_CELL}{"left" if place < 2 else "right"}">{say(words)}</th>'
        for place, words in enumerate(_HEADINGS)
    )
    rows = "".join(_render_row(STACK_STYLES[name], line) for name, line in lines.items())
    if not rows:
        return say("No block has been allocated.")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _render_row(style: LineStyle, line: StackLine) -> str:
    usage = line.usage
    numbers = (
        f"{usage.live_bytes:,}",
        f"{usage.live_blocks:,}",
        f"{usage.freed_blocks:,}",
        f"{line.growth_bytes_per_s:+,.0f}",
    )
    cells = "".join(f'<td style="{_CELL}right">{number}</td>' for number in numbers)
    name = html.escape(make_printable(line.name))
    return (
        f'<tr><td style="{_CELL}left">{draw_marked_sample(style)}</td>'
        f'<th scope="row" style="{_CELL}left; font-weight: normal">{name}</th>{cells}</tr>'
    )
