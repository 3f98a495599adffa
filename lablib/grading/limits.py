"""What one run may take of the machine, and the watch that ends a run which takes more.

The kernel holds each process to its own limits (setrlimit), and the files in memory to a size and a
number (tmpfs). What all processes have together is held by a memory cgroup of the tracer service;
where there is none, the watch adds it up. The watch also says which limit a run came to.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import LabError, PrivilegeError, ProcessError, ToolMissingError, TracerError
from lablib.system import read_meminfo
from lablib.tracing.groups import CappedGroup

TOTAL_BYTES = 640 << 20
"""What all processes of a run may have in memory together, its files in tmpfs included."""

FILE_PLACES = {"/tmp": (16 << 20, 1024), "/dev/shm": (32 << 20, 256)}
"""Where a program in the sandbox may make files: all in memory, so many bytes and so many files."""

MOST_TIMES_SECONDS = 4.0
"""How much longer a run may take on a busy machine: nobody fails for what others do on it."""

INTERVAL_S = 0.05
"""How often a run is looked at."""

FLOOR_BYTES = 256 << 20
"""Without a group a run is ended when the machine has no more than this left.

Nobody can tell then who took it: the run says nothing about its program.
"""

_SPARE_PROCESSES = 8
_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Limits:
    """What one run may take; a run that wants more is ended, or refused it.

    `seconds` are of the clock on a machine that is not busy, and of each process's processor time.
    `memory_bytes` is of private writable memory, of each process (RLIMIT_DATA), None where
    something else limits it. `processes` are all its processes and threads together. `file_bytes`
    is of each file. Output beyond `output_bytes` ends the run. Unless it `may_fork`, a run is one
    process: none that nobody looks at can do its work.
    """

    seconds: float = 5.0
    memory_bytes: int | None = 256 << 20
    processes: int = 48
    file_bytes: int = 16 << 20
    open_files: int = 256
    output_bytes: int = 1 << 20
    may_fork: bool = False


def list_limits(limits: Limits) -> dict[str, int]:
    """Return what setrlimit is to be told, by the end of the resource's name: {"NPROC": 48}."""
    memory = {} if limits.memory_bytes is None else {"DATA": limits.memory_bytes}
    return {
        **memory,
        "STACK": 8 << 20,
        "NPROC": limits.processes + _SPARE_PROCESSES,  # the watch is to see who wants too many
        "FSIZE": limits.file_bytes,
        "NOFILE": limits.open_files,
        "MSGQUEUE": 1 << 16,
        "MEMLOCK": 1 << 16,
        "CPU": int(limits.seconds) + 1,
        "CORE": 0,
    }


def find_seconds(limits: Limits) -> float:
    """Return how long a run may take by the clock, now: for as many as wait for a processor."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return limits.seconds * min(max(load, 1.0), MOST_TIMES_SECONDS)


def open_group() -> CappedGroup | None:
    """Return a memory cgroup of `TOTAL_BYTES` for runs one after the other, None without one."""
    try:
        return CappedGroup(TOTAL_BYTES)
    except (TracerError, ToolMissingError, PrivilegeError):
        return None


class Watch:
    """Looks, again and again, at what one run has; made while the program waits at its gate."""

    def __init__(self, pid: int, first: int, limits: Limits, group: CappedGroup | None) -> None:
        """Watch the run of process `pid`; all its processes descend from process `first`.

        Without a group, or where the service refuses to put the process into it, the memory is
        added up here. Raises `OSError` where the program has ended already.
        """
        self._first = first
        self._limits = limits
        self._group = None
        self._next_s = 0.0
        if group is not None:
            with contextlib.suppress(LabError):
                group.take(pid)
                self._ooms, self._group = group.read().oom_kills, group
        self._places: list[int] = []
        with contextlib.ExitStack() as opened:
            for place in FILE_PLACES:
                self._places.append(os.open(f"/proc/{pid}/root{place}", os.O_PATH))
                opened.callback(os.close, self._places[-1])
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Let go of the places of its files: the last who holds them frees their memory."""
        self._opened.close()

    def look(self) -> str:
        """Return the limit that the run has come to: "memory", "disk", "processes", or "".

        Or "machine", where there is no group, and the machine has come to its own. Looks not more
        often than `INTERVAL_S`.
        """
        if time.monotonic() < self._next_s:
            return ""
        self._next_s = time.monotonic() + INTERVAL_S
        if found := self.look_at_files() or self.look_at_group():
            return found
        tasks = dict(_list_tasks(self._first))
        if sum(tasks.values()) > self._limits.processes:
            return "processes"
        return self._look_at_memory(tasks) if self._group is None else ""

    def look_at_files(self) -> str:
        """Return "disk" where a place for files is full: of bytes, or of files."""
        for place in self._places:
            room = os.fstatvfs(place)
            if room.f_bavail == 0 or room.f_ffree == 0:
                return "disk"
        return ""

    def look_at_group(self) -> str:
        """Return "memory" where the kernel has killed a process of the run for want of it."""
        if self._group is None:
            return ""
        with contextlib.suppress(ProcessError):  # the service has ended, and the run with its group
            return "memory" if self._group.read().oom_kills > self._ooms else ""
        return "memory"

    def _look_at_memory(self, pids: Iterable[int]) -> str:
        """Add up what processes map, each page counted once, and the files that they have made.

        What they may have elsewhere (segments that nobody maps) only shows in what the machine has.
        """
        total = 0
        for place in self._places:
            room = os.fstatvfs(place)
            total += (room.f_blocks - room.f_bfree) * room.f_frsize
        for pid in pids:
            with contextlib.suppress(OSError):
                found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
                total += int(found[1]) * 1024 if found else 0
        if total > TOTAL_BYTES:
            return "memory"
        return "machine" if read_meminfo()["MemAvailable"] < FLOOR_BYTES else ""


def _list_tasks(pid: int) -> Iterator[tuple[int, int]]:
    """Yield a process's descendants, and how many threads each has."""
    pending = [pid]
    while pending:
        parent = pending.pop()
        with contextlib.suppress(OSError):
            threads = list(Path(f"/proc/{parent}/task").iterdir())
            if parent != pid:
                yield parent, len(threads)
            for thread in threads:
                pending += map(int, (thread / "children").read_text().split())
