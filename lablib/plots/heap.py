"""The heap: how many bytes are live over time, and where its blocks lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lablib.language import say, term
from lablib.plots.lettering import letter
from lablib.plots.palette import BLUE, CHUNK_STYLES, HATCHES, VERMILLION
from lablib.plots.parts import EDGE_COLOR, MIB, draw_key, make_figure, make_key
from lablib.records import CHUNK_STATES, Chunk, HeapMap, HeapTrace
from lablib.wording import count_of, format_size

PAGE_BYTES = 4096
MAX_ROWS = 40

_STYLES: tuple[dict[str, Any], ...] = (
    {"color": VERMILLION, "marker": "D"},
    {"color": BLUE, "marker": "o"},
)


def plot_live_bytes(
    traces: dict[str, HeapTrace], axes: Axes | None = None, title: str = ""
) -> tuple[Figure, str]:
    """Return a figure of the live heap bytes of one or more traces, and its text description.

    One line per trace, in MiB, over the seconds since its tracing began.
    """
    figure = make_figure(3.5, 8) if axes is None else None
    if figure is not None:
        axes = figure.subplots()
    assert axes is not None
    sentences = []
    for (label, trace), style in zip(traces.items(), cycle(_STYLES), strict=False):
        times = [snapshot.elapsed_s for snapshot in trace.snapshots]
        live = [snapshot.live_bytes / MIB for snapshot in trace.snapshots]
        axes.plot(times, live, markersize=4, label=letter(label), **style)
        if live:
            sentences.append(
                say(
                    "{label}: {live:,.2f} MiB live after {seconds:.1f} s",
                    label=term(label),
                    live=live[-1],
                    seconds=times[-1],
                )
            )
    axes.set_xlabel(letter("time since the tracing began (s)"))
    axes.set_ylabel(letter("live heap (MiB)"))
    axes.set_title(letter(title or term("Allocated and not freed")))
    axes.grid(alpha=0.3)
    axes.legend()
    drawn = figure if figure is not None else axes.figure
    assert isinstance(drawn, Figure)
    return drawn, say("{facts}.", facts=say("; ").join(sentences))


def plot_heap_map(heap_map: HeapMap, title: str = "") -> tuple[Figure, str]:
    """Return a figure of the blocks of malloc's main heap, and its text description.

    The addresses run like the lines of a text, low ones at the top. A line is one page of 4 KiB
    where the heap has at most 40, else a power of two of pages. Sizes include malloc's own headers.
    """
    row_bytes = choose_row_bytes(heap_map)
    first = heap_map.start - heap_map.start % row_bytes
    bars: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for chunk in heap_map.chunks:
        for row, offset, length in _cut_into_rows(chunk, first, row_bytes):
            bars[chunk.state][row].append((offset, length))
    rows = max(1, -((first - heap_map.end) // row_bytes))
    figure = make_figure()
    axes = figure.subplots()
    outline = 0.5 if len(heap_map.chunks) < 2000 else 0
    for state, by_row in bars.items():
        style = CHUNK_STYLES[state]
        for row, spans in by_row.items():
            axes.broken_barh(
                spans,
                (row + 0.08, 0.84),
                facecolor=style.color,
                hatch=HATCHES[style.hatch],
                edgecolor=EDGE_COLOR,
                linewidth=outline,
            )
    axes.set_xlim(0, row_bytes)
    axes.set_ylim(rows, 0)
    axes.set_xticks([row_bytes * part / 8 for part in range(9)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: format_size(int(at))))
    axes.set_yticks([row + 0.5 for row in range(0, rows, -(-rows // 20))])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{first + int(at) * row_bytes:#x}"))
    axes.tick_params(axis="y", labelsize=9, labelfontfamily="monospace")
    axes.set_xlabel(
        letter("bytes from the start of the line, each {size}", size=format_size(row_bytes))
    )
    axes.set_ylabel(letter("address of the line"))
    totals = total_by_state(heap_map)
    draw_key(
        axes,
        (
            make_key(
                style,
                letter("{label}: {size}", label=style.label, size=format_size(totals[state][1])),
            )
            for state, style in CHUNK_STYLES.items()
        ),
    )
    size = format_size(heap_map.end - heap_map.start)
    figure.suptitle(letter(title) or letter("The heap, {size}", size=size))
    return figure, describe_heap_map(heap_map)


def choose_row_bytes(heap_map: HeapMap) -> int:
    """Return how many bytes a line of a block map stands for: pages, so that it has few lines."""
    row_bytes = PAGE_BYTES
    while (heap_map.end - heap_map.start) / row_bytes > MAX_ROWS:
        row_bytes *= 2
    return row_bytes


def total_by_state(heap_map: HeapMap) -> dict[str, tuple[int, int]]:
    """Return how many blocks are in each of `records.CHUNK_STATES`, and their bytes."""
    states = np.frombuffer(heap_map.states, np.uint8)
    sizes = np.frombuffer(heap_map.sizes, np.uint64).astype(np.float64)
    blocks = np.bincount(states, minlength=len(CHUNK_STATES))
    totals = np.bincount(states, sizes, minlength=len(CHUNK_STATES))
    return {
        state: (int(count), int(total))
        for state, count, total in zip(CHUNK_STATES, blocks, totals, strict=True)
    }


def describe_heap_map(heap_map: HeapMap) -> str:
    """Return in words what a block map shows, with its numbers."""
    totals = total_by_state(heap_map)
    parts = [
        say(
            "{blocks} of {size} {state}",
            blocks=count_of(blocks, "block"),
            size=format_size(size_bytes),
            state=CHUNK_STYLES[state].label,
        )
        for state, (blocks, size_bytes) in totals.items()
        if blocks and state != "top"
    ]
    top = format_size(totals["top"][1])
    parts.append(say("{size} at the top, never handed out or given back to it", size=top))
    return say(
        "The heap has {size} from {start:#x} on: {parts}.",
        size=format_size(heap_map.end - heap_map.start),
        start=heap_map.start,
        parts=say("; ").join(parts),
    )


def _cut_into_rows(chunk: Chunk, first: int, row_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Yield the parts of a chunk that lie in one row each: row, bytes from its start, length."""
    at, end = chunk.address - first, chunk.address + chunk.size_bytes - first
    while at < end:
        row, offset = divmod(at, row_bytes)
        length = min(end - at, row_bytes - offset)
        yield row, offset, length
        at += length
