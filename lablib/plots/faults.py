"""Page faults: which page was touched first when, and by what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lablib.language import say
from lablib.plots.lettering import letter
from lablib.plots.palette import TOUCH_STYLES
from lablib.plots.parts import make_figure
from lablib.records import PageFault
from lablib.wording import count_of

PAGE_BYTES = 4096


def plot_faults(
    faults: Sequence[PageFault],
    start: int | None = None,
    end: int | None = None,
    title: str = "",
    page_bytes: int = PAGE_BYTES,
) -> tuple[Figure, str]:
    """Return a figure of page faults in a range of addresses, and its text description.

    A mark for each page and sort of touch: across when it was first, in ms or s since the tracing
    began, upward which page, counted from `start`. Without a range it is that of the faults.
    """
    inside = [
        fault
        for fault in faults
        if (start is None or fault.page_address >= start)
        and (end is None or fault.page_address < end)
    ]
    first = start if start is not None else min((f.page_address for f in inside), default=0)
    last_s = max((fault.first_elapsed_s for fault in inside), default=0.0)
    scale, unit = (1000, "ms") if last_s < 1 else (1, "s")
    figure = make_figure()
    axes = figure.subplots()
    totals: Counter[str] = Counter()
    for name, style in TOUCH_STYLES.items():
        some = [fault for fault in inside if name_touch(fault) == name]
        totals[name] = sum(fault.count for fault in some)
        if some:
            axes.plot(
                [fault.first_elapsed_s * scale for fault in some],
                [(fault.page_address - first) // page_bytes for fault in some],
                linestyle="none",
                color=style.color,
                marker=style.marker,
                markersize=8,
                markerfacecolor=style.color if name == "write" else "white",
                markeredgewidth=2,
                label=letter(
                    "{label}: {count}", label=style.label, count=count_of(totals[name], "fault")
                ),
            )
    axes.set_xlabel(letter("time of the first touch ({unit})", unit=unit))
    axes.set_ylabel(letter("page, counted from {first:#x}", first=first))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda page, _: f"{page:,.0f}"))
    axes.grid(alpha=0.3)
    if inside:
        axes.legend(loc="best")
    axes.set_title(letter(title or count_of(sum(totals.values()), "page fault")))
    return figure, _describe(inside, totals, first)


def name_touch(fault: PageFault) -> str:
    """Return which of `palette.TOUCH_STYLES` a fault is."""
    if fault.was_present:
        return "protection"
    if fault.is_instruction:
        return "instruction"
    return "write" if fault.is_write else "read"


def _describe(faults: Sequence[PageFault], totals: Counter[str], first: int) -> str:
    if not faults:
        return say("No page fault was seen there.")
    pages = len({fault.page_address for fault in faults})
    by_sort = say(", ").join(
        say("{count:,} by {touch}", count=totals[name], touch=style.label)
        if name != "protection"
        else say("{count:,} {touch}", count=totals[name], touch=style.label)
        for name, style in TOUCH_STYLES.items()
        if totals[name]
    )
    by_kernel = sum(fault.count for fault in faults if fault.by_kernel)
    return say(
        "{faults} on {pages} from {first:#x} on: {by_sort};"
        " {by_kernel:,} of them in a system call.",
        faults=count_of(sum(totals.values()), "page fault"),
        pages=count_of(pages, "page"),
        first=first,
        by_sort=by_sort,
        by_kernel=by_kernel,
    )
