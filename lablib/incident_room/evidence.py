"""What a rehearsal shows of each place that takes memory: what it held, and what it kept of a term.

All is read off at known numbers of terms, so that what a term costs is a difference and no slope.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from lablib.analysis.sentences import find_site
from lablib.records import HeapSnapshot, Rehearsal, StackUsage

_LEFT_OUT = ("arena", "file")
"""What the allocator maps to take blocks from, and mapped files."""


@dataclass(frozen=True)
class Site:
    """A place of the program that takes memory, by function, and what became of what it took.

    `line` is the line of the call that takes the most. The tuples have an entry for each round:
    live bytes, and the blocks that were allocated and freed until then. `lost_blocks` are those
    that nothing points at, by the scan at the end; None where nobody looked.
    """

    function: str
    line: int | None
    kind: str
    live_bytes: tuple[int, ...]
    allocated_blocks: tuple[int, ...]
    freed_blocks: tuple[int, ...]
    lost_blocks: int | None

    def keeps_per_term(self, terms: int, rounds: int = 3) -> float:
        """Return how many bytes it kept of a term, in the last so many rounds of `terms` terms."""
        rounds = min(rounds, len(self.live_bytes) - 1)
        if rounds < 1:
            return 0.0
        return (self.live_bytes[-1] - self.live_bytes[-1 - rounds]) / (rounds * terms)

    def grows_to_the_end(self, rounds: int = 3) -> bool:
        """Return whether it held more after each of the last so many rounds than before it."""
        late = self.live_bytes[-1 - rounds :]
        return len(late) > 1 and all(a < b for a, b in pairwise(late))


def list_sites(rehearsal: Rehearsal) -> tuple[Site, ...]:
    """Return the places that take memory, by what they held at the end, the most first."""
    usages: dict[tuple[str, str], list[list[StackUsage]]] = {}
    snapshots = rehearsal.trace.snapshots
    for place, snapshot in enumerate(snapshots):
        for usage in _usages(snapshot):
            key = _name(usage), usage.kind
            usages.setdefault(key, [[] for _ in snapshots])[place].append(usage)
    lost = _count_lost(rehearsal)
    sites = (
        Site(
            function=function,
            line=_find_line(rounds[-1]),
            kind=kind,
            live_bytes=tuple(sum(each.live_bytes for each in r) for r in rounds),
            allocated_blocks=tuple(sum(each.allocated_blocks for each in r) for r in rounds),
            freed_blocks=tuple(sum(each.freed_blocks for each in r) for r in rounds),
            lost_blocks=lost.get(function, 0 if lost else None) if kind == "heap" else None,
        )
        for (function, kind), rounds in usages.items()
    )
    return tuple(sorted(sites, key=lambda site: (-site.live_bytes[-1], site.function)))


def _usages(snapshot: HeapSnapshot) -> list[StackUsage]:
    both = (*snapshot.stacks, *snapshot.mappings)
    return [usage for usage in both if usage.kind not in _LEFT_OUT]


def _name(usage: StackUsage) -> str:
    frame = find_site(usage)
    return (frame.function or frame.module) if frame else "an unknown caller"


def _find_line(usages: list[StackUsage]) -> int | None:
    largest = max(usages, key=lambda each: each.allocated_bytes, default=None)
    frame = find_site(largest) if largest else None
    return frame.line if frame else None


def _count_lost(rehearsal: Rehearsal) -> dict[str, int]:
    """Return the lost blocks by function; nothing where no scan has looked."""
    lost: dict[str, int] = defaultdict(int)
    scans = [scan for scan in rehearsal.trace.scans if scan.stacks]
    for stack in scans[-1].stacks if scans else ():
        if stack.kind == "heap":
            lost[_name(StackUsage(stack.frames, 0, 0, 0, 0))] += stack.lost_blocks
    return lost
