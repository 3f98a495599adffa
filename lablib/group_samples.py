"""A group of processes at a moment: what it is charged, how long it has waited, who is in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lablib.errors import LabError, ProcessError
from lablib.proc import read_sizes
from lablib.records import GroupSample, Member, MemoryPressure
from lablib.system import read_cgroup, read_cgroup_pressure, read_meminfo, read_pressure


def read_group_sample(folder: Path, pids: Mapping[str, int], elapsed_s: float) -> GroupSample:
    """Return what is charged to the group of that folder now, and to those of its processes.

    `pids` are their ids by name; one that has ended is left out. The pressure is the machine's
    where the group has none of its own. Raises `ProcessError` where the group has been removed.
    The group's counts are read after its processes: without a kill in the counts, none of the
    processes had been killed when it was looked at.
    """
    members = tuple(_read_members(pids))
    meminfo, vmstat = read_meminfo(), _read_vmstat()
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    pressure, is_of_machine = _read_nearest_pressure(folder)
    return GroupSample(
        elapsed_s=elapsed_s,
        memory=read_cgroup(folder, elapsed_s),
        pressure=pressure,
        is_pressure_of_machine=is_of_machine,
        swap_total_bytes=meminfo["SwapTotal"],
        swap_free_bytes=meminfo["SwapFree"],
        swapped_in_bytes=vmstat.get("pswpin", 0) * page_bytes,
        swapped_out_bytes=vmstat.get("pswpout", 0) * page_bytes,
        members=members,
    )


def _read_vmstat() -> dict[str, int]:
    rows = (line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows}


def _read_nearest_pressure(folder: Path) -> tuple[MemoryPressure | None, bool]:
    """Return the group's pressure, else the machine's, and whether it is that."""
    with suppress(LabError):
        return read_cgroup_pressure(folder), False
    with suppress(LabError):
        return read_pressure(), True
    return None, False


def _read_members(pids: Mapping[str, int]) -> Iterator[Member]:
    for name, pid in pids.items():
        folder = Path(f"/proc/{pid}")
        try:
            sizes = read_sizes(pid, with_pss=False)
            score, adj = (int((folder / f).read_text()) for f in ("oom_score", "oom_score_adj"))
        except (OSError, ProcessError):
            continue  # it has ended
        yield Member(
            name=name,
            pid=pid,
            rss_bytes=sizes.rss_bytes,
            swap_bytes=sizes.swap_bytes,
            page_table_bytes=sizes.page_table_bytes,
            score_adj=adj,
            score=score,
        )
