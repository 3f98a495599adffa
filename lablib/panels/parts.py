"""Pieces of HTML that show in the words beside a view what its lines and areas look like."""

from __future__ import annotations

from collections.abc import Iterable

from lablib.plots.palette import AreaStyle, LineStyle

DASHES = {"-": "solid", "--": "dashed", ":": "dotted"}
"""The dashes of a line: matplotlib's sign, and the name that bqplot and CSS have for it."""

MARKERS = {
    "o": ("circle", "●"),
    "s": ("square", "■"),
    "^": ("triangle-up", "▲"),
    "v": ("triangle-down", "▼"),
    "D": ("diamond", "◆"),
}
"""The markers of a line: matplotlib's sign, the name that bqplot has for it, and a letter."""

_ANGLES = {"stripes": (135,), "back_stripes": (45,), "crosses": (45, 135)}


def join_readings(readings: Iterable[str]) -> str:
    """Return pieces of HTML side by side; where a line ends, it does so between two of them."""
    return " &emsp; ".join(f'<span style="white-space: nowrap">{each}</span>' for each in readings)


def draw_sample(style: LineStyle) -> str:
    """Return a piece of a line, as a chart draws it."""
    line = f"4px {DASHES[style.dashes]} {style.color}"
    return f'<span style="display: inline-block; width: 36px; border-top: {line}"></span>'


def draw_marked_sample(style: LineStyle) -> str:
    """Return a piece of a line with its marker."""
    letter = MARKERS[style.marker][1]
    return (
        f'<span aria-hidden="true" style="white-space: nowrap; color: {style.color}">'
        f"{draw_sample(style)} {letter}</span>"
    )


def draw_swatch(style: AreaStyle) -> str:
    """Return a small area with the colour and the hatch of a style."""
    layers = [
        f"repeating-linear-gradient({angle}deg, #333 0 1px, transparent 1px 5px)"
        for angle in _ANGLES.get(style.hatch, ())
    ]
    if style.hatch == "dots":
        layers.append("radial-gradient(#333 1px, transparent 1.5px) 0 0 / 5px 5px")
    background = ", ".join([*layers, style.color])
    return (
        '<span style="display: inline-block; width: 22px; height: 13px; border: 1px solid #333;'
        f' vertical-align: -2px; background: {background}"></span>'
    )
