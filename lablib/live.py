"""A growing heap trace on the terminal: what is live now, how it went, and who holds the most.

Nothing is judged here: that is for the trace that is over.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from heapq import nlargest
from itertools import pairwise

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lablib.analysis import name_site
from lablib.records import HeapSnapshot, HeapTrace, StackUsage, TraceEvents
from lablib.wording import count_of, make_printable

REDRAW_INTERVAL_S = 0.25
LINE_INTERVAL_S = 5.0

_BARS = "▁▂▃▄▅▆▇█"
_MIN_STACKS_SHOWN = 1
_CALLERS_SHOWN = 3
_NOTHING_YET = HeapSnapshot(0.0, (), TraceEvents(0, 0, 0))


@contextlib.contextmanager
def watch_live(
    console: Console, hint: str = "", clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[HeapTrace], None]]:
    """Yield a function that shows a growing trace; call it after each snapshot.

    On a terminal it redraws at most every REDRAW_INTERVAL_S seconds, as large as the terminal is,
    and wipes its drawing out on the way out, also on an error and on Ctrl-C. Elsewhere (a pipe, a
    log) it prints a line every LINE_INTERVAL_S seconds. `hint` is a last line for the reader, for
    instance how to stop. `clock` counts in seconds.
    """
    live_bytes: list[int] = []
    if not _can_redraw(console):
        yield _limit_rate(
            lambda trace: _print_line(console, trace), LINE_INTERVAL_S, clock, clock()
        )
        return
    with Live(
        console=console, auto_refresh=False, transient=True, vertical_overflow="crop"
    ) as display:

        def draw(trace: HeapTrace) -> None:
            # Each snapshot is added up once: a trace of an hour has thousands, with many stacks.
            live_bytes.extend(shot.live_bytes for shot in trace.snapshots[len(live_bytes) :])
            width, height = console.size
            view = render_live(trace, width, height - 1, hint, live_bytes)
            display.update(view, refresh=True)

        yield _limit_rate(draw, REDRAW_INTERVAL_S, clock)


def _can_redraw(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal and not console.options.ascii_only


def _limit_rate(
    show: Callable[[HeapTrace], None],
    interval_s: float,
    clock: Callable[[], float],
    last_s: float = float("-inf"),
) -> Callable[[HeapTrace], None]:
    """Return `show`, made to do nothing when called again within `interval_s` (since `last_s`)."""

    def show_now_and_then(trace: HeapTrace) -> None:
        nonlocal last_s
        if clock() - last_s >= interval_s:
            last_s = clock()
            show(trace)

    return show_now_and_then


def _print_line(console: Console, trace: HeapTrace) -> None:
    last = trace.snapshots[-1] if trace.snapshots else _NOTHING_YET
    missed = f", {count_of(last.events.missed, 'event')} MISSED" if last.events.missed else ""
    console.print(
        Text(f"process {trace.target.pid}: {trace.seconds:.1f} s, {_describe_live(last)}{missed}"),
        soft_wrap=True,
    )


def render_live(
    trace: HeapTrace,
    width: int = 80,
    height: int = 24,
    hint: str = "",
    live_bytes: Sequence[int] | None = None,
) -> RenderableType:
    """Return a view of the last snapshot, at most `height` lines high where that is 8 or more.

    "change" and "allocations/s" compare it with the one before, the first one with the empty heap
    that every trace starts from. `live_bytes` are those of all snapshots, where the caller has
    them at hand: they needn't be added up again then.
    """
    before, last = (_NOTHING_YET, _NOTHING_YET, *trace.snapshots[-2:])[-2:]
    values = live_bytes or [snapshot.live_bytes for snapshot in trace.snapshots]
    lines: list[RenderableType] = [
        *_render_head(trace, last, before),
        _render_history(values, width),
    ]
    tail = [Text(hint, "dim", no_wrap=True, overflow="ellipsis")] if hint else []
    held = [stack for stack in last.stacks if stack.live_blocks or stack.live_bytes]
    room = max(_MIN_STACKS_SHOWN, height - len(lines) - len(tail) - 2)
    lines.append(_render_stacks(nlargest(room, held, key=lambda s: s.live_bytes), before, width))
    if len(held) > room:
        lines.append(
            Text(f"... and {count_of(len(held) - room, 'more stack')} with live blocks", "dim")
        )
    return Group(*lines, *tail)


def _render_head(trace: HeapTrace, last: HeapSnapshot, before: HeapSnapshot) -> list[Text]:
    process = f"process {trace.target.pid}, {trace.seconds:.1f} s, source {trace.source}"
    seconds = last.elapsed_s - before.elapsed_s
    allocations = last.events.allocations - before.events.allocations
    rate = f"{allocations / seconds:,.0f} allocations/s" if seconds > 0 else "no rate yet"
    rss = f"RSS {last.rss_bytes / (1 << 20):,.1f} MiB" if last.rss_bytes is not None else "no RSS"
    state = rss if last.is_running else "the process has ended"
    lines = [
        Text.assemble(f"{process}: ", (make_printable(trace.target.command), "bold")),
        Text(f"{_describe_live(last)}, {state}, {rate}"),
    ]
    if last.events.missed:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in last.events.missed_by_reason.items())
        lines.append(
            Text(f"NOT COMPLETE, {count_of(last.events.missed, 'event')} missed: {reasons}", "bold")
        )
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def _describe_live(snapshot: HeapSnapshot) -> str:
    live = f"{count_of(snapshot.live_bytes, 'byte')} in {count_of(snapshot.live_blocks, 'block')}"
    return f"{live} live"


def _render_history(values: Sequence[int], width: int) -> Text:
    scale = f" 0 to {max(values, default=0):,} bytes"
    bars = draw_sparkline(values, max(1, width - len(scale)))
    return Text.assemble((bars, "cyan"), (scale, "dim"), no_wrap=True, overflow="ellipsis")


def draw_sparkline(values: Sequence[float], columns: int) -> str:
    """Return values as bars, from 0 to the largest of them, in at most `columns` characters.

    Where there are more values than columns, a column stands for several and shows their largest,
    so that no peak is lost. Whatever is below zero looks like zero.
    """
    count = min(len(values), columns)
    edges = [i * len(values) // max(1, count) for i in range(count + 1)]
    peaks = [max(values[low:high]) for low, high in pairwise(edges)]
    top = max([*peaks, 0])
    steps = len(_BARS) - 1
    return "".join(_BARS[round(max(0, peak) / top * steps) if top else 0] for peak in peaks)


def _render_stacks(shown: Sequence[StackUsage], before: HeapSnapshot, width: int) -> RenderableType:
    """Return a table with a line for each stack: what it holds, and where it allocates."""
    if not shown:
        return Text("\nNo block is live.")
    table = Table(box=None, pad_edge=False, width=width)
    for heading in ("live bytes", "change", "blocks", "freed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("allocated by", no_wrap=True, overflow="ellipsis", ratio=1)
    earlier = {(stack.frames, stack.is_cut): stack.live_bytes for stack in before.stacks}
    for stack in shown:
        change = stack.live_bytes - earlier.get((stack.frames, stack.is_cut), 0)
        table.add_row(
            f"{stack.live_bytes:,}",
            Text(f"{change:+,}" if change else "0", "yellow" if change > 0 else "dim"),
            f"{stack.live_blocks:,}",
            f"{stack.freed_blocks:,}",
            Text(make_printable(_name_path(stack))),
        )
    return table


def _name_path(stack: StackUsage) -> str:
    """Return where a stack allocates and who called that: the site alone may be a wrapper."""
    callers = [frame.function or "[unknown]" for frame in stack.frames[1 : 1 + _CALLERS_SHOWN]]
    return " < ".join([name_site(stack), *callers])
