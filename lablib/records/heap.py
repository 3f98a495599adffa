"""The heap of a process over time, by call stack, and what to ask of a tracer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lablib.records.frames import Frame
from lablib.records.process import ProcessResources
from lablib.records.reachability import ReachabilityScan

USAGE_KINDS = ("heap", "mapping", "thread_stack", "arena", "file")
"""What a call stack holds: blocks of the heap, memory that the program mapped by itself (mmap),
stacks of threads, what the allocator has mapped to take blocks from, or mapped files."""


@dataclass(frozen=True)
class StackUsage:
    """What one call stack has done to the heap since the tracing began.

    `frames` start at the function that called the allocator. `kind` is one of `USAGE_KINDS`.
    `mean_age_s` is that of the live blocks, to some 0.05 s, None where there are none. `is_cut`
    says that callers are missing: above the last frame, or beside code whose frames can't be told
    apart. In a sampled trace bytes and blocks are estimates, and `live_bytes_error` is the standard
    error of the live bytes; it is 0 where all blocks were counted.
    """

    frames: tuple[Frame, ...]
    allocated_bytes: int
    allocated_blocks: int
    freed_bytes: int
    freed_blocks: int
    mean_age_s: float | None = None
    is_cut: bool = False
    kind: str = "heap"
    live_bytes_error: float = 0.0

    @property
    def live_bytes(self) -> int:
        """Bytes allocated and not freed."""
        return self.allocated_bytes - self.freed_bytes

    @property
    def live_blocks(self) -> int:
        """Blocks allocated and not freed."""
        return self.allocated_blocks - self.freed_blocks


@dataclass(frozen=True)
class TraceEvents:
    """How many events were seen, and how many could not be recorded, by reason.

    `from_before` counts frees and returns that concern blocks from before the tracing began: they
    are outside the window, not lost. The C library's own frees of such blocks are not in it.
    """

    allocations: int
    frees: int
    from_before: int
    failed_allocations: int = 0
    missed_by_reason: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def missed(self) -> int:
        """Events that happened inside the window and are not in the totals."""
        return sum(self.missed_by_reason.values())


@dataclass(frozen=True)
class HeapSnapshot:
    """The heap of one process at one moment, by call stack; and beside it what it has mapped.

    `elapsed_s` counts from the start of the tracing (monotonic clock); `resources` are what the
    kernel said of the process at that moment, None once it has ended. `has_executed` says that the
    process has become another program, which ends the tracing.
    """

    elapsed_s: float
    stacks: tuple[StackUsage, ...]
    events: TraceEvents
    resources: ProcessResources | None = None
    is_running: bool = True
    has_executed: bool = False
    mappings: tuple[StackUsage, ...] = ()

    @property
    def live_bytes(self) -> int:
        """Bytes allocated and not freed, over all stacks."""
        return sum(stack.live_bytes for stack in self.stacks)

    @property
    def live_blocks(self) -> int:
        """Blocks allocated and not freed, over all stacks."""
        return sum(stack.live_blocks for stack in self.stacks)

    @property
    def rss_bytes(self) -> int | None:
        """The resident set at that moment, None once the process has ended."""
        return None if self.resources is None else self.resources.rss_bytes

    @property
    def live_bytes_error(self) -> float:
        """Standard error of `live_bytes`; 0 where every block was counted."""
        return math.sqrt(sum(stack.live_bytes_error**2 for stack in self.stacks))


@dataclass(frozen=True)
class Target:
    """The process that was traced."""

    pid: int
    command: str


@dataclass(frozen=True)
class HeapTrace:
    """A finished or a growing recording of one process's heap: its snapshots in order of time.

    `source` says how the numbers were obtained ("ebpf"), `kernel` on which kernel release.
    `sample_bytes` is 0 where every block was counted, else the mean distance between samples.
    `scans` are those of the window in order, empty where nobody looked what is still pointed at.
    """

    source: str
    kernel: str
    target: Target
    snapshots: tuple[HeapSnapshot, ...]
    sample_bytes: int = 0
    scans: tuple[ReachabilityScan, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the window in seconds: from the start of the tracing to the last snapshot."""
        return self.snapshots[-1].elapsed_s if self.snapshots else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every event inside the window is in the totals."""
        return bool(self.snapshots) and self.snapshots[-1].events.missed == 0


@dataclass(frozen=True)
class TraceOptions:
    """What to ask of a tracer beside the process.

    `sample_bytes` above 0 samples one block in about so many bytes (up to 1 MiB). `follows_forks`
    traces the children too. `max_blocks` and `max_stacks` size the kernel's tables; by default they
    fit the target. Without `opens_window` nothing counts until a window is opened.
    """

    sample_bytes: int = 0
    follows_forks: bool = False
    max_blocks: int | None = None
    max_stacks: int | None = None
    opens_window: bool = True


@dataclass(frozen=True)
class UnwindTables:
    """How to find the callers of a process's functions, as the tracer's kernel side searches it.

    `page_numbers` are unsigned 64-bit words: the addresses of pages of code in the process, divided
    by 4,096. `pages` are as many pairs: the bias between the process's addresses and those in the
    rows (64 bits), and the number of the page's first row and how many (32 bits each). `rows` are
    those of unwinding.py, of all files.
    """

    page_numbers: bytes = b""
    pages: bytes = b""
    rows: bytes = b""


@dataclass(frozen=True)
class MemleakStack:
    """One stack of bcc's memleak report: outstanding allocations, as that tool counts them.

    `frames` are its own texts, for example "fibonacci+0x1f [app]" or "[unknown] [app]".
    """

    live_bytes: int
    live_blocks: int
    frames: tuple[str, ...]


@dataclass(frozen=True)
class MemleakReport:
    """What one run of bcc's memleak printed, raw and parsed."""

    command: str
    output: str
    stacks: tuple[MemleakStack, ...]


@dataclass(frozen=True)
class SymbolCures:
    """One stripped process, seen four times: by memleak bare and cured twice, and by ours."""

    bare: MemleakReport
    copied_binary: MemleakReport
    debug_file: MemleakReport
    ours: HeapTrace
