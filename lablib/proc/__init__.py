"""One process, as /proc shows it: its segments, its resident pages, its sizes and faults."""

from __future__ import annotations

from lablib.proc.following import follow_address_space
from lablib.proc.pages import read_resident_pages
from lablib.proc.sizes import read_sizes, sample_sizes
from lablib.proc.space import read_address_space

__all__ = [
    "follow_address_space",
    "read_address_space",
    "read_resident_pages",
    "read_sizes",
    "sample_sizes",
]
