"""Which live blocks of a process something still points at."""

from __future__ import annotations

from dataclasses import dataclass

from lablib.records.frames import Frame


@dataclass(frozen=True)
class AgeBand:
    """The live blocks of one call stack that were born in one stretch of the window.

    Times are seconds since the tracing began, like `HeapSnapshot.elapsed_s`. Lost blocks are among
    the live ones.
    """

    born_from_s: float
    born_to_s: float
    live_blocks: int
    live_bytes: int
    lost_blocks: int
    lost_bytes: int


@dataclass(frozen=True)
class StackReach:
    """How many of one call stack's live blocks are lost, and how many something leads to.

    `kind` and `frames` are those of its `StackUsage`. A block is reached when a word in the
    registers, on a thread's stack, in writable memory outside the heap, or in a block that is
    reached itself, holds an address inside it; `interior_blocks`, of the reached ones, are those
    of which no word holds the first address. `bands` are in order of birth, the empty ones left
    out.
    """

    kind: str
    frames: tuple[Frame, ...]
    lost_blocks: int
    lost_bytes: int
    reached_blocks: int
    reached_bytes: int
    interior_blocks: int = 0
    bands: tuple[AgeBand, ...] = ()


@dataclass(frozen=True)
class ReachabilityScan:
    """One conservative scan of a process's writable memory, registers and stacks.

    `elapsed_s` is its moment, in the trace's time; the target stood still for `pause_s`, and the
    whole took `seconds`. `limits` say in words what could not be looked at, or not told: a scan
    with limits may take a lost block for a reached one, never the other way round.
    """

    elapsed_s: float
    pause_s: float
    seconds: float
    scanned_bytes: int
    stacks: tuple[StackReach, ...]
    limits: tuple[str, ...] = ()

    @property
    def was_made(self) -> bool:
        """Whether it looked: one that could not be made has only `limits`, which say why."""
        return self.scanned_bytes > 0 or not self.limits

    @property
    def lost_blocks(self) -> int:
        """Live blocks that nothing points at, over all stacks."""
        return sum(stack.lost_blocks for stack in self.stacks)

    @property
    def lost_bytes(self) -> int:
        """Bytes of live blocks that nothing points at, over all stacks."""
        return sum(stack.lost_bytes for stack in self.stacks)
