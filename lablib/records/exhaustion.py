"""A group of processes on its way to its limit: samples, steps, and how each process ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lablib.records.system import CgroupMemory, MemoryPressure, PressureTrace

NEVER = -1000
"""The `oom_score_adj` of a process that the OOM killer leaves alone."""


@dataclass(frozen=True)
class Member:
    """A process of a group at a moment, by what the OOM killer compares.

    The sizes are from /proc/PID/status: resident (VmRSS), in swap (VmSwap), and the page tables
    (VmPTE). `score` is /proc/PID/oom_score, which measures by the whole machine. `score_adj` is
    /proc/PID/oom_score_adj, -1000 to 1000.
    """

    name: str
    pid: int
    rss_bytes: int
    swap_bytes: int
    page_table_bytes: int
    score_adj: int
    score: int

    def weigh(self, allowed_bytes: int) -> int | None:
        """Return its badness in bytes where `allowed_bytes` are allowed, None if it is exempt.

        As the kernel's oom_badness (mm/oom_kill.c): what it holds, and a thousandth of what is
        allowed for each point of `score_adj`. The process with the most is killed.
        """
        if self.score_adj == NEVER:
            return None
        held_bytes = self.rss_bytes + self.swap_bytes + self.page_table_bytes
        return held_bytes + self.score_adj * allowed_bytes // 1000


@dataclass(frozen=True)
class GroupSample:
    """What was charged to a group at a moment, and how long it had waited for memory until then.

    `elapsed_s` counts from the start of the sampling. `pressure` is None where the kernel doesn't
    measure it. `swap_total_bytes` and `swap_free_bytes` are the machine's (/proc/meminfo).
    """

    elapsed_s: float
    memory: CgroupMemory
    pressure: MemoryPressure | None
    swap_total_bytes: int
    swap_free_bytes: int
    members: tuple[Member, ...] = ()

    @property
    def allowed_bytes(self) -> int | None:
        """What the group may hold in RAM and swap together, None without a limit.

        No more swap than the machine has, as the OOM killer reckons it.
        """
        if self.memory.limit_bytes is None:
            return None
        allowed = self.memory.swap_limit_bytes
        swap_bytes = self.swap_total_bytes if allowed is None else allowed
        return self.memory.limit_bytes + min(swap_bytes, self.swap_total_bytes)


@dataclass(frozen=True)
class GroupStep:
    """One step of an experiment: a command that a process of the group was given, and its answer.

    It began at `elapsed_s` and took `seconds`. `ended_by` is the name of the signal that killed the
    process meanwhile, "" if none did.
    """

    elapsed_s: float
    seconds: float
    name: str
    command: str
    answer: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    ended_by: str = ""


@dataclass(frozen=True)
class CappedRun:
    """An experiment in a capped group: its samples, its steps, and what tracepoints told of it.

    `source` says how it was obtained ("live", or "recorded: " and where).
    """

    source: str
    kernel: str
    samples: tuple[GroupSample, ...]
    steps: tuple[GroupStep, ...]
    trace: PressureTrace
