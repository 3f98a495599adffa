"""A group of processes and its limit over time: what it holds, what it swaps, how long it waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import TICKUP

from lablib.exhaustion import measure_waiting
from lablib.language import say, term
from lablib.plots.lettering import letter
from lablib.plots.palette import BLACK, GROUP_STYLES, PRESSURE_STYLES, WHITE, LineStyle
from lablib.plots.parts import MIB, make_figure
from lablib.records import GroupSample, GroupStep
from lablib.wording import count_of

GROUP_READERS: dict[str, Callable[[GroupSample], int | None]] = {
    "limit": lambda sample: sample.memory.limit_bytes,
    "anonymous": lambda sample: sample.memory.anon_bytes,
    "page cache": lambda sample: sample.memory.file_bytes,
    "swap": lambda sample: sample.memory.swap_bytes,
}
"""What is drawn of a group, by the names of `palette.GROUP_STYLES`: bytes, or None."""

_FONT = 12


def plot_group(
    samples: Sequence[GroupSample], title: str = "", steps: Sequence[GroupStep] = ()
) -> tuple[Figure, str]:
    """Return a figure of what a group holds beside its limit, and its text description.

    Above are sizes in MiB over seconds: anonymous memory and page cache in RAM, what is in swap,
    and the limit, with a mark wherever a charge has met it since the last sample. Below is the
    share of the time that processes waited for memory. `steps` have a line and a number each at
    their beginning; an OOM kill has a line with its name.
    """
    figure = make_figure(6.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_sizes(above, samples)
    _draw_waiting(below, samples)
    _mark_steps(above, steps)
    for killed_s in find_kills(samples):
        for axes in (above, below):
            axes.axvline(killed_s, color=BLACK, linewidth=2, linestyle=(0, (1, 1)))
        above.annotate(
            letter("OOM kill"),
            (killed_s, 0.945),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="center",
            fontsize=_FONT,
            fontweight="bold",
            bbox={"facecolor": WHITE, "edgecolor": BLACK},
        )
    below.set_xlabel(letter("time (s)"))
    figure.suptitle(letter(title or term("What the group holds, and its limit")))
    return figure, describe_group(samples)


def find_kills(samples: Sequence[GroupSample]) -> list[float]:
    """Return when the group's count of OOM kills has risen, in seconds: the sample that says so."""
    return [
        after.elapsed_s
        for before, after in pairwise(samples)
        if after.memory.oom_kills > before.memory.oom_kills
    ]


def find_limit_hits(samples: Sequence[GroupSample]) -> list[GroupSample]:
    """Return the samples before which a charge has met the limit since the one before."""
    return [
        after
        for before, after in pairwise(samples)
        if after.memory.limit_hits > before.memory.limit_hits
    ]


def _draw_line(axes: Axes, style: LineStyle, points: Sequence[tuple[float, float]]) -> None:
    axes.plot(
        [at for at, _ in points],
        [value for _, value in points],
        color=style.color,
        linestyle=style.dashes,
        linewidth=2.5,
        marker=style.marker,
        markersize=7,
        markevery=max(1, len(points) // 12),
        label=letter(style.label),
    )


def _draw_sizes(axes: Axes, samples: Sequence[GroupSample]) -> None:
    for name, read in GROUP_READERS.items():
        points = [(s.elapsed_s, size / MIB) for s in samples if (size := read(s)) is not None]
        if points:
            _draw_line(axes, GROUP_STYLES[name], points)
    hits = find_limit_hits(samples)
    if hits:
        axes.plot(
            [hit.elapsed_s for hit in hits],
            [(hit.memory.limit_bytes or 0) / MIB for hit in hits],
            linestyle="",
            marker=TICKUP,
            color=BLACK,
            markersize=9,
            label=letter("the limit was met"),
        )
    axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
    axes.set_ylabel(letter("size (MiB)"))
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    if axes.get_lines():
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03), frameon=False, fontsize=_FONT)


def _draw_waiting(axes: Axes, samples: Sequence[GroupSample]) -> None:
    waiting = [(b.elapsed_s, measure_waiting(a, b)) for a, b in pairwise(samples)]
    for name, style in PRESSURE_STYLES.items():
        points = [(at, shares[name]) for at, shares in waiting if name in shares]
        if points:
            _draw_line(axes, style, points)
    if not axes.get_lines():
        words = letter("not measured by this kernel")
        axes.text(0.5, 0.5, words, ha="center", transform=axes.transAxes)
    axes.set_ylim(0, 100)
    axes.set_ylabel(letter("waiting\n(% of time)"))
    if samples and samples[0].is_pressure_of_machine:
        words = letter("of the whole machine")
        axes.annotate(words, (0.01, 0.8), xycoords="axes fraction", fontsize=_FONT)
    _finish(axes)


def _mark_steps(axes: Axes, steps: Sequence[GroupStep]) -> None:
    """Draw where each step began; steps that began together share a line and a label."""
    began: dict[float, list[str]] = {}
    for number, step in enumerate(steps, start=1):
        near = next((at for at in began if abs(at - step.elapsed_s) < 0.1), step.elapsed_s)
        began.setdefault(near, []).append(str(number))
    for at, numbers in began.items():
        axes.axvline(at, color="0.5", linewidth=1)
        axes.annotate(
            ",".join(numbers),
            (at, 1.01),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=_FONT,
            color="0.3",
        )


def describe_group(samples: Sequence[GroupSample]) -> str:
    """Return in words what the group held at the start, at most and at the end, and what it led to.

    Limits hit, OOM kills and the time spent waiting are those of the samples' time.
    """
    if not samples:
        return say("No sample was taken.")
    sentences = []
    for name, read in GROUP_READERS.items():
        known = [size for sample in samples if (size := read(sample)) is not None]
        label = GROUP_STYLES[name].label
        if not known:
            sentences.append(say("{label} is not known", label=label))
        elif len(set(known)) == 1:
            sentences.append(say("{label} is {size:,.0f} MiB", label=label, size=known[0] / MIB))
        else:
            sentences.append(
                say(
                    "{label} goes from {first:,.0f} to {last:,.0f} MiB (most {most:,.0f})",
                    label=label,
                    first=known[0] / MIB,
                    last=known[-1] / MIB,
                    most=max(known) / MIB,
                )
            )
    first, last = samples[0], samples[-1]
    hits = last.memory.limit_hits - first.memory.limit_hits
    kills = last.memory.oom_kills - first.memory.oom_kills
    sentences.append(
        say(
            "the limit was met {times}, with {kills}",
            times=count_of(hits, "time"),
            kills=_count_kills(kills),
        )
    )
    waited = measure_waiting(first, last)
    sentences.append(
        say(
            "{who} waited for memory for {some:.0f} % of the time, all of them for {full:.0f} %",
            who=_whose(last),
            **waited,
        )
        if waited
        else say("how long processes waited is not measured")
    )
    seconds = last.elapsed_s - first.elapsed_s
    return say("In {seconds:,.1f} s: {events}.", seconds=seconds, events=say("; ").join(sentences))


def _whose(sample: GroupSample) -> str:
    is_of_machine = sample.is_pressure_of_machine
    return term("some process of the machine" if is_of_machine else "some process")


def _count_kills(kills: int) -> str:
    return count_of(kills, "OOM kill") if kills else term("no OOM kill")
