"""Colours that any eye tells apart, and beside each a second sign: a hatch, a dash, a marker.

The colours are Okabe and Ito's. Where two kinds share a colour they belong together (a heap and an
arena), and the hatch tells them apart. Figures and panels take all their styles from here.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    "text": AreaStyle("program: code", BLUE),
    "read_only": AreaStyle("program: constants", BLUE, "dots"),
    "data": AreaStyle("program: data", SKY_BLUE),
    "bss": AreaStyle("program: bss (zeroed)", SKY_BLUE, "stripes"),
    "heap": AreaStyle("heap", VERMILLION),
    "arena": AreaStyle("arena of a thread", VERMILLION, "stripes"),
    "stack": AreaStyle("stack", GREEN),
    "thread_stack": AreaStyle("stack of a thread", GREEN, "stripes"),
    "library": AreaStyle("library", PURPLE),
    "loader": AreaStyle("dynamic linker", PURPLE, "stripes"),
    "file": AreaStyle("mapped file", YELLOW),
    "shared": AreaStyle("shared memory", YELLOW, "back_stripes"),
    "anonymous": AreaStyle("anonymous mapping", ORANGE),
    "guard": AreaStyle("guard", WHITE, "crosses"),
    "reserved": AreaStyle("reserved", WHITE, "dots"),
    "padding": AreaStyle("padding", WHITE, "stripes"),
    "vdso": AreaStyle("vdso: code of the kernel", BLACK),
    "kernel": AreaStyle("data of the kernel", BLACK, "dots"),
}
"""One style for each of `records.SEGMENT_KINDS`."""

CHUNK_STYLES = {
    "used": AreaStyle("used", VERMILLION),
    "cached": AreaStyle("freed, cached", YELLOW, "back_stripes"),
    "free": AreaStyle("free", WHITE),
    "top": AreaStyle("top", SKY_BLUE, "dots"),
}
"""One style for each of `records.CHUNK_STATES`."""

PAGE_STYLES = {
    "private": AreaStyle("in memory, anonymous", VERMILLION),
    "file": AreaStyle("in memory, of a file or shared", SKY_BLUE, "stripes"),
    "swapped": AreaStyle("in swap", YELLOW, "crosses"),
    "absent": AreaStyle("not in memory", WHITE),
}
"""What a page of `records.ResidentPages` can be."""

SIZE_STYLES = {
    "VmSize": LineStyle("VmSize", BLUE, "-", "o"),
    "RSS": LineStyle("RSS", VERMILLION, "--", "D"),
    "PSS": LineStyle("PSS", GREEN, ":", "^"),
}
"""The sizes of a process that are compared."""

SERVICE_STYLES = {
    "resident": LineStyle("resident set", BLUE, "-", "o"),
    "cap": LineStyle("cap", VERMILLION, "--", "D"),
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
    "limit": LineStyle("limit", BLACK, "-", ""),
    "anonymous": LineStyle("anonymous, in RAM", VERMILLION, "--", "D"),
    "page cache": LineStyle("page cache", GREEN, ":", "^"),
    "swap": LineStyle("in swap", PURPLE, "-", "s"),
}
"""What is charged to a memory cgroup, and its limit."""

PRESSURE_STYLES = {
    "some": LineStyle("some waited", ORANGE, "-", "o"),
    "full": LineStyle("all waited", BLUE, "--", "s"),
}
"""How much of the time processes have waited for memory."""

STACK_STYLES = {
    "first": LineStyle("first", VERMILLION, "-", "D"),
    "second": LineStyle("second", BLUE, "--", "o"),
    "third": LineStyle("third", GREEN, ":", "^"),
    "fourth": LineStyle("fourth", BLACK, "-", "s"),
    "fifth": LineStyle("fifth", ORANGE, "--", "v"),
}
"""Call stacks that are compared: what a line gets is kept as long as it is shown."""

TOUCH_STYLES = {
    "write": LineStyle("write", VERMILLION, "", "o"),
    "read": LineStyle("read", BLUE, "", "s"),
    "instruction": LineStyle("instruction fetch", GREEN, "", "^"),
    "protection": LineStyle("on a page that was there", PURPLE, "", "X"),
}
"""What touched the page at a page fault."""


def name_page(flags: int) -> str:
    """Return which of `PAGE_STYLES` a page is, by its bits in `records.ResidentPages`."""
    if flags & PRESENT:
        return "file" if flags & FILE_OR_SHARED else "private"
    return "swapped" if flags & SWAPPED else "absent"
