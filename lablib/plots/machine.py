"""The machine over time: the columns of vmstat that tell about memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from lablib.plots.palette import BLUE, GREEN, ORANGE, VERMILLION
from lablib.plots.parts import MIB
from lablib.records import VmstatSample

MIN_SPAN_MIB = 2

_STYLES: dict[str, dict[str, Any]] = {
    "free": {"color": BLUE, "marker": "o"},
    "buff": {"color": ORANGE, "marker": "s"},
    "cache": {"color": GREEN, "marker": "^"},
    "RSS": {"color": VERMILLION, "marker": "D"},
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
