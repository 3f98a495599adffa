"""What the machine swaps to, and how much memory it can still give."""

from __future__ import annotations

import re
from pathlib import Path

from lablib.errors import LabError
from lablib.language import term
from lablib.records import SwapArea
from lablib.wording import os_reason

ROOT = Path("/")
KIB = 1024


def read_swap_areas(root: Path = ROOT) -> tuple[SwapArea, ...]:
    """Return the swap areas in use, from /proc/swaps; empty where the machine has none."""
    try:
        text = (root / "proc/swaps").read_text()
    except OSError:
        return ()  # a kernel without swap has no such file
    return parse_swaps(text)


def parse_swaps(text: str) -> tuple[SwapArea, ...]:
    """Return the areas that the text of /proc/swaps lists; sizes there are in KiB.

    A space in a path is written \\040 there.
    """
    areas = []
    for line in text.splitlines()[1:]:
        path, kind, size, used, priority = line.split()
        areas.append(
            SwapArea(_unescape(path), kind, int(size) * KIB, int(used) * KIB, int(priority))
        )
    return tuple(areas)


def read_meminfo(root: Path = ROOT) -> dict[str, int]:
    """Return the sizes in /proc/meminfo by name, in bytes: MemTotal, MemAvailable, SwapFree ...

    Raises `LabError` where there is no such file.
    """
    try:
        text = (root / "proc/meminfo").read_text()
    except OSError as error:
        raise LabError(
            term("/proc/meminfo can't be read ({reason})", reason=os_reason(error))
        ) from None
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) * KIB for row in rows if row[2:] == ["kB"]}


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
