"""The sizes of a process as moving lines: promised (VmSize) against paid (RSS, PSS)."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import bqplot
import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from lablib.panels.base import Panel
from lablib.panels.parts import DASHES, draw_sample, join_readings
from lablib.panels.sources import Source
from lablib.plots import MIB, plot_sizes
from lablib.plots.palette import SIZE_STYLES
from lablib.plots.process import SIZE_READERS
from lablib.records import ProcessSizes

POINTS_SHOWN = 300

Points: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.float64]]"
"""Two rows: seconds, and MiB at that time."""


class SizesPanel(Panel[ProcessSizes]):
    """A live chart of VmSize, RSS and PSS in MiB over the last 300 samples.

    A size that a sample doesn't know gets no point; its line goes on at the next one.

    `source` gives `ProcessSizes`: `lambda: sample_sizes(pid, 0.2)`, or those of a recording.
    """

    def __init__(
        self,
        source: Source[ProcessSizes],
        title: str = "Promised (VmSize) and paid (RSS, PSS)",
        interval_s: float = 0.2,
        recorded_on: str = "",
        points: int = POINTS_SHOWN,
    ) -> None:
        self.samples: deque[ProcessSizes] = deque(maxlen=points)
        self._points: dict[str, Points] = {}
        self._clear()
        self.scales = {"x": bqplot.LinearScale(), "y": bqplot.LinearScale(min=0, max=1)}
        self.lines = {name: self._make_line(name) for name in SIZE_STYLES}
        super().__init__(source, self._make_view(), title, interval_s, recorded_on)

    def _make_line(self, name: str) -> bqplot.Lines:
        style = SIZE_STYLES[name]
        return bqplot.Lines(
            x=[],
            y=[],
            scales=self.scales,
            colors=[style.color],
            line_style=DASHES[style.dashes],
            stroke_width=3,
        )

    def _make_view(self) -> widgets.DOMWidget:
        axes = [
            bqplot.Axis(
                scale=self.scales["x"], label="time (s)", label_offset="2.8em", grid_lines="none"
            ),
            bqplot.Axis(
                scale=self.scales["y"],
                label="size (MiB)",
                side="left",
                label_offset="4em",
                grid_color="#dddddd",
            ),
        ]
        return bqplot.Figure(
            marks=list(self.lines.values()),
            axes=axes,
            fig_margin={"top": 10, "bottom": 45, "left": 75, "right": 20},
            layout=widgets.Layout(width="100%", height="360px"),
        )

    def _clear(self) -> None:
        self.samples.clear()
        self._points = {name: np.empty((2, 0)) for name in SIZE_STYLES}

    def _draw(self, record: ProcessSizes) -> str:
        self.samples.append(record)
        words = []
        self._fit_scale(record)
        for name, read in SIZE_READERS.items():
            size_bytes = read(record)
            if size_bytes is not None:
                self._add_point(name, record.elapsed_s, size_bytes / MIB)
            points = self._points[name]
            shown = f"{points[1, -1]:,.1f} MiB" if points.size else "not known"
            words.append(f"{draw_sample(SIZE_STYLES[name])} {name} <b>{shown}</b>")
        return join_readings(words)

    def _add_point(self, name: str, elapsed_s: float, size_mib: float) -> None:
        """Add to a line, and drop what is older than the first sample."""
        points = self._points[name]
        points = points[:, points[0] >= self.samples[0].elapsed_s]
        points = self._points[name] = np.append(points, [[elapsed_s], [size_mib]], axis=1)
        with self.lines[name].hold_sync():
            self.lines[name].x, self.lines[name].y = points

    def _fit_scale(self, record: ProcessSizes) -> None:
        """Leave room above the largest size; in steps, so that the chart doesn't breathe."""
        largest = self._points["VmSize"][1].max(initial=record.vm_size_bytes / MIB)
        needed = float(largest) * 1.05
        scale = self.scales["y"]
        if not needed <= scale.max <= 2 * needed:
            scale.max = 1.2 * needed

    def _plot(self) -> tuple[Figure, str] | None:
        return plot_sizes(list(self.samples), self.title) if self.samples else None
