"""The machine's memory as the kernel divides it: cgroups, swap, pressure, and who was killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lablib.records.heap import Target


@dataclass(frozen=True)
class CgroupMemory:
    """What is charged to a memory cgroup, and what its limit has led to so far.

    `version` is 1 or 2: the two kinds of cgroups have other files, and where one has no such
    number it is None here. `path` is the group's folder. `limit_bytes` None is no limit.
    `swap_bytes` and `swap_limit_bytes` are of swap alone; version 1 counts memory and swap
    together, so there the limit is what that sum leaves. `limit_hits` counts how often a charge
    met the limit (`max` of memory.events; in version 1 failcnt, with that of memory and swap
    together, which Linux 6.15 and later no longer count), `ooms` how often the kernel then
    found nothing to take, and `oom_kills` the processes that it killed. `anon_bytes`,
    `file_bytes` and `shmem_bytes` are parts of the usage; `file_bytes` has those of shared
    memory in it. Pages are counted since the group was made. `elapsed_s` is when it was read,
    from the start of the group or the sampling.
    """

    elapsed_s: float
    path: str
    version: int
    process_count: int
    usage_bytes: int
    limit_bytes: int | None
    peak_bytes: int | None
    swap_bytes: int | None
    swap_limit_bytes: int | None
    limit_hits: int
    ooms: int | None
    oom_kills: int
    anon_bytes: int
    file_bytes: int
    shmem_bytes: int
    page_faults: int
    major_faults: int
    scanned_pages: int | None = None
    reclaimed_pages: int | None = None
    swapped_out_pages: int | None = None
    swapped_in_pages: int | None = None
    refaulted_anon_pages: int | None = None
    refaulted_file_pages: int | None = None


@dataclass(frozen=True)
class SwapArea:
    """One line of /proc/swaps: a partition, a file or a compressed disk that takes pages.

    `kind` is the kernel's word: "partition" (zram too) or "file".
    """

    path: str
    kind: str
    size_bytes: int
    used_bytes: int
    priority: int


@dataclass(frozen=True)
class PressureShare:
    """For how much of the time processes have stood still for want of memory.

    `percent_10s`, `percent_60s` and `percent_300s` are averages over the last so many seconds,
    `total_s` is the sum since the start of the machine or of the group.
    """

    percent_10s: float
    percent_60s: float
    percent_300s: float
    total_s: float


@dataclass(frozen=True)
class MemoryPressure:
    """Pressure stall information: `some` process waited, or all of them that could run (`full`)."""

    some: PressureShare
    full: PressureShare


@dataclass(frozen=True)
class OomKill:
    """A process that the kernel killed because its group, or the machine, had no memory left.

    `elapsed_s` counts from the start of the tracing. `score` is the kernel's badness of it as
    /proc/PID/oom_score said last before, 0 to 2,000, and `score_adj` what its owner has added
    to it; both are None of a process that lived too short to be asked. The sizes are those at
    the kill; older kernels tell only the process id, and then they are None.
    """

    elapsed_s: float
    pid: int
    command: str
    score: int | None = None
    score_adj: int | None = None
    vm_size_bytes: int | None = None
    rss_anon_bytes: int | None = None
    rss_file_bytes: int | None = None
    rss_shared_bytes: int | None = None


@dataclass(frozen=True)
class ReclaimTotals:
    """How often processes had to take pages back before they got one, and what came of it.

    `seconds` is how long they stood still in it, all together. `written_pages` went to swap or to a
    file first; `swapped_out_pages` are those of them that were anonymous.
    """

    count: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    reclaimed_pages: int = 0
    written_pages: int = 0
    swapped_out_pages: int = 0


@dataclass(frozen=True)
class PressureTrace:
    """What a shortage of memory did to some processes during `seconds`, as tracepoints told it.

    `memcg_reclaim` is what they took back because their group is at its limit, `direct_reclaim`
    because the machine has no free page. `by_limit` is what was taken back from their group when
    its limit was lowered. `major_faults` are touches that had to wait for a read: from swap, or
    from a file. What this kernel can't tell is in `unavailable`, a sentence each by the field's
    name; what could not be recorded is counted in `missed_by_reason`.
    """

    source: str
    kernel: str
    target: Target
    seconds: float
    oom_kills: tuple[OomKill, ...]
    memcg_reclaim: ReclaimTotals
    direct_reclaim: ReclaimTotals
    by_limit: ReclaimTotals
    major_faults: int
    page_bytes: int
    unavailable: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    missed_by_reason: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def swapped_out_bytes(self) -> int:
        """How much these processes have had written to swap, to get other pages."""
        parts = (self.memcg_reclaim, self.direct_reclaim, self.by_limit)
        return sum(part.swapped_out_pages for part in parts) * self.page_bytes

    @property
    def is_complete(self) -> bool:
        """Whether every event inside the window is in the trace."""
        return not any(self.missed_by_reason.values())
