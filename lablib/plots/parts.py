"""What several figures are made of: areas with their hatches, a key, labels that don't overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lablib.plots.lettering import choose_font, letter
from lablib.plots.palette import HATCHES, AreaStyle

MIB = 1 << 20
EDGE_COLOR = "#333333"
WIDTH_INCHES = 10.0
HEIGHT_INCHES = 5.6


def make_figure(height_inches: float = HEIGHT_INCHES, width_inches: float = WIDTH_INCHES) -> Figure:
    """Return an empty figure whose text is readable where it is shown 1,280 by 720."""
    choose_font()
    return Figure(figsize=(width_inches, height_inches), dpi=100, layout="constrained")


def make_key(style: AreaStyle, text: str = "") -> Patch:
    """Return a patch in a style, for a legend, with the style's label or another text."""
    return Patch(
        facecolor=style.color,
        edgecolor=EDGE_COLOR,
        hatch=HATCHES[style.hatch],
        linewidth=0.8,
        label=text or letter(style.label),
    )


def draw_key(axes: Axes, keys: Iterable[Patch]) -> None:
    """Draw a legend in one line above the axes."""
    patches = list(keys)
    axes.legend(
        handles=patches,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=max(1, len(patches)),
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.8,
        handleheight=1.2,
    )


def spread_out(positions: Sequence[float], gap: float) -> list[float]:
    """Return positions in the order given, moved as little as needed to be `gap` apart.

    The lowest stays or moves down, the highest stays or moves up; those between keep their order.
    """
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    placed = [positions[index] for index in order]
    for _ in range(len(placed)):
        for lower in range(len(placed) - 1):
            missing = gap - (placed[lower + 1] - placed[lower])
            if missing > 1e-9 * gap:
                placed[lower] -= missing / 2
                placed[lower + 1] += missing / 2
    result = [0.0] * len(placed)
    for index, position in zip(order, placed, strict=True):
        result[index] = position
    return result
