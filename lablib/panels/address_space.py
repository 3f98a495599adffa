"""A process's address space, to scale: from all of its addresses down to single pages."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure

from lablib.errors import LabError
from lablib.language import list_texts, say, term
from lablib.panels.base import Panel
from lablib.panels.sources import Source
from lablib.plots import plot_address_space
from lablib.plots.palette import SEGMENT_STYLES
from lablib.plots.regions import (
    PAGE_BYTES,
    find_span,
    list_user_segments,
    measure_resident,
    name_program,
    name_segment,
)
from lablib.records import PRESENT, AddressSpace, ResidentPages, Segment
from lablib.wording import count_of, format_size

MAX_CELLS = 512
MAX_VIEW_BYTES = 1 << 29
MAX_SHARE_CHANGED = 0.25
NO_CHANGES: dict[str, list[Any]] = {"new": [], "gone": []}
UNKNOWN = 255

PageReader = Callable[[int, int], ResidentPages]
"""A function that reads the pages of a range of addresses, from start to end."""

_RIGHTS = {
    "r": term("readable"),
    "w": term("writable"),
    "x": term("executable"),
    "p": term("private"),
    "s": term("shared"),
}

_TEXTS = (
    term("Zoom"),
    term("Regions, high addresses first"),
    term("region"),
    term("from"),
    term("permissions"),
    term("size"),
    term("resident"),
    term("Show all"),
    term("Show all addresses"),
    term("Zoom to region"),
    term("Zoom to the selected region"),
    term("Zoom in"),
    term("Zoom out"),
    term("Move up, to higher addresses"),
    term("Move down, to lower addresses"),
    term("in RAM"),
    term("all {all} to scale"),
    term("{size} of {all} to scale"),
    term("{shown}. The table has the same regions in words."),
    term("{size} not mapped"),
    term("Choose a region in the drawing or in the table; Enter or a double click zooms to it."),
    term("Not mapped: to touch it ends the program."),
)
"""What the JavaScript file says."""


class AddressSpaceWidget(anywidget.AnyWidget):
    """The drawing and the table; what its traits mean is told in the JavaScript file."""

    _esm = Path(__file__).with_name("address_space.js")
    _css = Path(__file__).with_name("address_space.css")

    regions: Any = traitlets.List().tag(sync=True)
    changes: Any = traitlets.Dict(NO_CHANGES).tag(sync=True)
    styles = traitlets.Dict().tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)
    pages = traitlets.Dict().tag(sync=True)
    view = traitlets.List([0, 1 << 47]).tag(sync=True)
    selected = traitlets.Int(-1).tag(sync=True)
    span = traitlets.Int(1 << 47).tag(sync=True)
    page_bytes = traitlets.Int(PAGE_BYTES).tag(sync=True)


class AddressSpacePanel(Panel[AddressSpace]):
    """A live map of what a process has mapped: to scale with a zoom, and as a table.

    `source` is `follow_address_space(pid)`, or an `AddressSpace`, or several, of a recording.
    `pages` marks the pages that are in memory where the map shows few enough: `lambda start, end:
    read_resident_pages(pid, start, end)`, or recorded ranges. Without it a region shows its share.
    """

    hides_view_when_over = False

    def __init__(
        self,
        source: Source[AddressSpace],
        pages: PageReader | Sequence[ResidentPages] = (),
        title: str = term("The address space"),
        interval_s: float = 0.5,
        recorded_on: str = "",
    ) -> None:
        self.space: AddressSpace | None = None
        self._pages = pages
        self._words = ""
        self._sent: dict[int, dict[str, Any]] = {}
        styles = {
            kind: {**vars(style), "label": say(style.label)}
            for kind, style in SEGMENT_STYLES.items()
        }
        self.map = AddressSpaceWidget(styles=styles, texts=list_texts(_TEXTS))
        self.map.observe(lambda _: self._mark_pages(), "view")
        super().__init__(source, self.map, title, interval_s, recorded_on)

    def zoom_to(self, address: int) -> None:
        """Select the region that an address lies in, and show it; does nothing where none is."""
        segment = self.space.find(address) if self.space is not None else None
        if segment is not None:
            margin = max(PAGE_BYTES // 2, segment.size_bytes // 16)
            self.map.selected = segment.start
            self.map.view = [max(0, segment.start - margin), segment.end + margin]

    def _draw(self, record: AddressSpace) -> str:
        if record is self.space:
            return self._words
        self.space = record
        segments = list_user_segments(record)
        with self.map.hold_sync():
            self.map.span = find_span(record)
            self._send({segment.start: describe_segment(segment) for segment in segments})
        self._mark_pages()
        self._words = say(
            "Process {pid} ({program}): <b>{size}</b> mapped, <b>{resident}</b> resident,"
            " in {regions}",
            pid=record.pid,
            program=html.escape(name_program(record)),
            size=format_size(record.size_bytes),
            resident=format_size(record.rss_bytes),
            regions=count_of(len(segments), "region"),
        )
        return self._words

    def _send(self, regions: dict[int, dict[str, Any]]) -> None:
        """Tell the map what has changed since it was last told all; all again where it is much."""
        new = [region for start, region in regions.items() if self._sent.get(start) != region]
        gone = [start for start in self._sent if start not in regions]
        if len(new) + len(gone) <= MAX_SHARE_CHANGED * len(regions):
            self.map.changes = {"new": new, "gone": gone}
        else:
            self._sent = regions
            self.map.regions, self.map.changes = list(regions.values()), NO_CHANGES

    def _plot(self) -> tuple[Figure, str] | None:
        return plot_address_space(self.space) if self.space is not None else None

    def _mark_pages(self) -> None:
        """Have the map mark the pages in its view; none in a large view, or without a source."""
        space, (start, end) = self.space, self.map.view
        shown = [] if space is None else _clip_segments(list_user_segments(space), start, end)
        if not self._pages or not shown or end - start > MAX_VIEW_BYTES:
            self.map.pages = {}
            return
        try:
            ranges = [pages for low, high in shown for pages in self._find_pages(low, high)]
        except LabError:
            ranges = []  # the process has ended between two reads; the next record says so
        self.map.pages = gather_cells(ranges, start, end) if ranges else {}

    def _find_pages(self, start: int, end: int) -> Sequence[ResidentPages]:
        if callable(self._pages):
            return [self._pages(start, end)]
        return [pages for pages in self._pages if pages.start < end and start < pages.end]


def _clip_segments(segments: Sequence[Segment], start: int, end: int) -> list[tuple[int, int]]:
    """Return the parts of segments between two addresses as whole pages, each page once."""
    parts: list[tuple[int, int]] = []
    for segment in segments:
        low = max(segment.start, start) // PAGE_BYTES * PAGE_BYTES
        high = -(-min(segment.end, end) // PAGE_BYTES) * PAGE_BYTES
        if parts and low <= parts[-1][1]:
            low, before = parts[-1][0], parts.pop()
            high = max(high, before[1])
        if low < high and segment.start < end and start < segment.end:
            parts.append((low, high))
    return parts


def gather_cells(ranges: Sequence[ResidentPages], start: int, end: int) -> dict[str, Any]:
    """Return cells for a view: where they start, their bytes, and percent in memory of each.

    A cell is one page, or as many as it takes that there are at most 512. `UNKNOWN` is the percent
    of a cell without any page that was read.
    """
    first = start // PAGE_BYTES
    total = -(-end // PAGE_BYTES) - first
    pages_a_cell = max(1, -(-total // MAX_CELLS))
    count = -(-total // pages_a_cell)
    seen, present = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for pages in ranges:
        flags = np.frombuffer(pages.flags, np.uint8)
        numbers = np.arange(len(flags)) + (pages.start // PAGE_BYTES - first)
        is_inside = (numbers >= 0) & (numbers < total)
        cells = numbers[is_inside] // pages_a_cell
        seen += np.bincount(cells, minlength=count)
        present += np.bincount(cells[(flags[is_inside] & PRESENT) > 0], minlength=count)
    percent = -(-100 * present // np.maximum(seen, 1))
    return {
        "start": first * PAGE_BYTES,
        "cell_bytes": pages_a_cell * PAGE_BYTES,
        "cells": np.where(seen, percent, UNKNOWN).astype(np.uint8).tobytes(),
    }


@lru_cache(maxsize=1024)
def describe_segment(segment: Segment) -> dict[str, Any]:
    """Return what the map is told of a segment: its place, its numbers, and all of it in words.

    Most segments don't change from one record to the next, so this is kept.
    """
    resident_bytes, is_exact = measure_resident(segment)
    amount = format_size(resident_bytes)
    bound = amount if is_exact else term("up to {amount}", amount=amount)
    resident = say(bound if resident_bytes else term("none"))
    return {
        "start": segment.start,
        "end": segment.end,
        "kind": segment.kind,
        "label": say(name_segment(segment)),
        "permissions": segment.vma.permissions,
        "size": say(format_size(segment.size_bytes)),
        "resident": resident,
        "share": round(resident_bytes / max(1, segment.size_bytes), 4),
        "words": _describe_in_words(segment, resident),
    }


def _describe_in_words(segment: Segment, resident: str) -> str:
    vma = segment.vma
    rights = [say(_RIGHTS[letter]) for letter in vma.permissions if letter in _RIGHTS]
    guessed = term("{owner}, as its shape suggests", owner=term(segment.owner))
    is_whole = segment.size_bytes == vma.size_bytes
    return say(
        "{name}{section}: {start:#x} to {end:#x}, {size}; resident: {resident}; {pss}."
        " {rights} ({permissions}). Put there by: {owner}.{mapped}",
        name=name_segment(segment),
        section=f" ({segment.section})" if segment.section else "",
        start=segment.start,
        end=segment.end,
        size=format_size(segment.size_bytes),
        resident=resident,
        pss=term(
            "PSS {size}" if is_whole else "its mapping's PSS {size}",
            size=format_size(vma.pss_bytes),
        ),
        rights=say(", ").join(rights).capitalize(),
        permissions=vma.permissions,
        owner=guessed if segment.is_inferred else term(segment.owner),
        mapped=term(" Mapped: {path}", path=vma.path) if vma.path else "",
    )
