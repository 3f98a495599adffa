"""What a process holds, as the kernel counts it: for all that need no more of it.

It is read at every snapshot, so it must stay cheap: a process may have 100,000 open files.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lablib.records import ProcessResources

KIB = 1024
NEWEST_FILES = 16

# The line of /proc/PID/status, in KiB -> the field of ProcessResources.
_SIZES = {
    "VmSize": "vm_size_bytes",
    "RssAnon": "rss_anon_bytes",
    "RssFile": "rss_file_bytes",
    "RssShmem": "rss_shared_bytes",
    "VmSwap": "swap_bytes",
}
_SHARED_MEMORY = "/dev/shm/"
_CLOCK_SLACK_S = 1.0  # the kernel tells the start of a process in ticks since the boot


@dataclass(frozen=True)
class Segments:
    """Shared memory segments: how many are a process's own, their bytes, and how many may be."""

    count: int
    size_bytes: int
    unclaimed: int


def read_rss_bytes(pid: int) -> int | None:
    """Return the resident set of a process from /proc/PID/statm, None once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def read_resources(pid: int, proc: Path = Path("/proc")) -> ProcessResources | None:
    """Return what a process holds, from /proc/PID/status, fd and others; None once it has ended.

    Open files and segments are None where the caller may not see them.
    """
    folder = proc / str(pid)
    try:
        text = (folder / "status").read_text(errors="replace")
    except OSError:
        return None
    sizes = parse_status(text)
    if "vm_size_bytes" not in sizes:
        return None
    open_files = _count_open_files(folder)
    newest = _read_newest_files(folder, open_files or 0)
    segments = _read_segments(folder, pid, text, newest)
    return ProcessResources(
        vm_size_bytes=sizes["vm_size_bytes"],
        rss_anon_bytes=sizes.get("rss_anon_bytes", 0),
        rss_file_bytes=sizes.get("rss_file_bytes", 0),
        rss_shared_bytes=sizes.get("rss_shared_bytes", 0),
        swap_bytes=sizes.get("swap_bytes", 0),
        threads=sizes.get("threads", 1),
        open_files=open_files,
        shared_segments=segments.count if segments else None,
        shared_segment_bytes=segments.size_bytes if segments else None,
        unclaimed_segments=segments.unclaimed if segments else None,
        newest_files=newest,
    )


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


def parse_system_v_segments(text: str, pid: int) -> list[int]:
    """Return the sizes in bytes of the segments that a process created, from /proc/sysvipc/shm."""
    header, *lines = text.splitlines() or [""]
    names = header.split()
    rows = [dict(zip(names, line.split(), strict=False)) for line in lines]
    return [int(row["size"]) for row in rows if row.get("cpid") == str(pid)]


def _count_open_files(folder: Path) -> int | None:
    """Return how many entries /proc/PID/fd has; since Linux 6.2 its size says it."""
    with contextlib.suppress(OSError):
        size = (folder / "fd").stat().st_size
        if size:
            os.close(os.open(folder / "fd", os.O_RDONLY | os.O_DIRECTORY))  # may it be listed?
            return size
        with os.scandir(folder / "fd") as entries:
            return sum(1 for _ in entries)
    return None


def _read_newest_files(folder: Path, open_files: int) -> tuple[str, ...]:
    """Return what the highest file descriptors are, in a table without gaps; the first tell most.

    A new file gets the lowest free number, so what leaks fills all gaps and ends at the count.
    """
    targets = []
    for number in range(open_files - 1, max(2, open_files - 1 - NEWEST_FILES), -1):
        with contextlib.suppress(OSError):
            target = os.readlink(folder / "fd" / str(number))
            targets.append(re.sub(r"^(socket|pipe):\[\d+\]$", r"\1s", target))
    return tuple(targets)


def _read_segments(
    folder: Path, pid: int, status: str, newest_files: Iterable[str]
) -> Segments | None:
    """Return the segments of System V that the process created, and files in its /dev/shm.

    Nobody notes who made such a file. It is the process's own if the process maps it or has it
    open, if the name holds its number, or if it differs from the name of such a file in digits
    only. Other files of its user that are not older than itself may be its own.
    """
    try:
        sizes = _read_system_v(folder, pid)
        born_s = _read_start_s(folder) - _CLOCK_SLACK_S
        candidates = _list_shared_files(folder, status, born_s)
    except (OSError, ValueError, IndexError):
        return None
    if not candidates:
        return Segments(len(sizes), sum(sizes), 0)
    held = {_family(path) for path in (*_list_mapped(folder), *newest_files)}
    own = [
        size
        for name, size in candidates
        if _family(_SHARED_MEMORY + name) in held or re.search(rf"(?<!\d){pid}(?!\d)", name)
    ]
    return Segments(len(sizes) + len(own), sum(sizes) + sum(own), len(candidates) - len(own))


def _read_system_v(folder: Path, pid: int) -> list[int]:
    """Return sizes; the table is of the reader's IPC namespace, and says nothing of another."""
    if os.stat(folder / "ns" / "ipc").st_ino != os.stat("/proc/self/ns/ipc").st_ino:
        return []
    return parse_system_v_segments(Path("/proc/sysvipc/shm").read_text(), pid)


def _list_shared_files(folder: Path, status: str, born_s: float) -> list[tuple[str, int]]:
    """Return (name, bytes) of the files in its /dev/shm that its user made since it was started."""
    found = re.search(r"^Uid:\s+\d+\s+(\d+)", status, re.MULTILINE)
    uid = int(found[1]) if found else -1
    files = []
    with contextlib.suppress(FileNotFoundError), os.scandir(f"{folder}/root/dev/shm") as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                state = entry.stat(follow_symlinks=False)
                if state.st_uid == uid and state.st_ctime >= born_s:
                    files.append((entry.name, state.st_size))
    return files


def _list_mapped(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        lines = (folder / "maps").read_text(errors="replace").splitlines()
        return [line[line.index("/") :] for line in lines if _SHARED_MEMORY in line]
    return []


def _family(path: str) -> str:
    """Return a path with its digits masked; a deleted file's is nobody's."""
    return re.sub(r"\d+", "#", path)


def _read_start_s(folder: Path) -> float:
    """Return when a process was started, in seconds since the epoch; raises `OSError`."""
    words = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    boot = re.search(r"^btime (\d+)$", (folder.parent / "stat").read_text(), re.MULTILINE)
    if boot is None:
        raise ValueError("no time of the boot in /proc/stat")
    return int(boot[1]) + int(words[19]) / os.sysconf("SC_CLK_TCK")
