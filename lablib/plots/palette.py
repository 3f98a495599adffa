"""Colours that any eye tells apart, and beside each a second sign: a hatch, a dash, a marker.

The colours are Okabe and Ito's. Where two kinds share a colour they belong together (a heap and an
arena), and the hatch tells them apart. Figures and panels take all their styles from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from lablib.language import term
from lablib.records import FILE_OR_SHARED, PRESENT, SWAPPED

BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
WHITE = "#FFFFFF"

HATCHES = {
    "plain": "",
    "stripes": "////",
    "back_stripes": "\\\\\\\\",
    "dots": "...",
    "crosses": "xxxx",
}
"""The names of the hatches, and how matplotlib draws each."""


@dataclass(frozen=True)
class AreaStyle:
    """How a kind of area looks: its name for a reader, its colour, and one of `HATCHES`."""

    label: str
    color: str
    hatch: str = "plain"


@dataclass(frozen=True)
class LineStyle:
    """How a line looks: its name, its colour, and its dashes and marker as matplotlib has them."""

    label: str
    color: str
    dashes: str
    marker: str


SEGMENT_STYLES = {
    "text": AreaStyle(term("program: code"), BLUE),
    "read_only": AreaStyle(term("program: constants"), BLUE, "dots"),
    "data": AreaStyle(term("program: data"), SKY_BLUE),
    "bss": AreaStyle(term("program: bss (zeroed)"), SKY_BLUE, "stripes"),
    "heap": AreaStyle(term("heap"), VERMILLION),
    "arena": AreaStyle(term("arena of a thread"), VERMILLION, "stripes"),
    "stack": AreaStyle(term("stack"), GREEN),
    "thread_stack": AreaStyle(term("stack of a thread"), GREEN, "stripes"),
    "library": AreaStyle(term("library"), PURPLE),
    "loader": AreaStyle(term("dynamic linker"), PURPLE, "stripes"),
    "file": AreaStyle(term("mapped file"), YELLOW),
    "shared": AreaStyle(term("shared memory"), YELLOW, "back_stripes"),
    "anonymous": AreaStyle(term("anonymous mapping"), ORANGE),
    "guard": AreaStyle(term("guard"), WHITE, "crosses"),
    "reserved": AreaStyle(term("reserved"), WHITE, "dots"),
    "padding": AreaStyle(term("padding"), WHITE, "stripes"),
    "vdso": AreaStyle(term("vdso: code of the kernel"), BLACK),
    "kernel": AreaStyle(term("data of the kernel"), BLACK, "dots"),
}
"""One style for each of `records.SEGMENT_KINDS`."""

CHUNK_STYLES = {
    "used": AreaStyle(term("used"), VERMILLION),
    "cached": AreaStyle(term("freed, cached"), YELLOW, "back_stripes"),
    "free": AreaStyle(term("free"), WHITE),
    "top": AreaStyle(term("top"), SKY_BLUE, "dots"),
}
"""One style for each of `records.CHUNK_STATES`."""

PAGE_STYLES = {
    "private": AreaStyle(term("in memory, anonymous"), VERMILLION),
    "file": AreaStyle(term("in memory, of a file or shared"), SKY_BLUE, "stripes"),
    "swapped": AreaStyle(term("in swap"), YELLOW, "crosses"),
    "absent": AreaStyle(term("not in memory"), WHITE),
}
"""What a page of `records.ResidentPages` can be."""

SIZE_STYLES = {
    "VmSize": LineStyle("VmSize", BLUE, "-", "o"),
    "RSS": LineStyle("RSS", VERMILLION, "--", "D"),
    "PSS": LineStyle("PSS", GREEN, ":", "^"),
}
"""The sizes of a process that are compared."""

SERVICE_STYLES = {
    "resident": LineStyle(term("resident set"), BLUE, "-", "o"),
    "cap": LineStyle(term("cap"), VERMILLION, "--", "D"),
}
"""A service against the cap of its container."""

VMSTAT_STYLES = {
    "free": LineStyle("free", BLUE, "-", "o"),
    "buff": LineStyle("buff", ORANGE, "-", "s"),
    "cache": LineStyle("cache", GREEN, "-", "^"),
    "available": LineStyle("available", PURPLE, "-", "v"),
    "swpd": LineStyle("swpd", BLACK, "-", "X"),
    "si": LineStyle("si", BLACK, "-", "<"),
    "so": LineStyle("so", BLACK, "-", ">"),
    "bi": LineStyle("bi", SKY_BLUE, "-", "P"),
    "bo": LineStyle("bo", SKY_BLUE, "-", "*"),
    "RSS": LineStyle("RSS", VERMILLION, "-", "D"),
}
"""The columns of vmstat that tell about memory, and what is shown beside them, each in a strip of
its own with its name."""
GROUP_STYLES = {
    "limit": LineStyle(term("limit"), BLACK, "-", ""),
    "anonymous": LineStyle(term("anonymous, in RAM"), VERMILLION, "--", "D"),
    "page cache": LineStyle(term("page cache"), GREEN, ":", "^"),
    "swap": LineStyle(term("in swap"), PURPLE, "-", "s"),
}
"""What is charged to a memory cgroup, and its limit."""

PRESSURE_STYLES = {
    "some": LineStyle(term("some waited"), ORANGE, "-", "o"),
    "full": LineStyle(term("all waited"), BLUE, "--", "s"),
}
"""How much of the time processes have waited for memory."""

STACK_STYLES = {
    "first": LineStyle(term("first"), VERMILLION, "-", "D"),
    "second": LineStyle(term("second"), BLUE, "--", "o"),
    "third": LineStyle(term("third"), GREEN, ":", "^"),
    "fourth": LineStyle(term("fourth"), BLACK, "-", "s"),
    "fifth": LineStyle(term("fifth"), ORANGE, "--", "v"),
}
"""Call stacks that are compared: what a line gets is kept as long as it is shown."""

TOUCH_STYLES = {
    "write": LineStyle(term("write"), VERMILLION, "", "o"),
    "read": LineStyle(term("read"), BLUE, "", "s"),
    "instruction": LineStyle(term("instruction fetch"), GREEN, "", "^"),
    "protection": LineStyle(term("on a page that was there"), PURPLE, "", "X"),
}
"""What touched the page at a page fault."""


def name_page(flags: int) -> str:
    """Return which of `PAGE_STYLES` a page is, by its bits in `records.ResidentPages`."""
    if flags & PRESENT:
        return "file" if flags & FILE_OR_SHARED else "private"
    return "swapped" if flags & SWAPPED else "absent"
