"""One process: its sizes over time, and which pages of a range are in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from lablib.language import say, term
from lablib.plots.lettering import letter
from lablib.plots.palette import HATCHES, PAGE_STYLES, SIZE_STYLES, name_page
from lablib.plots.parts import EDGE_COLOR, MIB, draw_key, make_figure, make_key, spread_out
from lablib.records import ProcessSizes, ResidentPages
from lablib.wording import count_of, format_size

PAGES_A_ROW = 64
MAX_CELLS = 4096

SIZE_READERS: dict[str, Callable[[ProcessSizes], int | None]] = {
    "VmSize": lambda sizes: sizes.vm_size_bytes,
    "RSS": lambda sizes: sizes.rss_bytes,
    "PSS": lambda sizes: sizes.pss_bytes,
}
"""The sizes that are compared, by the names of `palette.SIZE_STYLES`: bytes, or None."""


def plot_sizes(
    samples: Sequence[ProcessSizes], title: str = "", is_logarithmic: bool = False
) -> tuple[Figure, str]:
    """Return a figure of VmSize, RSS and PSS over time, and its text description.

    All three are in MiB on one axis that begins at 0, or on a logarithmic one. A size that could
    not be read has no line, and the description says so.
    """
    figure = make_figure()
    axes = figure.subplots()
    ends: dict[str, tuple[float, float]] = {}
    for name, read in SIZE_READERS.items():
        known = [(s.elapsed_s, size / MIB) for s in samples if (size := read(s)) is not None]
        if known:
            style = SIZE_STYLES[name]
            axes.plot(
                [at for at, _ in known],
                [size for _, size in known],
                color=style.color,
                linestyle=style.dashes,
                linewidth=2.5,
                marker=style.marker,
                markersize=7,
                markevery=max(1, len(known) // 12),
                label=name,
            )
            ends[name] = known[-1]
    if is_logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,g}"))
    else:
        axes.set_ylim(bottom=0)
    _label_ends(axes, ends)
    axes.set_xlabel(letter("time (s)"))
    axes.set_ylabel(letter("size (MiB)"))
    axes.grid(alpha=0.3)
    axes.set_title(letter(title or term("Promised (VmSize) and paid (RSS, PSS)")))
    return figure, describe_sizes(samples)


def _label_ends(axes: Axes, ends: dict[str, tuple[float, float]]) -> None:
    """Write the name of each line and its last value beside its end, none over another."""
    to_height = axes.transData.transform
    from_height = axes.transData.inverted().transform
    gap = 16 * axes.figure.dpi / 72
    heights = spread_out([to_height(end)[1] for end in ends.values()], gap)
    for (name, (_, size)), height in zip(ends.items(), heights, strict=True):
        axes.annotate(
            f"{name} {size:,.1f} MiB",
            xy=(1.01, from_height((0, height))[1]),
            xycoords=("axes fraction", "data"),
            color=SIZE_STYLES[name].color,
            fontsize=12,
            fontweight="bold",
            va="center",
        )


def describe_sizes(samples: Sequence[ProcessSizes]) -> str:
    """Return in words how each size began and ended."""
    if not samples:
        return say("No sample was taken.")
    sentences = []
    for name, read in SIZE_READERS.items():
        known = [size for sample in samples if (size := read(sample)) is not None]
        if known:
            sentences.append(
                say(
                    "{name} goes from {first:,.1f} to {last:,.1f} MiB (most {most:,.1f})",
                    name=name,
                    first=known[0] / MIB,
                    last=known[-1] / MIB,
                    most=max(known) / MIB,
                )
            )
        else:
            sentences.append(say("{name} could not be read", name=name))
    seconds = samples[-1].elapsed_s - samples[0].elapsed_s
    return say("In {seconds:,.1f} s {events}.", seconds=seconds, events=say("; ").join(sentences))


def plot_resident_pages(pages: ResidentPages, title: str = "") -> tuple[Figure, str]:
    """Return a figure with a cell for each page of a range, and its text description.

    Cells run like the lines of a text, at most 64 in each, low addresses first. Where there are
    more than 4,096 pages a cell stands for several, and shows what most of them are.
    """
    count = len(pages.flags)
    pages_a_cell = max(1, -(-count // MAX_CELLS))
    cells = [
        Counter(map(name_page, pages.flags[at : at + pages_a_cell])).most_common(1)[0][0]
        for at in range(0, count, pages_a_cell)
    ]
    columns = min(PAGES_A_ROW, max(8, len(cells)))
    rows = max(1, -(-len(cells) // columns))
    figure = make_figure(min(5.6, 1.8 + rows * 0.25))
    axes = figure.subplots()
    patches: dict[str, list[Rectangle]] = defaultdict(list)
    for index, name in enumerate(cells):
        row, column = divmod(index, columns)
        patches[name].append(Rectangle((column, row), 1, 1))
    for name, rectangles in patches.items():
        style = PAGE_STYLES[name]
        axes.add_collection(
            PatchCollection(
                rectangles,
                facecolor=style.color,
                edgecolor=EDGE_COLOR,
                hatch=HATCHES[style.hatch],
                linewidth=0.4,
                gid=name,
            )
        )
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    row_bytes = columns * pages_a_cell * pages.page_bytes
    ticks = range(0, rows, -(-rows // 16))
    axes.set_yticks(
        [row + 0.5 for row in ticks], [f"{pages.start + r * row_bytes:#x}" for r in ticks]
    )
    axes.set_xticks(range(0, columns + 1, max(1, columns // 8)))
    axes.tick_params(axis="y", labelsize=9, labelfontfamily="monospace")
    several = term("cell of {pages} pages", pages=f"{pages_a_cell:,}")
    cell = term("page") if pages_a_cell == 1 else several
    size = format_size(pages_a_cell * pages.page_bytes)
    axes.set_xlabel(letter("{cell} in the line, each {size}", cell=cell, size=size))
    axes.set_ylabel(letter("address of the line"))
    totals = Counter(map(name_page, pages.flags))
    draw_key(
        axes,
        (
            make_key(style, letter("{label}: {count:,}", label=style.label, count=totals[name]))
            for name, style in PAGE_STYLES.items()
            if totals[name]
        ),
    )
    present, whole = f"{pages.count:,}", count_of(count, "page")
    figure.suptitle(
        letter(title) or letter("{present} of {pages} in memory", present=present, pages=whole)
    )
    return figure, describe_pages(pages)


def describe_pages(pages: ResidentPages) -> str:
    """Return in words how many pages of a range are in memory, and of which sort."""
    totals = Counter(map(name_page, pages.flags))
    parts = [
        say("{count:,} {state}", count=totals[name], state=style.label)
        for name, style in PAGE_STYLES.items()
        if totals[name]
    ]
    return say(
        "Of {pages} of {size} from {start:#x} on, {resident} is in memory: {parts}.",
        pages=count_of(len(pages.flags), "page"),
        size=format_size(pages.page_bytes),
        start=pages.start,
        resident=format_size(pages.resident_bytes),
        parts=say(", ").join(parts),
    )
