"""The address space of a process again and again: all of it is read only where it has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lablib.proc.errors import refuses_in_words
from lablib.proc.space import read_address_space
from lablib.records import AddressSpace

REFRESH_S = 1.0

# The places in /proc/PID/stat, counted from the state behind the command's name: minor and major
# faults, the size of the address space, the resident set.
_SIGNS = (7, 9, 20, 21)


def follow_address_space(pid: int) -> Callable[[], AddressSpace]:
    """Return a function that returns all that a process has mapped, as `read_address_space` does.

    For /proc/PID/smaps the kernel looks at each resident page, so it is read again only where the
    process has faulted since, its address space or resident set has another size, or a second has
    passed; else the same record is returned again. What another process does to the shares of a
    page, or an mprotect, may so be seen a second late. The function raises what
    `read_address_space` does.
    """
    space: AddressSpace | None = None
    signs: list[str] = []
    read_at_s = 0.0

    @refuses_in_words
    def read(pid: int) -> AddressSpace:
        nonlocal space, signs, read_at_s
        now_s, signs_now = time.monotonic(), _read_signs(pid)
        if space is None or signs_now != signs or now_s - read_at_s >= REFRESH_S:
            space, signs, read_at_s = read_address_space(pid), signs_now, now_s
        return space

    return lambda: read(pid)


def _read_signs(pid: int) -> list[str]:
    words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return [words[place] for place in _SIGNS]
