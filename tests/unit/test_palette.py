"""The palettes, as people with each kind of colour blindness see them."""

from itertools import combinations

import numpy as np
import pytest

from lablib.plots import palette
from lablib.records import CHUNK_STATES, SEGMENT_KINDS

# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
XYZ_OF_RGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE_XYZ = np.array([0.95047, 1.0, 1.08883])
# A difference of 2.3 in CIELAB is just noticeable side by side; across a figure takes more.
MIN_DISTANCE = 15

PALETTES = {
    name: getattr(palette, name)
    for name in (
        "SEGMENT_STYLES",
        "CHUNK_STYLES",
        "PAGE_STYLES",
        "SIZE_STYLES",
        "TOUCH_STYLES",
        "VMSTAT_STYLES",
        "STACK_STYLES",
    )
}


def see(color, sight):
    """A colour "#rrggbb" in CIELAB, as a sight shows it."""
    channels = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    xyz = XYZ_OF_RGB @ np.clip(SIGHTS[sight] @ linear, 0, 1) / WHITE_XYZ
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one, other, sight):
    return float(np.linalg.norm(see(one, sight) - see(other, sight)))


def test_the_simulation_takes_red_and_green_for_alike_where_it_should():
    red, green = "#c04000", "#608000"
    assert distance(red, green, "normal") > 50
    assert distance(red, green, "deuteranopia") < 15
    assert distance(red, green, "tritanopia") > 50


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("name", PALETTES)
def test_any_two_colours_of_a_palette_differ_for_every_sight(name, sight):
    colors = {style.color for style in PALETTES[name].values()}
    close = [
        (one, other, round(distance(one, other, sight), 1))
        for one, other in combinations(sorted(colors), 2)
        if distance(one, other, sight) < MIN_DISTANCE
    ]
    assert not close


@pytest.mark.parametrize("name", PALETTES)
def test_no_two_styles_look_alike_and_none_has_another_ones_label(name):
    styles = list(PALETTES[name].values())
    assert len(set(styles)) == len(styles)
    looks = [tuple(vars(style).values())[1:] for style in styles]
    assert len(set(looks)) == len(looks)
    assert len({style.label for style in styles}) == len(styles)


@pytest.mark.parametrize("name", ["SIZE_STYLES", "TOUCH_STYLES", "VMSTAT_STYLES", "STACK_STYLES"])
def test_lines_differ_without_any_colour(name):
    styles = PALETTES[name].values()
    assert len({(style.dashes, style.marker) for style in styles}) == len(styles)


@pytest.mark.parametrize("name", ["CHUNK_STYLES", "PAGE_STYLES"])
def test_blocks_and_pages_differ_by_hatch_or_by_being_empty(name):
    seen = [(s.hatch, s.color == palette.WHITE) for s in PALETTES[name].values()]
    assert len(set(seen)) == len(seen)


def test_every_kind_has_a_style_and_every_hatch_a_drawing():
    assert set(palette.SEGMENT_STYLES) == set(SEGMENT_KINDS)
    assert set(palette.CHUNK_STYLES) == set(CHUNK_STATES)
    for name in ("SEGMENT_STYLES", "CHUNK_STYLES", "PAGE_STYLES"):
        assert {style.hatch for style in PALETTES[name].values()} <= set(palette.HATCHES)
