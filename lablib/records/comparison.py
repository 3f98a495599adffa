"""Two builds of a program at the same work, call stack by call stack."""

from __future__ import annotations

from dataclasses import dataclass

from lablib.records.heap import StackUsage

COMPARISON_KINDS = ("fixed", "not_fixed", "worse", "different_work", "undecided")
"""What a comparison can say of the second build."""


@dataclass(frozen=True)
class StackCost:
    """What one call stack of a build cost from N terms to 2N.

    `usage` is what it had done at the end of the run of 2N terms. The other numbers are that less
    what it had done at the end of the run of N: what is done once per run falls out, and the rest
    is exact. `peak_bytes` is the most that was seen live in the run of 2N, at its end or before.
    """

    usage: StackUsage
    kept_bytes: int
    kept_blocks: int
    allocated_blocks: int
    peak_bytes: int


@dataclass(frozen=True)
class StackDifference:
    """A call stack in both builds; None in the one that has none like it.

    Two stacks are alike when they are of one `kind` (one of `USAGE_KINDS`) and the names of their
    functions are the same, callers last. Lines and offsets don't count: a fix moves them.
    """

    kind: str
    functions: tuple[str, ...]
    before: StackCost | None
    after: StackCost | None


@dataclass(frozen=True)
class BuildWork:
    """How a build did its work: its longer run, from its first instruction to its end.

    `exit_code` is negative for a signal, and None where the run was ended after its time limit.
    `seconds` include the tracer's share.
    """

    name: str
    command: tuple[str, ...]
    exit_code: int | None
    seconds: float
    output_lines: int


@dataclass(frozen=True)
class Comparison:
    """Whether the second of two builds no longer leaks what the first did, at the same work.

    `kind` is one of `COMPARISON_KINDS`. Each build ran with `terms` terms and with twice as many;
    `stacks` are sorted by what they kept of them, before or after, largest first.
    """

    source: str
    kind: str
    sentence: str
    terms: int
    before: BuildWork
    after: BuildWork
    stacks: tuple[StackDifference, ...]

    @property
    def kept_bytes(self) -> tuple[float, float]:
        """Bytes a term that were not given back, over all stacks: before, and after."""
        before = sum(max(0, s.before.kept_bytes) for s in self.stacks if s.before)
        after = sum(max(0, s.after.kept_bytes) for s in self.stacks if s.after)
        return before / self.terms, after / self.terms

    def count_allocations(self, function: str) -> tuple[float, float]:
        """Return how many blocks a term a function asked for: before, and after."""
        mine = [stack for stack in self.stacks if stack.functions[:1] == (function,)]
        before = sum(stack.before.allocated_blocks for stack in mine if stack.before)
        after = sum(stack.after.allocated_blocks for stack in mine if stack.after)
        return before / self.terms, after / self.terms
