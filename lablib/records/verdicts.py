"""What the evidence says about call stacks, processes and machines."""

from __future__ import annotations

from dataclasses import dataclass

from lablib.records.heap import StackUsage


@dataclass(frozen=True)
class StackEvidence:
    """What a verdict on a call stack rests on.

    The window is from the snapshot in which the stack was first seen to the last: `window_s` long,
    with `snapshots` in it. `rises` counts those that hold more than the one before, `silence_s` is
    the time since the last of them. `late_share` is the part of the growth that came in the last
    half of the window; a steady growth has half of it there. `freed_share` is the part of all its
    blocks that were freed; `survival` the part of those born in the first half of the window that
    still live, None where no scan told their age.

    Blocks are lost when nothing points at them: `lost_blocks` by the last scan, and `lost_at_s` is
    when the first and the last of them were born, as far as known.
    Where `was_hidden`, lost blocks were freed later: the program finds them by other means, and
    what is lost proves nothing. All of these are None where no scan looked at the stack.

    `needed_s` is how many seconds more are needed, 0 where the verdict stands.
    """

    window_s: float
    snapshots: int
    rises: int
    silence_s: float
    growth_bytes: int
    late_share: float
    freed_share: float
    survival: float | None = None
    lost_blocks: int | None = None
    lost_bytes: int | None = None
    reached_blocks: int | None = None
    reached_bytes: int | None = None
    lost_at_s: tuple[float, ...] = ()
    was_hidden: bool = False
    needed_s: float = 0.0


@dataclass(frozen=True)
class StackVerdict:
    """What the evidence says about one call stack, and the evidence.

    `kind` is one of leaking, growing, plateau, churn, clean, undecided. `growth_bytes_per_s` is the
    rate of the lost bytes where blocks are lost, else a robust slope over the snapshots;
    `growth_error_bytes_per_s` the half width of its 95 % interval. `evidence` is None where windows
    were judged, which have no time.
    """

    kind: str
    sentence: str
    usage: StackUsage
    growth_bytes_per_s: float
    growth_error_bytes_per_s: float
    evidence: StackEvidence | None = None


@dataclass(frozen=True)
class ResourceVerdict:
    """What the evidence says about something that the kernel counts for a process.

    `resource` is "open files", "threads" or "shared memory segments"; `kind` one of leaking,
    growing, plateau, churn, undecided. The counts are those of the first and the last snapshot,
    the growth per second is robust, with the half width of its 95 % interval.
    """

    resource: str
    kind: str
    sentence: str
    first: int
    last: int
    growth_per_s: float
    growth_error_per_s: float
    needed_s: float = 0.0


@dataclass(frozen=True)
class ProcessEvidence:
    """What a verdict on a process rests on, beside its stacks.

    Each pair is (the first, the last) of the window, in bytes, for the live blocks also the most.
    What the kernel says is None where it was never asked. `scans` is how often it was looked what
    the blocks are pointed at from; `needed_s` how many seconds more are needed, 0 where the verdict
    stands.
    """

    window_s: float
    snapshots: int
    scans: int
    live_bytes: tuple[int, int]
    most_live_bytes: int
    rss_anon_bytes: tuple[int, int] | None = None
    rss_file_bytes: tuple[int, int] | None = None
    needed_s: float = 0.0


@dataclass(frozen=True)
class ProcessVerdict:
    """What the evidence says about a process.

    `stacks` are those of the heap, sorted by live bytes, largest first, and then those of mappings,
    sorted likewise: a thread's stack is larger than most leaks, and shall hide none. `resources`
    are the verdicts on what the kernel counts. `kind` is the gravest kind that is justified: what
    is undecided about a small part of the heap does not hide what is known of the rest. It may also
    be "retention": the live bytes fell, and the resident set did not.
    """

    kind: str
    sentence: str
    stacks: tuple[StackVerdict, ...]
    resources: tuple[ResourceVerdict, ...] = ()
    evidence: ProcessEvidence | None = None


@dataclass(frozen=True)
class MachineVerdict:
    """What the evidence says about the memory of the whole machine.

    `kind` is one of page_cache, shrinking, steady, undecided. The changes are from the first to the
    last sample, in bytes; `available_bytes_per_s` is the robust slope of what programs can still
    get, with the half width of its 95 % interval. `is_estimated` says that the kernel was not asked
    for MemAvailable: free memory and cache stand for it. `left_s` is how long what is available
    lasts at that rate, None unless it shrinks. `needed_s` is how many seconds more are needed.
    """

    kind: str
    sentence: str
    window_s: float
    samples: int
    free_change_bytes: int
    cache_change_bytes: int
    available_change_bytes: int
    swapped_change_bytes: int
    available_bytes_per_s: float
    available_error_bytes_per_s: float
    is_estimated: bool = False
    left_s: float | None = None
    needed_s: float = 0.0
