"""What a process asked of the kernel for its memory: page faults, and calls such as mmap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from lablib.records.frames import Frame
from lablib.records.heap import Target


@dataclass(frozen=True)
class PageFault:
    """Faults on one page, of one sort, from one call stack; `count` says how many.

    `was_present` says that the page was in memory but didn't allow the access: a copy-on-write, or
    a write to a constant. `is_instruction` is a fetch of code. `by_kernel` says that a system call
    touched the page for the process. `is_major` says that it had to be read from a disk first.
    `first_elapsed_s` is when the first of them came, in seconds
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
    is_major: bool = False


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
class StackGrowth:
    """One time that the kernel has extended the first thread's stack, by `size_bytes` downwards.

    `start` is the stack's lowest address from then on, `frames` whose touch was the reason.
    """

    elapsed_s: float
    start: int
    size_bytes: int
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class MemoryTrace:
    """The page faults and memory calls of one process during `seconds`.

    `source` says how they were obtained ("ebpf", or "recorded: " and where), `kernel` on which
    kernel release. What could not be recorded is counted in `missed_by_reason`. `stack_start` is
    where the first thread's stack began when the tracing did, and `stack_floor` where the mapping
    below it ends; both are 0 where that isn't known.
    """

    source: str
    kernel: str
    target: Target
    seconds: float
    faults: tuple[PageFault, ...]
    calls: tuple[MemoryCall, ...]
    missed_by_reason: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    stack_floor: int = 0
    stack_start: int = 0

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

    def made_by(self, function: str) -> MemoryTrace:
        """Return the same trace with those faults only that a touch in this function has made."""
        made = (each for each in self.faults if each.frames and each.frames[0].function == function)
        return replace(self, faults=tuple(made))

    def stack_growth(self) -> tuple[StackGrowth, ...]:
        """Return how the kernel has extended the first thread's stack, in order of time.

        It does so at a fault below the stack's start, as far as that page and no further.
        """
        start = self.stack_start
        grown = []
        for fault in sorted(self.faults, key=lambda fault: fault.first_elapsed_s):
            if self.stack_floor <= fault.page_address < start:
                size_bytes, start = start - fault.page_address, fault.page_address
                grown.append(StackGrowth(fault.first_elapsed_s, start, size_bytes, fault.frames))
        return tuple(grown)
