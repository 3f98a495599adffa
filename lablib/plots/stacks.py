"""Which call stacks hold the heap, and how that grows."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest

from matplotlib.figure import Figure

from lablib.analysis import name_site
from lablib.language import say, term
from lablib.plots.lettering import letter
from lablib.plots.palette import STACK_STYLES
from lablib.plots.parts import MIB, make_figure
from lablib.records import HeapSnapshot, StackUsage
from lablib.wording import count_of

MAX_STACKS = len(STACK_STYLES)
MIN_SPAN_MIB = 0.1
"""Less than that is not blown up."""

_LEGEND_LINE_INCHES = 0.24


@dataclass(frozen=True)
class StackLine:
    """A call stack over time: its name, live bytes at each of the times, and its last usage."""

    name: str
    times_s: tuple[float, ...]
    live_bytes: tuple[int, ...]
    usage: StackUsage

    @property
    def growth_bytes_per_s(self) -> float:
        """Return by how much it has grown a second, in the later half of its times."""
        half = len(self.times_s) // 2
        seconds = self.times_s[-1] - self.times_s[half]
        return (self.live_bytes[-1] - self.live_bytes[half]) / seconds if seconds else 0.0


def choose_largest(snapshot: HeapSnapshot, count: int = MAX_STACKS) -> list[StackUsage]:
    """Return the stacks with the most live bytes, largest first; of equal ones the busier."""
    return nlargest(
        count, snapshot.stacks, key=lambda stack: (stack.live_bytes, stack.allocated_bytes)
    )


class StackHistory:
    """How much each call stack held at each snapshot; each snapshot is read once, when it comes."""

    def __init__(self, points: int | None = None) -> None:
        """Keep the last `points` snapshots, or all."""
        self._times_s: deque[float] = deque(maxlen=points)
        self._live_bytes: deque[dict[int, int]] = deque(maxlen=points)
        self._number_by_stack: dict[Hashable, int] = {}

    def add(self, snapshot: HeapSnapshot) -> None:
        """Take the next snapshot in."""
        self._times_s.append(snapshot.elapsed_s)
        held = {self.number(stack): stack.live_bytes for stack in snapshot.stacks}
        self._live_bytes.append(held)

    def number(self, usage: StackUsage) -> int:
        """Return the number of a call stack, the same in each snapshot."""
        key = usage.kind, usage.frames, usage.is_cut
        return self._number_by_stack.setdefault(key, len(self._number_by_stack))

    def follow(self, usages: Sequence[StackUsage]) -> dict[int, StackLine]:
        """Return the lines of some stacks by their numbers, 0 where one was not there yet."""
        times = tuple(self._times_s)
        lines = {}
        for name, usage in zip(name_stacks(usages), usages, strict=True):
            number = self.number(usage)
            sizes = tuple(held.get(number, 0) for held in self._live_bytes)
            lines[number] = StackLine(name, times, sizes, usage)
        return lines


def name_stacks(usages: Iterable[StackUsage]) -> list[str]:
    """Return a name for each stack: where it allocates, and by whom that was called if need be."""
    sites = [(name_site(usage), usage) for usage in usages]
    counts = Counter(site for site, _ in sites)
    return [site if counts[site] == 1 else _with_callers(site, usage) for site, usage in sites]


def _with_callers(site: str, usage: StackUsage) -> str:
    return " < ".join([site, *(frame.function or "?" for frame in usage.frames[1:4])])


def plot_stacks(
    snapshots: Sequence[HeapSnapshot], title: str = "", styles: Sequence[str] = tuple(STACK_STYLES)
) -> tuple[Figure, str]:
    """Return a figure of the live bytes of the largest call stacks, and its text description.

    A line for each of the five that hold the most in the last snapshot, in MiB, over the seconds
    since the tracing began. One that has given all back may be among them. `styles` are names in
    `STACK_STYLES`, that of the largest first.
    """
    history = StackHistory()
    for snapshot in snapshots:
        history.add(snapshot)
    lines = list(history.follow(choose_largest(snapshots[-1]) if snapshots else []).values())
    figure = make_figure(4.2 + _LEGEND_LINE_INCHES * len(lines))
    axes = figure.subplots()
    for line, name in zip(lines, styles, strict=False):
        style = STACK_STYLES[name]
        axes.plot(
            line.times_s,
            [size / MIB for size in line.live_bytes],
            color=style.color,
            linestyle=style.dashes,
            marker=style.marker,
            markersize=6,
            linewidth=2,
            label=letter("{name}: {size:,} bytes", name=line.name, size=line.live_bytes[-1]),
        )
    axes.set_xlabel(letter("time since the tracing began (s)"))
    axes.set_ylabel(letter("live heap (MiB)"))
    axes.set_ylim(0, max(MIN_SPAN_MIB, axes.get_ylim()[1]))
    axes.grid(alpha=0.3)
    if lines:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, borderaxespad=0.2)
    figure.suptitle(letter(title or term("Live bytes by call stack")))
    return figure, describe_stacks(snapshots, lines)


def describe_stacks(snapshots: Sequence[HeapSnapshot], lines: Sequence[StackLine]) -> str:
    """Return in words what each of the lines holds at the end, and how it has grown."""
    if not snapshots:
        return say("No snapshot was taken.")
    at = snapshots[-1].elapsed_s
    if not lines:
        return say("After {at:.1f} s no block has been allocated.", at=at)
    parts = [
        say(
            "{name} holds {size:,} bytes in {blocks}, {growth:+,.0f} bytes a second",
            name=line.name,
            size=line.live_bytes[-1],
            blocks=count_of(line.usage.live_blocks, "block"),
            growth=line.growth_bytes_per_s,
        )
        for line in lines
    ]
    return say("After {at:.1f} s: {stacks}.", at=at, stacks=say("; ").join(parts))
