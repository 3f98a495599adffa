"""Which pages of a process are in memory: /proc/PID/pagemap."""

from __future__ import annotations

import os

import numpy as np

from lablib.proc.errors import refuses_in_words
from lablib.records import EXCLUSIVE, FILE_OR_SHARED, PRESENT, SWAPPED, ResidentPages

# The bit of a 64-bit entry (the kernel's admin-guide/mm/pagemap.rst) -> our bit of a byte.
_BITS = {63: PRESENT, 62: SWAPPED, 61: FILE_OR_SHARED, 56: EXCLUSIVE}
_ENTRY_BYTES = 8
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@refuses_in_words
def read_resident_pages(pid: int, start: int, end: int) -> ResidentPages:
    """Return the state of each page that a range of addresses touches.

    Pages that aren't mapped have no bit set. A page of private memory that was read before it was
    written is present too: it is the kernel's one page of zeros, which no resident set counts.
    Raises `ProcessError` when the process is gone or not yours.
    """
    first = start // _PAGE_BYTES
    count = -(-end // _PAGE_BYTES) - first
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        file.seek(first * _ENTRY_BYTES)
        raw = file.read(count * _ENTRY_BYTES) or b""
    return ResidentPages(first * _PAGE_BYTES, _PAGE_BYTES, parse_pagemap(raw).ljust(count, b"\0"))


def parse_pagemap(raw: bytes) -> bytes:
    """Return a byte of flags for each entry of a pagemap."""
    entries = np.frombuffer(raw, dtype=np.uint64)
    flags = np.zeros(len(entries), dtype=np.uint8)
    for place, bit in _BITS.items():
        flags |= (entries >> np.uint64(place) & np.uint64(1)).astype(np.uint8) * np.uint8(bit)
    return flags.tobytes()
