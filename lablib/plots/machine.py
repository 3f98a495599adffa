"""The machine over time: the columns of vmstat that tell about memory, in strips over one time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lablib.errors import LabError
from lablib.language import say, term
from lablib.plots.lettering import letter
from lablib.plots.palette import VMSTAT_STYLES
from lablib.plots.parts import MIB, make_figure
from lablib.records import VmstatSample

DEFAULT_COLUMNS = ("free", "buff", "cache", "RSS")
MIN_SPAN_MIB = 2.0
STRIP_INCHES = 1.15

Marks: TypeAlias = Sequence[tuple[float, str]]
"""What happened when: seconds on the time axis of the samples, and a word or two."""

_KIB = 1024
_LABEL_ROOM = 0.12

_READERS: dict[str, Callable[[VmstatSample], int | None]] = {
    "free": lambda sample: sample.free_bytes,
    "buff": lambda sample: sample.buffer_bytes,
    "cache": lambda sample: sample.cache_bytes,
    "available": lambda sample: sample.available_bytes,
    "swpd": lambda sample: sample.swapped_bytes,
    "RSS": lambda sample: sample.rss_bytes,
    "si": lambda sample: sample.swap_in_bytes_per_s,
    "so": lambda sample: sample.swap_out_bytes_per_s,
    "bi": lambda sample: sample.blocks_in_per_s * _KIB,
    "bo": lambda sample: sample.blocks_out_per_s * _KIB,
}
_RATES = ("si", "so", "bi", "bo")


@dataclass(frozen=True)
class Strip:
    """One column over time, ready to be drawn; all in MiB, a rate in MiB a second.

    `values` are a size's changes since its first sample, which was `start_mib`, or a rate as it is.
    Samples that don't know the column are left out, and the first one where it is a rate: what
    vmstat prints first is an average since the machine was started.
    """

    name: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]
    start_mib: float
    is_rate: bool

    @property
    def unit(self) -> str:
        """Return the unit of the values."""
        return "MiB / s" if self.is_rate else "MiB"

    @property
    def last_mib(self) -> float:
        """Return the size at the last sample, or the rate; 0 without any."""
        return (self.values[-1] if self.values else 0.0) + self.start_mib


def read_strips(samples: Sequence[VmstatSample], columns: Sequence[str]) -> tuple[Strip, ...]:
    """Return a strip for each of `columns`; raises `LabError` for a column that isn't there."""
    if unknown := [name for name in columns if name not in _READERS]:
        raise LabError(
            term("there is no column {unknown}", unknown=unknown[0]),
            term("choose from: {choices}", choices=", ".join(_READERS)),
        )
    strips = []
    for name in columns:
        read, is_rate = _READERS[name], name in _RATES
        told = samples[1:] if is_rate else samples
        known = [(one.elapsed_s, size) for one in told if (size := read(one)) is not None]
        start = 0 if is_rate or not known else known[0][1]
        values = tuple((size - start) / MIB for _, size in known)
        strips.append(Strip(name, tuple(at for at, _ in known), values, start / MIB, is_rate))
    return tuple(strips)


def choose_limits(
    strips: Sequence[Strip], has_one_span: bool = False
) -> Mapping[str, tuple[float, float]]:
    """Return the lower and the upper end of each strip's scale, by name.

    With `has_one_span` all sizes are drawn to one scale, so that equal changes look equal. A span
    is a round number, 2 MiB at least (for rates 1 MiB / s): smaller changes are not blown up.
    """
    spans = {strip.name: _round_up(_reach_of(strip)[1] - _reach_of(strip)[0]) for strip in strips}
    sizes = [strip.name for strip in strips if not strip.is_rate]
    if has_one_span and sizes:
        spans.update(dict.fromkeys(sizes, max(spans[name] for name in sizes)))
    return {strip.name: _place(strip, spans[strip.name]) for strip in strips}


def _reach_of(strip: Strip) -> tuple[float, float]:
    return min((0.0, *strip.values)), max((0.0, *strip.values))


