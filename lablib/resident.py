"""How much of a process is in memory, for all that need no more of it."""

from __future__ import annotations

import psutil


def read_rss_bytes(pid: int) -> int | None:
    """Return the resident set of a process from /proc/PID/statm, None once it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
