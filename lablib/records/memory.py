"""What a process asked of the kernel for its memory: page faults, and calls such as mmap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lablib.records.heap import Frame, Target


@dataclass(frozen=True)
class PageFault:
    """Faults on one page, of one sort, from one call stack; `count` says how many.

    `was_present` says that the page was in memory but didn't allow the access: a copy-on-write, or
    a write to a constant. `is_instruction` is a fetch of code. `by_kernel` says that a system call
    touched the page for the process. `first_elapsed_s` is when the first of them came, in seconds
    from the start of the tracing. `frames` begin where the touch was, callers behind it.
    """

    page_address: int
    is_write: bool
    is_instruction: bool
    was_present: bool
    by_kernel: bool
    count: int
    first_elapsed_s: float
    frames: tuple[Frame, ...] = ()


MEMORY_CALLS = ("brk", "mmap", "munmap", "mremap")
"""The system calls by which a process's address space grows and shrinks."""


@dataclass(frozen=True)
class MemoryCall:
    """One system call of `MEMORY_CALLS`, with what it asked for and what the kernel answered.

    `thread` is the number of the thread. `address` is the one that was asked for, 0 if any would
    do. For brk `length_bytes` is how far the break has moved, negative where it came down. `result`
    is the address that the kernel returned (0 for munmap), or -errno.
    """

    elapsed_s: float
    thread: int
    name: str
    address: int
    length_bytes: int
    result: int
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class MemoryTrace:
    """The page faults and memory calls of one process during `seconds`.

    `source` says how they were obtained ("ebpf", or "recorded: " and where), `kernel` on which
    kernel release. What could not be recorded is counted in `missed_by_reason`.
    """

    source: str
    kernel: str
    target: Target
    seconds: float
    faults: tuple[PageFault, ...]
    calls: tuple[MemoryCall, ...]
    missed_by_reason: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def fault_count(self) -> int:
        """How many faults were seen, over all pages and stacks."""
        return sum(fault.count for fault in self.faults)

    @property
    def is_complete(self) -> bool:
        """Whether every fault and call inside the window is in the trace."""
        return not any(self.missed_by_reason.values())

    def faults_in(self, start: int, end: int, was_present: bool | None = None) -> int:
        """Return how many faults hit the pages that begin in a range of addresses.

        With `was_present` False only those where the page was not in memory, as on a first touch;
        with True only those where it was, as on a copy-on-write.
        """
        return sum(
            fault.count
            for fault in self.faults
            if start <= fault.page_address < end and was_present in (None, fault.was_present)
        )