def _round_up(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten that leaves room around a span."""
    needed = max(span * 1.15, MIN_SPAN_MIB / 2)
    power = 10.0 ** math.floor(math.log10(needed))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= needed)


def _place(strip: Strip, span: float) -> tuple[float, float]:
    """Return a scale of this span around a strip, in whole steps so that it doesn't tremble."""
    if strip.is_rate:
        return -0.05 * span, span
    span = max(span, MIN_SPAN_MIB)
    low, high = _reach_of(strip)
    step = span / 20
    start = round((low + high - span) / 2 / step) * step
    return start, start + span


def choose_ticks(low: float, high: float) -> list[float]:
    """Return two or three round numbers between the ends of a scale of `choose_limits`."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span * 1.001))
    step = power / 2 if span < 1.5 * power else power if span < 3 * power else 2 * power
    return [step * at for at in range(math.ceil(low / step), math.floor(high / step) + 1)]


def plot_vmstat(
    samples: Sequence[VmstatSample],
    title: str = "",
    columns: Sequence[str] = DEFAULT_COLUMNS,
    marks: Marks = (),
    has_one_span: bool = False,
) -> tuple[Figure, str]:
    """Return a figure of columns of vmstat, and its text description.

    A strip for each of `columns`, over one time axis in seconds: free, buff, cache and swpd,
    available (MemAvailable) and RSS (of the watched process) as the change in MiB since the first
    sample; si, so, bi and bo in MiB a second. The scales are those of `choose_limits`. `marks` are
    drawn across all strips. Raises `LabError` for a column that isn't there.
    """
    strips = read_strips(samples, columns)
    limits = choose_limits(strips, has_one_span)
    figure = make_figure(STRIP_INCHES * len(strips) + 1.0)
    rows = figure.subplots(len(strips), 1, sharex=True, squeeze=False)[:, 0]
    for axes, strip in zip(rows, strips, strict=True):
        _draw_strip(axes, strip, limits[strip.name])
        for at, _ in marks:
            axes.axvline(at, color="0.25", linestyle=":", linewidth=1.2, gid="mark")
    _name_marks(rows[0], marks)
    rows[-1].set_xlabel(letter("time (s)"))
    figure.suptitle(letter(title or term("Change since the first sample")))
    return figure, describe_strips(strips, marks)


def _draw_strip(axes: Axes, strip: Strip, limits: tuple[float, float]) -> None:
    style = VMSTAT_STYLES[strip.name]
    axes.plot(
        strip.times_s,
        strip.values,
        color=style.color,
        linestyle=style.dashes,
        linewidth=2,
        marker=style.marker,
        markersize=5,
        markevery=max(1, len(strip.values) // 60),
        label=strip.name,
    )
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.set_ylim(*limits)
    axes.set_ylabel(f"{strip.name}\n({strip.unit})", fontsize=11)
    axes.grid(alpha=0.3)
    if strip.values:
        axes.annotate(
            word_last(strip),
            xy=(1.01, 0.5),
            xycoords="axes fraction",
            fontsize=11,
            va="center",
        )


def _name_marks(axes: Axes, marks: Marks) -> None:
    """Write the marks' words above a strip; one that comes soon after another stands higher."""
    low, high = axes.get_xlim()
    level, free_from = 0, -math.inf
    for at, words in sorted(marks):
        level = (level + 1) % 2 if at < free_from else 0
        free_from = at + _LABEL_ROOM * (high - low)
        axes.annotate(
            letter(words),
            xy=(at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, 2 + 13 * level),
            textcoords="offset points",
            fontsize=10.5,
        )


def word_last(strip: Strip) -> str:
    """Return the last value of a strip in words: the change and the size, or the rate."""
    if strip.is_rate:
        return f"{strip.last_mib:,.1f}"
    return f"{word_change(strip)}\n= {strip.last_mib:,.1f}"


def word_change(strip: Strip) -> str:
    """Return the change of a size since its first sample in MiB, with its sign; none is "+0.0"."""
    return f"{round(strip.values[-1], 1) + 0.0:+,.1f}"


def describe_strips(strips: Sequence[Strip], marks: Marks = ()) -> str:
    """Return in words where each column began and how it changed, and what happened when."""
    sentences = []
    for strip in strips:
        if not strip.values:
            sentences.append(say("{name} was not measured", name=strip.name))
        elif strip.is_rate:
            most = max(strip.values)
            sentences.append(
                say("{name} is {most:,.1f} MiB / s at most", name=strip.name, most=most)
            )
        else:
            sentences.append(
                say(
                    "{name} starts at {start:,.1f} MiB and changes by {change}",
                    name=strip.name,
                    start=strip.start_mib,
                    change=word_change(strip),
                )
            )
    happened = [
        say("{words} at {at:.0f} s", words=term(words), at=at) for at, words in sorted(marks)
    ]
    facts = say("; ").join(sentences)
    if not happened:
        return say("{facts}.", facts=facts)
    return say("{columns}. Marked: {happened}.", columns=facts, happened=say(", ").join(happened))
