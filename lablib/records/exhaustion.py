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
    measure it, and the whole machine's where it doesn't do so by group. All swap is the machine's:
    its size and what of it is free (/proc/meminfo), and how much was read from it and written to it
    since the machine was started (pswpin and pswpout of /proc/vmstat, vmstat's si and so).
    """

    elapsed_s: float
    memory: CgroupMemory
    pressure: MemoryPressure | None
    is_pressure_of_machine: bool
    swap_total_bytes: int
    swap_free_bytes: int
    swapped_in_bytes: int
    swapped_out_bytes: int
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
    """One step of an experiment: when it began, how long it took, and what was answered."""

    elapsed_s: float
    seconds: float
    command: str
    answer: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class GroupEnd:
    """A process of the group has ended, killed by a signal of that name, "" if by itself."""

    elapsed_s: float
    name: str
    pid: int
    signal: str


@dataclass(frozen=True)
class CappedRun:
    """An experiment in a capped group: its samples, its steps, and which processes have ended.

    `source` says how it was obtained ("live", or "recorded: " and where), `kernel` on which kernel
    release, `swap_source` in words what the group could swap to. All times count from its start.
    `trace` is what tracepoints told of the group.
    """

    source: str
    kernel: str
    swap_source: str
    samples: tuple[GroupSample, ...]
    steps: tuple[GroupStep, ...]
    ends: tuple[GroupEnd, ...]
    trace: PressureTrace

    @property
    def victims(self) -> tuple[str, ...]:
        """The names of those whom the OOM killer has chosen, in the order of its choices."""
        names = {end.pid: end.name for end in self.ends}
        return tuple(names[kill.pid] for kill in self.trace.oom_kills if kill.pid in names)

    def find_step(self, command: str) -> GroupStep:
        """Return the last step whose words begin with these; `StopIteration` without one."""
        return next(step for step in reversed(self.steps) if step.command.startswith(command))

    def sample_at(self, elapsed_s: float) -> GroupSample:
        """Return the last sample until then, the first one where there is none yet."""
        before = [sample for sample in self.samples if sample.elapsed_s <= elapsed_s]
        return before[-1] if before else self.samples[0]

    def sample_before_end(self) -> GroupSample:
        """Return the last sample before the first process ended, or was killed; else the last.

        A killed process gives its memory back before it has ended: where the group's count of
        kills has risen, what is sampled is no longer what the OOM killer saw.
        """
        if not self.ends:
            return self.samples[-1]
        end, kills = self.ends[0], self.samples[0].memory.oom_kills
        before = [
            sample
            for sample in self.samples
            if sample.elapsed_s <= end.elapsed_s
            and sample.memory.oom_kills == kills
            and end.pid in [member.pid for member in sample.members]
        ]
        return before[-1] if before else self.samples[0]


@dataclass(frozen=True)
class ContainerEnd:
    """How a container ended, as `docker inspect` tells it, and what it was allowed.

    `source` says how it was obtained. `memory_bytes` is HostConfig.Memory, and
    `memory_and_swap_bytes` MemorySwap: both together. It took `seconds` from its release.
    `last_line` is the last that it printed.
    """

    source: str
    memory_bytes: int
    memory_and_swap_bytes: int
    exit_code: int
    is_oom_killed: bool
    seconds: float
    last_line: str
