"""A process's address space on one page: to scale, and beside it each region with its size.

Between a page of 4 KiB and all that a process may address, 128 TiB, lie ten orders of magnitude. So
the figure has two parts: a strip to scale, where nearly all is empty, and a row for each region in
the order of the addresses, with a logarithmic bar. What is empty between two rows is written there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lablib.plots.lettering import letter
from lablib.plots.palette import HATCHES, SEGMENT_STYLES
from lablib.plots.parts import EDGE_COLOR, make_figure
from lablib.plots.regions import (
    Region,
    describe_region,
    describe_space,
    find_span,
    list_user_segments,
    name_program,
    shorten,
    word_label,
    word_resident,
)
from lablib.records import AddressSpace, ResidentPages
from lablib.wording import format_size

MIN_GAP_BYTES = 1 << 24
SMALLEST_BYTES = 1 << 10
STRIP_COLOR = "#EEEEEE"

_ROW_INCHES = 0.235
_GAP_ROW_SHARE = 0.62


def plot_address_space(
    space: AddressSpace, resident: Sequence[ResidentPages] = (), title: str = ""
) -> tuple[Figure, str]:
    """Return a figure of a process's address space, and its text description.

    High addresses are at the top. The strip is to scale. In the rows a bar is as long as the region
    is large, on a logarithmic scale from 1 KiB on, and filled as far as it is resident. `resident`
    are pages of some ranges, as read_resident_pages gives them: where they cover a region, its
    resident bytes come from them, else from smaps.
    """
    regions = shorten([describe_region(segment, resident) for segment in list_user_segments(space)])
    lines = list(_insert_gaps(regions))
    height = max(3.5, 1.6 + _ROW_INCHES * sum(_share_of(line) for line in lines))
    figure = make_figure(height, 12.8)
    strip, labels, rows = figure.subplots(1, 3, width_ratios=(1, 8.5, 11))
    top = find_span(space)
    _draw_strip(strip, regions, top)
    tops = _draw_rows(rows, lines)
    _label_rows(labels, rows, lines, tops)
    _connect(strip, labels, lines, tops)
    figure.suptitle(
        letter(title)
        or letter(
            "Process {pid} ({program}): {mapped} mapped, {resident} of it resident",
            pid=space.pid,
            program=name_program(space),
            mapped=format_size(space.size_bytes),
            resident=format_size(space.rss_bytes),
        ),
        fontsize=14,
    )
    return figure, describe_space(space)


Gap = int
"""The bytes between two regions that nobody has mapped."""


def _insert_gaps(regions: Sequence[Region]) -> Iterator[Region | Gap]:
    """Yield the regions from high to low, with the large gaps between them."""
    if regions:
        yield regions[-1]
    for above, region in pairwise(reversed(regions)):
        if above.start - region.end >= MIN_GAP_BYTES:
            yield above.start - region.end
        yield region


def _share_of(line: Region | Gap) -> float:
    return 1.0 if isinstance(line, Region) else _GAP_ROW_SHARE


def _draw_strip(axes: Axes, regions: Sequence[Region], top: int) -> None:
    """Draw all addresses to scale; a region that is thinner than a line is drawn as a line."""
    axes.set_facecolor(STRIP_COLOR)
    for region in regions:
        color = SEGMENT_STYLES[region.kind].color
        axes.axhspan(region.start, region.end, color=color, linewidth=0)
        axes.axhline(region.start, color=EDGE_COLOR, linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, top)
    axes.set_xticks([])
    axes.set_yticks([top * part // 4 for part in range(5)])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: format_size(int(at)) if at else "0"))
    axes.set_ylabel(letter("address, to scale"), fontsize=12)


def _draw_rows(axes: Axes, lines: Sequence[Region | Gap]) -> list[float]:
    """Draw a row for each region and gap, downward from 0, and return where each begins."""
    tops, at = [], 0.0
    largest = max((line.size_bytes for line in lines if isinstance(line, Region)), default=1)
    right = max(largest, SMALLEST_BYTES << 10) * 2.0
    for line in lines:
        tops.append(at)
        middle = at + _share_of(line) / 2
        if isinstance(line, Region):
            _draw_region(axes, line, at)
        else:
            axes.axhspan(at, at + _share_of(line), color=STRIP_COLOR, linewidth=0)
            axes.annotate(
                letter("{size} not mapped", size=format_size(line)),
                xy=(0.5, middle),
                xycoords=("axes fraction", "data"),
                ha="center",
                va="center",
                fontsize=9,
                fontstyle="italic",
            )
        at += _share_of(line)
    axes.set_xscale("log", base=2)
    axes.set_xlim(SMALLEST_BYTES, right)
    axes.set_ylim(at, 0)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(FixedLocator([1 << bits for bits in range(12, 48, 4)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: format_size(int(at))))
    axes.grid(axis="x", alpha=0.35)
    axes.set_axisbelow(True)
    axes.set_xlabel(
        letter("size (each line is 16 times the one before); filled: resident"), fontsize=12
    )
    return tops


def _draw_region(axes: Axes, region: Region, at: float) -> None:
    style = SEGMENT_STYLES[region.kind]
    for size_bytes, is_filled in ((region.size_bytes, False), (region.resident_bytes, True)):
        if size_bytes or not is_filled:
            axes.add_patch(
                Rectangle(
                    (SMALLEST_BYTES, at + 0.12),
                    max(size_bytes, SMALLEST_BYTES * 1.08) - SMALLEST_BYTES,
                    0.76,
                    facecolor=style.color if is_filled else "white",
                    hatch=HATCHES[style.hatch] if is_filled else "",
                    edgecolor=EDGE_COLOR,
                    linewidth=1,
                    gid="resident" if is_filled else "region",
                )
            )


def _label_rows(
    labels: Axes, rows: Axes, lines: Sequence[Region | Gap], tops: Sequence[float]
) -> None:
    """Write the name and the address of each region on its left, its sizes on its right."""
    labels.set_axis_off()
    labels.set_xlim(0, 1)
    labels.set_ylim(rows.get_ylim())
    for line, top in zip(lines, tops, strict=True):
        if isinstance(line, Region):
            middle: dict[str, Any] = {"y": top + 0.5, "va": "center", "fontsize": 9.5}
            labels.text(0.62, s=letter(word_label(line)), ha="right", **middle)
            labels.text(0.98, s=f"{line.start:#x}", ha="right", family="monospace", **middle)
            rows.annotate(
                letter(
                    "{size}, {resident} resident",
                    size=format_size(line.size_bytes),
                    resident=word_resident(line),
                ),
                xy=(1.005, top + 0.5),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=9.5,
            )


def _connect(
    strip: Axes, labels: Axes, lines: Sequence[Region | Gap], tops: Sequence[float]
) -> None:
    """Draw where in the strip each group of rows is; a gap that can be seen there parts groups."""
    groups: list[list[tuple[Region, float]]] = [[]]
    for line, top in zip(lines, tops, strict=True):
        if isinstance(line, Region):
            groups[-1].append((line, top))
        elif line > strip.get_ylim()[1] / 100:
            groups.append([])
    for group in filter(None, groups):
        edges = ((group[0][0].end, group[0][1]), (group[-1][0].start, group[-1][1] + 1.0))
        for address, row in edges:
            labels.add_artist(
                ConnectionPatch(
                    xyA=(1, address),
                    coordsA=strip.transData,
                    xyB=(0.07, row),
                    coordsB=labels.transData,
                    color="#777777",
                    linewidth=1,
                    clip_on=False,
                )
            )
        labels.plot([0.07, 0.07], [edges[0][1], edges[1][1]], color="#777777", linewidth=2)
