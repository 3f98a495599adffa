"""The sizes of a process as moving lines: promised (VmSize) against paid (RSS, PSS)."""

from __future__ import annotations

from collections import deque

from matplotlib.figure import Figure

from lablib.language import say, term
from lablib.panels.base import Panel
from lablib.panels.line_chart import LineChart
from lablib.panels.parts import draw_sample, join_readings
from lablib.panels.sources import Source
from lablib.plots import MIB, plot_sizes
from lablib.plots.palette import SIZE_STYLES
from lablib.plots.process import SIZE_READERS
from lablib.records import ProcessSizes

POINTS_SHOWN = 300


class SizesPanel(Panel[ProcessSizes]):
    """A live chart of VmSize, RSS and PSS in MiB over the last 300 samples.

    A size that a sample doesn't know stays as it was until one does.

    `source` gives `ProcessSizes`: `lambda: sample_sizes(pid, 0.2)`, or those of a recording.
    """

    def __init__(
        self,
        source: Source[ProcessSizes],
        title: str = term("Promised (VmSize) and paid (RSS, PSS)"),
        interval_s: float = 0.2,
        recorded_on: str = "",
        points: int = POINTS_SHOWN,
    ) -> None:
        self.samples: deque[ProcessSizes] = deque(maxlen=points)
        self.chart = LineChart(SIZE_STYLES, points, term("size (MiB)"))
        self._known: dict[str, float] = {}
        super().__init__(source, self.chart, title, interval_s, recorded_on)

    def _clear(self) -> None:
        self.samples.clear()
        self._known.clear()
        self.chart.clear()

    def _draw(self, record: ProcessSizes) -> str:
        self.samples.append(record)
        sizes = {name: read(record) for name, read in SIZE_READERS.items()}
        known = {name: size / MIB for name, size in sizes.items() if size is not None}
        self.chart.add(record.elapsed_s, [known.get(name) for name in SIZE_STYLES])
        self._known |= known
        return join_readings(
            f"{draw_sample(style)} {name} <b>{self._word(name)}</b>"
            for name, style in SIZE_STYLES.items()
        )

    def _word(self, name: str) -> str:
        return f"{self._known[name]:,.1f} MiB" if name in self._known else say("not known")

    def _plot(self) -> tuple[Figure, str] | None:
        return plot_sizes(list(self.samples), self.title) if self.samples else None
