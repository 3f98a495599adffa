"""Records to matplotlib figures: what stays on the page, with units and a description in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lablib.records import HeapTrace, VmstatSample

MIB = 1 << 20
MIN_SPAN_MIB = 2

# Okabe and Ito's palette, told apart with any colour vision; each line has a marker of its own too.
_STYLES: dict[str, dict[str, Any]] = {
    "free": {"color": "#0072B2", "marker": "o"},
    "buff": {"color": "#E69F00", "marker": "s"},
    "cache": {"color": "#009E73", "marker": "^"},
    "RSS": {"color": "#D55E00", "marker": "D"},
}


def plot_vmstat(samples: Sequence[VmstatSample], title: str = "") -> tuple[Figure, str]:
    """Return a figure of free, buff, cache and the watched process's RSS, and its text description.

    Four strips over one time axis in seconds, each with the change in MiB since the first sample on
    a scale of its own, which spans 2 MiB at least: smaller changes are not blown up.
    """
    series: dict[str, list[int | None]] = {
        "free": [sample.free_bytes for sample in samples],
        "buff": [sample.buffer_bytes for sample in samples],
        "cache": [sample.cache_bytes for sample in samples],
        "RSS": [sample.rss_bytes for sample in samples],
    }
    figure = Figure(figsize=(8, 6), layout="constrained")
    strips = figure.subplots(len(series), 1, sharex=True)
    sentences = []
    for axes, (name, values) in zip(strips, series.items(), strict=True):
        known = [(s.elapsed_s, v) for s, v in zip(samples, values, strict=True) if v is not None]
        changes = [(value - known[0][1]) / MIB for _, value in known]
        axes.plot([at for at, _ in known], changes, markersize=4, label=name, **_STYLES[name])
        axes.axhline(0, color="0.7", linewidth=0.8)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, -MIN_SPAN_MIB / 2), max(high, MIN_SPAN_MIB / 2))
        axes.set_ylabel(f"{name}\n(MiB)")
        axes.grid(alpha=0.3)
        if known:
            sentences.append(
                f"{name} starts at {known[0][1] / MIB:,.1f} MiB and changes by {changes[-1]:+,.1f}"
            )
    strips[-1].set_xlabel("time (s)")
    figure.suptitle(title or "Change since the first sample")
    return figure, "; ".join(sentences) + "."


def plot_live_bytes(
    traces: dict[str, HeapTrace], axes: Axes | None = None, title: str = ""
) -> tuple[Figure, str]:
    """Return a figure of the live heap bytes of one or more traces, and its text description.

    One line per trace, in MiB, over the seconds since its tracing began.
    """
    figure = Figure(figsize=(8, 3.5), layout="constrained") if axes is None else None
    if figure is not None:
        axes = figure.subplots()
    assert axes is not None
    sentences = []
    for (label, trace), style in zip(
        traces.items(), cycle((_STYLES["RSS"], _STYLES["free"])), strict=False
    ):
        times = [snapshot.elapsed_s for snapshot in trace.snapshots]
        live = [snapshot.live_bytes / MIB for snapshot in trace.snapshots]
        axes.plot(times, live, markersize=4, label=label, **style)
        if live:
            sentences.append(f"{label}: {live[-1]:,.2f} MiB live after {times[-1]:.1f} s")
    axes.set_xlabel("time since the tracing began (s)")
    axes.set_ylabel("live heap (MiB)")
    axes.set_title(title or "Allocated and not freed")
    axes.grid(alpha=0.3)
    axes.legend()
    drawn = figure if figure is not None else axes.figure
    assert isinstance(drawn, Figure)
    return drawn, "; ".join(sentences) + "."
