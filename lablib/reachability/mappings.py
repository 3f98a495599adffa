"""What a process has mapped: the lines of /proc/PID/maps."""

from __future__ import annotations

import bisect
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LAB_SEGMENT = "memory-leak-lab"
"""How memory is called (memfd_create) that the lab itself shares with a program."""


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps: a range of addresses, "rw-p" or the like, and its name."""

    start: int
    end: int
    permissions: str
    name: str

    @property
    def is_readable(self) -> bool:
        """Whether the program may read it."""
        return self.permissions[0] == "r"

    @property
    def is_shared(self) -> bool:
        """Whether other processes see what is written to it."""
        return self.permissions[3] == "s"

    @property
    def is_file(self) -> bool:
        """Whether a file lies behind it: the program, a library."""
        return self.name.startswith("/")

    @property
    def may_hold_pointers(self) -> bool:
        """Whether the process can have written to it, and may still read that.

        A mapping that is no longer writable counts, and of a private one of a file the pages that
        were written. What the lab writes there is not the program's.
        """
        if self.name.startswith(f"/memfd:{LAB_SEGMENT}"):
            return False
        return self.is_readable and (not self.is_shared or self.permissions[1] == "w")


def read_mappings(folder: Path) -> list[Mapping]:
    """Return what is mapped, by address; `folder` is the /proc/PID of the process, or a thread's.

    Raises `OSError`.
    """
    mappings = []
    for line in os.fsdecode((folder / "maps").read_bytes()).splitlines():
        bounds, permissions, _offset, _device, _inode, *name = line.split(maxsplit=5)
        start, _, end = bounds.partition("-")
        mappings.append(Mapping(int(start, 16), int(end, 16), permissions, "".join(name)))
    return mappings


def find_mapping(mappings: Sequence[Mapping], address: int) -> int | None:
    """Return the number of the mapping that an address is in, None where there is none."""
    found = bisect.bisect_right(mappings, address, key=lambda mapping: mapping.start) - 1
    return found if found >= 0 and address < mappings[found].end else None
