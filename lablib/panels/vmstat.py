"""The machine as it moves: the columns of vmstat that tell about memory, over one time axis."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import bqplot
import ipywidgets as widgets
from matplotlib.figure import Figure

from lablib.errors import LabError
from lablib.language import say, term
from lablib.panels.base import Panel
from lablib.panels.parts import draw_sample, join_readings
from lablib.panels.sources import Source
from lablib.plots import plot_vmstat
from lablib.plots.machine import DEFAULT_COLUMNS, Strip, choose_limits, choose_ticks, read_strips
from lablib.plots.palette import VMSTAT_STYLES
from lablib.records import VmstatSample

POINTS_SHOWN = 300
STRIP_PIXELS = 64
TIMEOUT_S = 15.0

_READING_S = 0.1
_MARGIN = {"top": 6, "bottom": 6, "left": 60, "right": 20}
_TIME_PIXELS = 36
_MARK_PIXELS = 28
_NAME_PIXELS = 72


class MachinePanel(Panel[VmstatSample]):
    """Live strips of vmstat's columns over the last 300 samples, all on one time axis.

    `source` gives `VmstatSample`: `lambda: sample_vmstat(1, pid)`, or those of a recording. vmstat
    counts in whole seconds, so there is a sample a second at most. `columns` and `has_one_span`
    are those of `plots.plot_vmstat`.
    """

    def __init__(
        self,
        source: Source[VmstatSample],
        title: str = term("The memory of the machine"),
        columns: Sequence[str] = DEFAULT_COLUMNS,
        has_one_span: bool = False,
        interval_s: float = 1.0,
        recorded_on: str = "",
        points: int = POINTS_SHOWN,
    ) -> None:
        self.samples: deque[VmstatSample] = deque(maxlen=points)
        self.marks: list[tuple[float, str]] = []
        self.columns = tuple(columns)
        self.has_one_span = has_one_span
        self._came = threading.Condition()
        self._count = 0
        self._time = bqplot.LinearScale()
        self._heights = {name: bqplot.LinearScale() for name in self.columns}
        self._ups = {strip.name: self._make_up(strip) for strip in read_strips((), self.columns)}
        self.lines = {name: self._make_line(name) for name in self.columns}
        self._across = bqplot.LinearScale(min=0, max=1)
        self.mark_lines = {name: self._make_mark_lines() for name in self.columns}
        self.mark_words = self._make_mark_words()
        super().__init__(source, self._make_view(), title, interval_s, recorded_on)

    def mark(self, words: str) -> VmstatSample:
        """Wait for the next sample, mark its time across all strips, and return it.

        So a mark stands before what is done after this call, and the sample knows nothing of that.
        Raises `LabError` where no sample comes.
        """
        sample = self.await_sample()
        self.marks.append((sample.elapsed_s, words))
        self._show_marks()
        return sample

    def await_sample(self) -> VmstatSample:
        """Return the first sample that is read from now on; raises `LabError` if none comes."""
        asked_at_s = time.monotonic()
        with self._came:
            count = self._count
            while self.is_running and time.monotonic() - asked_at_s < TIMEOUT_S:
                # One that comes at once was being read already when it was asked for.
                if self._count != count and time.monotonic() - asked_at_s > _READING_S:
                    return self.samples[-1]
                count = self._count
                self._came.wait(0.5)
        raise LabError(
            term("no sample comes: {title}", title=self.title),
            term("run the cell that shows the panel again"),
        )

    def since(self, sample: VmstatSample) -> list[VmstatSample]:
        """Return a sample and all that came after it, as far as they are kept."""
        return [one for one in list(self.samples) if one.elapsed_s >= sample.elapsed_s]

    def _make_line(self, name: str) -> bqplot.Lines:
        return bqplot.Lines(
            x=[],
            y=[],
            scales={"x": self._time, "y": self._heights[name]},
            colors=[VMSTAT_STYLES[name].color],
            stroke_width=2.5,
        )

    def _make_mark_lines(self) -> bqplot.Lines:
        return bqplot.Lines(
            x=[],
            y=[],
            scales={"x": self._time, "y": self._across},
            colors=["#333333"],
            line_style="dotted",
            stroke_width=1.5,
        )

    def _make_mark_words(self) -> bqplot.Label:
        return bqplot.Label(
            scales={"x": self._time, "y": self._across},
            text=[],
            x=[],
            y=[],
            colors=["#333333"],
            default_size=12,
            font_weight="normal",
            apply_clip=False,  # they stand above the first strip
        )

    def _make_view(self) -> widgets.DOMWidget:
        return widgets.VBox(
            [
                widgets.HBox([_make_name(strip), self._make_figure(strip.name)])
                for strip in read_strips((), self.columns)
            ],
            layout=widgets.Layout(width="100%"),
        )

    def _make_up(self, strip: Strip) -> bqplot.Axis:
        return bqplot.Axis(
            scale=self._heights[strip.name],
            side="left",
            tick_format=",.1f" if strip.is_rate else "+,.0f",
            grid_color="#dddddd",
        )

    def _make_figure(self, name: str) -> bqplot.Figure:
        is_last = name == self.columns[-1]
        along = bqplot.Axis(
            scale=self._time,
            label=say("time (s)") if is_last else "",
            label_offset="2.2em",
            grid_lines="none",
            tick_style={} if is_last else {"display": "none"},
        )
        words = [self.mark_words] if name == self.columns[0] else []
        above = _MARK_PIXELS if words else 0
        below = _TIME_PIXELS if is_last else 0
        return bqplot.Figure(
            marks=[self.lines[name], self.mark_lines[name], *words],
            axes=[self._ups[name], along],
            padding_x=0.0,
            padding_y=0.0,
            fig_margin={
                **_MARGIN,
                "top": _MARGIN["top"] + above,
                "bottom": _MARGIN["bottom"] + below,
            },
            min_aspect_ratio=0.01,
            max_aspect_ratio=100,
            layout=widgets.Layout(width="100%", height=f"{STRIP_PIXELS + above + below}px"),
        )

    def _clear(self) -> None:
        self.samples.clear()
        self.marks.clear()
        self._show_marks()

    def _draw(self, record: VmstatSample) -> str:
        self.samples.append(record)
        strips = read_strips(list(self.samples), self.columns)
        limits = choose_limits(strips, self.has_one_span)
        first_s = self.samples[0].elapsed_s
        self._time.min, self._time.max = first_s, max(record.elapsed_s, first_s + 1)
        for strip in strips:
            self._fit_height(strip.name, *limits[strip.name])
            with self.lines[strip.name].hold_sync():
                self.lines[strip.name].x = strip.times_s
                self.lines[strip.name].y = strip.values
        with self._came:
            self._count += 1
            self._came.notify_all()
        return join_readings(_word_strip(strip) for strip in strips)

    def _fit_height(self, name: str, low: float, high: float) -> None:
        scale = self._heights[name]
        if (scale.min, scale.max) != (low, high):
            with scale.hold_sync():
                scale.min, scale.max = low, high
            self._ups[name].tick_values = choose_ticks(low, high)

    def _show_marks(self) -> None:
        times = [at for at, _ in self.marks]
        for line in self.mark_lines.values():
            with line.hold_sync():
                line.x = [[at, at] for at in times]
                line.y = [[0.0, 1.0] for _ in times]
        with self.mark_words.hold_sync():
            self.mark_words.x = times
            self.mark_words.y = [1.27 if place % 2 else 1.03 for place in range(len(times))]
            self.mark_words.text = [say(words) for _, words in self.marks]

    def _plot(self) -> tuple[Figure, str] | None:
        if not self.samples:
            return None
        samples = list(self.samples)
        marks = [mark for mark in self.marks if mark[0] >= samples[0].elapsed_s]
        return plot_vmstat(samples, self.title, self.columns, marks, self.has_one_span)


def _make_name(strip: Strip) -> widgets.HTML:
    """Return the name beside a strip: along it there is no room for one."""
    return widgets.HTML(
        f"<b>{strip.name}</b><br>{strip.unit}",
        layout=widgets.Layout(width=f"{_NAME_PIXELS}px", min_width=f"{_NAME_PIXELS}px"),
    )


def _word_strip(strip: Strip) -> str:
    shown = f"{strip.last_mib:,.1f} {strip.unit}" if strip.values else say("not known")
    return f"{draw_sample(VMSTAT_STYLES[strip.name])} {strip.name} <b>{shown}</b>"
