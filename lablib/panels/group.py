"""A capped group of processes as moving lines: what it holds, its limit, and how long it waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

import bqplot
import ipywidgets as widgets
from matplotlib.figure import Figure

from lablib.exhaustion import measure_room, measure_waiting, predict_seconds_left
from lablib.language import say, term
from lablib.panels.base import Panel
from lablib.panels.parts import DASHES, draw_sample, join_readings
from lablib.panels.sources import Source
from lablib.plots import MIB, plot_group
from lablib.plots.group import GROUP_READERS, find_limit_hits
from lablib.plots.palette import BLACK, GROUP_STYLES, PRESSURE_STYLES, LineStyle
from lablib.records import GroupSample, GroupStep
from lablib.wording import count_of

POINTS_SHOWN = 300
HIT_LABEL = term("the limit was met")


class GroupPanel(Panel[GroupSample]):
    """A live chart of a group's memory and its limit over the last 300 samples.

    Above are anonymous memory, page cache, swap and the limit in MiB, with a cross on the limit for
    each sample before which a charge has met it; below is the share of the time that processes
    waited for memory. The words beside it say how long the room lasts at the present rate.

    `source` gives `GroupSample`: a function that reads one, or those of a recording. The picture
    at the end has the `steps` in it that are there by then.
    """

    def __init__(
        self,
        source: Source[GroupSample],
        title: str = term("What the group holds, and its limit"),
        interval_s: float = 0.2,
        recorded_on: str = "",
        points: int = POINTS_SHOWN,
        steps: Sequence[GroupStep] = (),
    ) -> None:
        self.steps = steps
        self.samples: deque[GroupSample] = deque(maxlen=points)
        self.times = bqplot.LinearScale()
        self.sizes = bqplot.LinearScale(min=0, max=1)
        self.shares = bqplot.LinearScale(min=0, max=100)
        self.lines = self._make_lines(GROUP_STYLES, self.sizes)
        self.waiting = self._make_lines(PRESSURE_STYLES, self.shares)
        self.hits = bqplot.Scatter(
            x=[],
            y=[],
            scales={"x": self.times, "y": self.sizes},
            colors=[BLACK],
            marker="cross",
            default_size=60,
        )
        super().__init__(source, self._make_view(), title, interval_s, recorded_on)

    def _make_lines(
        self, styles: Mapping[str, LineStyle], scale: bqplot.LinearScale
    ) -> dict[str, bqplot.Lines]:
        return {
            name: bqplot.Lines(
                x=[],
                y=[],
                scales={"x": self.times, "y": scale},
                colors=[style.color],
                line_style=DASHES[style.dashes],
                stroke_width=3,
            )
            for name, style in styles.items()
        }

    def _make_view(self) -> widgets.DOMWidget:
        marks = [*self.lines.values(), self.hits]
        above = self._make_chart(marks, self.sizes, say("size (MiB)"), "", 230)
        waiting = [*self.waiting.values()]
        below = self._make_chart(waiting, self.shares, say("waiting (%)"), say("time (s)"), 135)
        below.axes[1].tick_values = [0, 50, 100]
        return widgets.VBox([above, below])

    def _make_chart(
        self,
        marks: list[bqplot.Mark],
        scale: bqplot.LinearScale,
        label: str,
        time_label: str,
        height_px: int,
    ) -> bqplot.Figure:
        across = bqplot.Axis(
            scale=self.times, label=time_label, label_offset="2.4em", grid_lines="none"
        )
        up = bqplot.Axis(
            scale=scale, label=label, side="left", label_offset="4em", grid_color="#dddddd"
        )
        return bqplot.Figure(
            marks=marks,
            axes=[across, up],
            fig_margin={"top": 8, "bottom": 42 if time_label else 22, "left": 75, "right": 20},
            layout=widgets.Layout(width="100%", height=f"{height_px}px"),
        )

    def _clear(self) -> None:
        self.samples.clear()

    def _draw(self, record: GroupSample) -> str:
        self.samples.append(record)
        self._fit_scales()
        self._draw_sizes()
        self._draw_waiting()
        hits = record.memory.limit_hits - self.samples[0].memory.limit_hits
        met = f"\N{MULTIPLICATION SIGN} {say(HIT_LABEL)} <b>{say(count_of(hits, 'time'))}</b>"
        words = [*self._word_sizes(record), met, self._word_waiting(), self._word_room()]
        return join_readings(words)

    def _draw_sizes(self) -> None:
        for name, read in GROUP_READERS.items():
            known = [(s.elapsed_s, v / MIB) for s in self.samples if (v := read(s)) is not None]
            _set_points(self.lines[name], known)
        hits = find_limit_hits(self.samples)
        _set_points(self.hits, [(h.elapsed_s, (h.memory.limit_bytes or 0) / MIB) for h in hits])

    def _draw_waiting(self) -> None:
        waited = [(b.elapsed_s, measure_waiting(a, b)) for a, b in pairwise(self.samples)]
        for name, line in self.waiting.items():
            _set_points(line, [(at, shares[name]) for at, shares in waited if name in shares])

    def _fit_scales(self) -> None:
        """Leave room above the largest size; in steps, so that the chart doesn't breathe."""
        self.times.min, self.times.max = self.samples[0].elapsed_s, self.samples[-1].elapsed_s
        sizes = [read(each) or 0 for each in self.samples for read in GROUP_READERS.values()]
        needed = max(sizes) / MIB * 1.1
        if not needed <= self.sizes.max <= 2 * needed:
            self.sizes.max = max(1.0, 1.2 * needed)

    def _word_sizes(self, record: GroupSample) -> list[str]:
        words = []
        for name, read in GROUP_READERS.items():
            size_bytes = read(record)
            shown = say("not known") if size_bytes is None else f"{size_bytes / MIB:,.1f} MiB"
            style = GROUP_STYLES[name]
            words.append(f"{draw_sample(style)} {say(style.label)} <b>{shown}</b>")
        return words

    def _word_waiting(self) -> str:
        latest = list(self.samples)[-2:]
        shares = measure_waiting(latest[0], latest[-1])
        if not shares:
            return say("waiting <b>not known</b>")
        return say(", ").join(
            f"{draw_sample(PRESSURE_STYLES[name])} {say(PRESSURE_STYLES[name].label)}"
            f" <b>{share:.0f} %</b>"
            for name, share in shares.items()
        )

    def _word_room(self) -> str:
        room_bytes = measure_room(self.samples[-1])
        if room_bytes is None:
            return say("no limit")
        seconds = predict_seconds_left(self.samples)
        room = room_bytes / MIB
        if seconds is None:
            return say("room <b>{room:,.1f} MiB</b>", room=room)
        return say(
            "room <b>{room:,.1f} MiB</b>, for <b>{seconds:.1f} s</b> at this rate",
            room=room,
            seconds=seconds,
        )

    def _plot(self) -> tuple[Figure, str] | None:
        return plot_group(list(self.samples), self.title, self.steps) if self.samples else None


def _set_points(mark: bqplot.Mark, points: list[tuple[float, float]]) -> None:
    """Have a mark show these points, in one message; an empty one stays so without a message."""
    if len(points) == len(mark.x) == 0:
        return
    with mark.hold_sync():
        mark.x, mark.y = [at for at, _ in points], [value for _, value in points]
