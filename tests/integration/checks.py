"""What lablib saw of a known workload, and in what that differs from the truth, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lablib.records import HeapSnapshot, HeapTrace, StackUsage
from lablib.tracing.client import SOURCE, read_status


@dataclass(frozen=True)
class Live:
    """Bytes and blocks that have been allocated and not freed."""

    size_bytes: int
    blocks: int

    def __str__(self) -> str:
        """`64,000 bytes in 1,000`, or `nothing`."""
        return f"{self.size_bytes:,} bytes in {self.blocks:,}" if self.size_bytes else "nothing"


@dataclass(frozen=True)
class Outcome:
    """What lablib saw of one run: the target's trace, those of followed children, the exit code."""

    traces: tuple[HeapTrace, ...]
    exit_code: int

    @property
    def last(self) -> HeapSnapshot:
        """The target's heap when it had ended."""
        return self.traces[0].snapshots[-1]

    @property
    def last_of_children(self) -> tuple[HeapSnapshot, ...]:
        """The followed children's heaps when all had ended."""
        return tuple(trace.snapshots[-1] for trace in self.traces[1:])


def stacks_through(snapshot: HeapSnapshot, function: str) -> list[StackUsage]:
    """Return the stacks that have the function in them."""
    return [s for s in snapshot.stacks if any(frame.function == function for frame in s.frames)]


def from_function(snapshot: HeapSnapshot, function: str) -> tuple[int, int]:
    """Return live (bytes, blocks) whose call stack has the function in it."""
    usages = stacks_through(snapshot, function)
    return sum(u.live_bytes for u in usages), sum(u.live_blocks for u in usages)


def compare_heap(
    last: HeapSnapshot, truth: Mapping[str, Live], leaking_lines: Collection[tuple[str, int]]
) -> list[str]:
    """Compare what is live below each function, and where the calls that leak are placed.

    `leaking_lines` are (file, line); where there are none, places are not compared.
    """
    found = [f"{n} missed: {reason}" for reason, n in last.events.missed_by_reason.items()]
    for function, live in truth.items():
        seen = Live(*from_function(last, function))
        if seen != live:
            found.append(f"{seen} below {function}, not {live}")
        places = {
            _place_of(usage, function)
            for usage in stacks_through(last, function)
            if usage.live_blocks
        }
        for file, line in places.difference(leaking_lines) if leaking_lines else ():
            found.append(f"{function} is placed at {file}:{line}, where nothing leaks")
    return found


def _place_of(usage: StackUsage, function: str) -> tuple[str | None, int | None]:
    frame = next(frame for frame in usage.frames if frame.function == function)
    return frame.file, frame.line


def compare_total(last: HeapSnapshot, truth: Live, slack_bytes: int) -> list[str]:
    """Compare the whole heap; blocks are compared where there is no slack."""
    seen = Live(last.live_bytes, last.live_blocks)
    if slack_bytes:
        is_right = abs(seen.size_bytes - truth.size_bytes) <= slack_bytes
    else:
        is_right = seen == truth
    return [] if is_right else [f"{seen} in all, not {truth}"]


def compare_mappings(last: HeapSnapshot, truth: Mapping[str, int]) -> list[str]:
    """Compare live bytes by kind; a kind that `truth` does not name must have none."""
    live_bytes = dict.fromkeys(truth, 0)
    for usage in last.mappings:
        live_bytes[usage.kind] = live_bytes.get(usage.kind, 0) + usage.live_bytes
    return [
        f"{size:,} bytes of {kind}, not {truth.get(kind, 0):,}"
        for kind, size in live_bytes.items()
        if size != truth.get(kind, 0)
    ]


def check_failed_realloc(outcome: Outcome) -> list[str]:
    """The failure itself is counted."""
    failed = outcome.last.events.failed_allocations
    return [] if failed == 1 else [f"{failed} failed allocations, not 1"]


def check_estimate(outcome: Outcome) -> list[str]:
    """A sampled million is within four of its standard errors, and these are of use."""
    estimate, error = outcome.last.live_bytes, outcome.last.live_bytes_error
    if 0 < error < 250_000 and abs(estimate - 1_000_000) <= 4 * error:
        return []
    return [f"an estimate of {estimate:,.0f} ± {error:,.0f} bytes for 1,000,000"]


def check_cut(outcome: Outcome) -> list[str]:
    """The direct caller is right, and either main is reached or the stack is said to be cut."""
    found = []
    for usage in outcome.last.stacks:
        names = [frame.function for frame in usage.frames]
        if names[:1] != ["leak"]:
            found.append(f"the direct caller is {names[:1]}, not leak")
        if names[:4] != ["leak", "middle", "outer", "main"] and not usage.is_cut:
            found.append(f"a cut stack that does not say so: {names}")
    return found


def check_inlined(outcome: Outcome) -> list[str]:
    """The helper is known as inlined, its caller as not."""
    for usage in outcome.last.stacks:
        names = [(frame.function, frame.inlined) for frame in usage.frames[:2]]
        if names == [("helper", True), ("outer", False)]:
            return []
    return ["no stack begins with helper, inlined, and outer"]


def check_from_before(outcome: Outcome) -> list[str]:
    """Frees of blocks from before the attach are counted as such."""
    n = outcome.last.events.from_before
    return [] if n == 50 else [f"{n} frees from before, not 50"]


def check_ended(outcome: Outcome) -> list[str]:
    """The session says that its program is over."""
    return ["the session says that it runs"] if outcome.last.is_running else []


def check_killed(outcome: Outcome) -> list[str]:
    """It died of SIGKILL, and the service, if it was traced by that, lives on."""
    found = [] if outcome.exit_code == -9 else [f"it ended with {outcome.exit_code}"]
    if outcome.traces[0].source != SOURCE:
        return found
    return found if read_status()["pid"] > 0 else [*found, "the service is gone"]
