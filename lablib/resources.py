"""What a process holds, as the kernel counts it: for all that need no more of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lablib.records import ProcessResources

KIB = 1024

# The line of /proc/PID/status, in KiB -> the field of ProcessResources.
_SIZES = {
    "VmSize": "vm_size_bytes",
    "RssAnon": "rss_anon_bytes",
    "RssFile": "rss_file_bytes",
    "RssShmem": "rss_shared_bytes",
    "VmSwap": "swap_bytes",
}


def read_rss_bytes(pid: int) -> int | None:
    """Return the resident set of a process from /proc/PID/statm, None once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def read_resources(pid: int) -> ProcessResources | None:
    """Return what a process holds, from /proc/PID/status and fd; None once it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        text = (folder / "status").read_text(errors="replace")
    except OSError:
        return None
    sizes = parse_status(text)
    if "vm_size_bytes" not in sizes:
        return None
    return ProcessResources(**sizes, open_files=_count_open_files(folder))


def parse_status(text: str) -> dict[str, int]:
    """Return the fields of `ProcessResources` that a /proc/PID/status has, in bytes."""
    values = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in _SIZES:
            values[_SIZES[name]] = int(value.split()[0]) * KIB
        elif name == "Threads":
            values["threads"] = int(value)
    return values


def _count_open_files(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return sum(1 for _ in (folder / "fd").iterdir())
    return None
