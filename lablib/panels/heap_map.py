"""The blocks of malloc's heap along its addresses, while they are allocated and freed."""

from __future__ import annotations

from pathlib import Path

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure

from lablib.language import list_texts, say, term
from lablib.panels.base import Panel
from lablib.panels.parts import draw_swatch, join_readings
from lablib.panels.sources import Source
from lablib.plots import plot_heap_map
from lablib.plots.heap import PAGE_BYTES, choose_row_bytes, describe_heap_map, total_by_state
from lablib.plots.palette import CHUNK_STYLES
from lablib.records import CHUNK_STATES, HeapMap
from lablib.wording import count_of, format_size

_TEXTS = (
    term("Point at a block, or walk through them with the arrow keys."),
    term("a line is {bytes}"),
    term("a line is {bytes}, one page"),
    term("Block {number} of {count}, {state}: {size} bytes with its header, {start} to {end}"),
)
"""What the JavaScript file says."""


class HeapMapWidget(anywidget.AnyWidget):
    """The drawing; what its traits mean is told in the JavaScript file."""

    _esm = Path(__file__).with_name("heap_map.js")
    _css = Path(__file__).with_name("heap_map.css")

    first = traitlets.Int(0).tag(sync=True)
    row_bytes = traitlets.Int(PAGE_BYTES).tag(sync=True)
    sizes = traitlets.Bytes(b"").tag(sync=True)
    states = traitlets.Bytes(b"").tag(sync=True)
    words = traitlets.Unicode("").tag(sync=True)
    styles = traitlets.Dict().tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)
    state_names = traitlets.List(list(CHUNK_STATES)).tag(sync=True)


class HeapMapPanel(Panel[HeapMap]):
    """A live map of the blocks that are used, cached, free, and at the top of the heap.

    `source` is `lambda: read_heap_map(pid)`, or a `HeapMap`, or several, of a recording.
    """

    def __init__(
        self,
        source: Source[HeapMap],
        title: str = term("The heap, block by block"),
        interval_s: float = 0.5,
        recorded_on: str = "",
    ) -> None:
        self.heap_map: HeapMap | None = None
        self._words = ""
        styles = {
            state: {**vars(style), "label": say(style.label)}
            for state, style in CHUNK_STYLES.items()
        }
        self.map = HeapMapWidget(styles=styles, texts=list_texts(_TEXTS))
        super().__init__(source, self.map, title, interval_s, recorded_on)

    def _draw(self, record: HeapMap) -> str:
        if record != self.heap_map:
            self._send(record)
            self.heap_map = record
        return self._words

    def _send(self, record: HeapMap) -> None:
        with self.map.hold_sync():
            self.map.first = record.start
            self.map.row_bytes = choose_row_bytes(record)
            self.map.sizes = np.frombuffer(record.sizes, np.uint64).astype(np.uint32).tobytes()
            self.map.states = record.states
            self.map.words = describe_heap_map(record)
        self._words = join_readings(
            f"{draw_swatch(CHUNK_STYLES[state])} {say(CHUNK_STYLES[state].label)}"
            f" <b>{say(format_size(size_bytes))}</b> ({say(count_of(blocks, 'block'))})"
            for state, (blocks, size_bytes) in total_by_state(record).items()
        )

    def _plot(self) -> tuple[Figure, str] | None:
        return plot_heap_map(self.heap_map) if self.heap_map is not None else None
