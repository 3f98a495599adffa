"""What the evidence says about call stacks, processes and fixes."""

from __future__ import annotations

from dataclasses import dataclass

from lablib.records.heap import StackUsage


@dataclass(frozen=True)
class StackVerdict:
    """What the evidence says about one call stack, and the evidence.

    `kind` is one of leaking, growing, plateau, churn, clean, undecided. `growth_bytes_per_s` is a
    robust slope over the snapshots, `growth_error_bytes_per_s` the half width of its 95 % interval.
    """

    kind: str
    sentence: str
    usage: StackUsage
    growth_bytes_per_s: float
    growth_error_bytes_per_s: float


@dataclass(frozen=True)
class ProcessVerdict:
    """What the evidence says about a process.

    `stacks` are those of the heap, sorted by live bytes, largest first, and then those of mappings,
    sorted likewise: a thread's stack is larger than most leaks, and shall hide none. `kind` is the
    gravest kind among the stacks.
    """

    kind: str
    sentence: str
    stacks: tuple[StackVerdict, ...]


@dataclass(frozen=True)
class FixVerdict:
    """Whether a fix is proven by two runs: one of the program as it was, one of it fixed.

    `kind` is fixed, not_fixed or undecided.
    """

    kind: str
    sentence: str
