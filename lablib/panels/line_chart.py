"""Lines that move: the last points of several numbers over time, on one chart."""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from lablib.language import say, term
from lablib.panels.parts import DASHES
from lablib.plots.palette import LineStyle


class LineChart(anywidget.AnyWidget):
    """A chart of the last `length` points of the lines that `styles` names.

    Each point costs the kernel one message with all points as they are drawn, 4 bytes a number: no
    more work than to send the new one only, and what shows them later, or again, has them all.
    """

    _esm = Path(__file__).with_name("line_chart.js")
    _css = Path(__file__).with_name("line_chart.css")

    lines: Any = traitlets.List().tag(sync=True)
    points = traitlets.Bytes(b"").tag(sync=True)
    x_label = traitlets.Unicode().tag(sync=True)
    y_label = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        styles: Mapping[str, LineStyle],
        length: int,
        y_label: str,
        x_label: str = term("time (s)"),
    ) -> None:
        lines = [
            {"name": name, "color": style.color, "dashes": DASHES[style.dashes]}
            for name, style in styles.items()
        ]
        self._row = struct.Struct(f"<{1 + len(lines)}f")
        self._rows: deque[bytes] = deque(maxlen=length)
        super().__init__(lines=lines, x_label=say(x_label), y_label=say(y_label))

    def add(self, x: float, values: Sequence[float | None]) -> None:
        """Add a point to each line, in their order; one that is not known is left out."""
        known = (math.nan if value is None else value for value in values)
        self._rows.append(self._row.pack(x, *known))
        self.points = b"".join(self._rows)

    def clear(self) -> None:
        """Take all points away."""
        self._rows.clear()
        self.points = b""

    def read_line(self, name: str) -> list[tuple[float, float]]:
        """Return the points of a line that are shown: x, and the number, where it is known."""
        place = 1 + [line["name"] for line in self.lines].index(name)
        rows = self._row.iter_unpack(self.points)
        return [(row[0], row[place]) for row in rows if not math.isnan(row[place])]
