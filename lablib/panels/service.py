"""A service against its cap: its resident set as a moving line, and how long it is up."""

from __future__ import annotations

from collections import deque

from matplotlib.figure import Figure

from lablib.language import say, term
from lablib.panels.base import Panel
from lablib.panels.line_chart import LineChart
from lablib.panels.parts import draw_sample, join_readings
from lablib.panels.sources import Source
from lablib.plots import MIB, plot_service
from lablib.plots.palette import SERVICE_STYLES
from lablib.records import ServiceSample

POINTS_SHOWN = 1200


class ServicePanel(Panel[ServiceSample]):
    """A live chart of the resident set of a service and of its cap, in MiB, over the minutes.

    `source` gives `ServiceSample`, `limit_bytes` is the cap. The minutes count from the page.
    """

    def __init__(
        self,
        source: Source[ServiceSample],
        limit_bytes: int,
        title: str = term("The service against its cap"),
        interval_s: float = 1.0,
        recorded_on: str = "",
    ) -> None:
        self.limit_bytes = limit_bytes
        self.samples: deque[ServiceSample] = deque(maxlen=POINTS_SHOWN)
        self.chart = LineChart(
            SERVICE_STYLES, POINTS_SHOWN, term("size (MiB)"), term("time since the page (minutes)")
        )
        super().__init__(source, self.chart, title, interval_s, recorded_on)

    def _clear(self) -> None:
        self.samples.clear()
        self.chart.clear()

    def _draw(self, record: ServiceSample) -> str:
        self.samples.append(record)
        resident, cap = record.rss_bytes / MIB, self.limit_bytes / MIB
        self.chart.add(record.elapsed_s / 60, [resident, cap])
        signs = {name: draw_sample(style) for name, style in SERVICE_STYLES.items()}
        return join_readings(
            (
                f"{say('since the page')} <b>{_word_time(record.elapsed_s)}</b>",
                f"{say('up')} <b>{_word_time(record.up_s)}</b>",
                f"{signs['resident']} {say('resident')} <b>{resident:,.1f} MiB</b>",
                f"{signs['cap']} {say('cap')} <b>{cap:,.0f} MiB</b>",
            )
        )

    def _plot(self) -> tuple[Figure, str] | None:
        return plot_service(list(self.samples), self.limit_bytes) if self.samples else None


def _word_time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return say("{minutes} min {seconds:02} s", minutes=minutes, seconds=rest)
