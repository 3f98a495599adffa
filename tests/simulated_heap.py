"""Heaps made by hand: blocks are born, some are lost, some freed; and what a tracer sees of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lablib.records import (
    AgeBand,
    Frame,
    HeapSnapshot,
    HeapTrace,
    ProcessResources,
    ReachabilityScan,
    StackReach,
    StackUsage,
    Target,
    TraceEvents,
)

NEVER = math.inf
RESOURCES = ProcessResources(9 << 20, 1 << 20, 2 << 20, 0, 0, threads=1, open_files=4)


def site(function="grow", module="app", line=14):
    """The frames of a stack: a function that main calls."""
    return (Frame(function, module, 31, "app.c", line), Frame("main", "app", 5, "app.c", 30))


@dataclass(frozen=True)
class Blocks:
    """What one call stack allocates: when each block is born, freed and lost, and how large it is.

    A block that is never freed dies at NEVER; one that something always points at is lost at NEVER.
    """

    births: np.ndarray
    deaths: np.ndarray
    losses: np.ndarray
    sizes: np.ndarray
    frames: tuple[Frame, ...] = site()
    kind: str = "heap"

    def usage(self, now_s):
        born, dead = self.births <= now_s, self.deaths <= now_s
        return StackUsage(
            self.frames,
            *(int(self.sizes[born].sum()), int(born.sum())),
            *(int(self.sizes[born & dead].sum()), int((born & dead).sum())),
            kind=self.kind,
        )

    def reach(self, now_s, edges_s):
        live = (self.births <= now_s) & (self.deaths > now_s)
        lost = live & (self.losses <= now_s)
        bands = []
        for low, high in pairwise(edges_s):
            inside = (self.births > low) & (self.births <= high)
            if (live & inside).any():
                bands.append(
                    AgeBand(
                        *(low, high, int((live & inside).sum())),
                        int(self.sizes[live & inside].sum()),
                        int((lost & inside).sum()),
                        int(self.sizes[lost & inside].sum()),
                    )
                )
        return StackReach(
            *(self.kind, self.frames, int(lost.sum()), int(self.sizes[lost].sum())),
            *(int((live & ~lost).sum()), int(self.sizes[live & ~lost].sum())),
            bands=tuple(bands),
        )


def blocks(births, lives_s=NEVER, lost_after_s=NEVER, size=1000, **how):
    """Blocks by their births; the others are numbers, or one for each block."""
    births = np.sort(np.asarray(births, float))
    spread = np.ones(len(births))
    return Blocks(
        births, births + spread * lives_s, births + spread * lost_after_s, spread * size, **how
    )


def every(period_s, until_s, phase_s=0.05, burst=1):
    """Births of `burst` blocks each `period_s`."""
    return np.repeat(np.arange(phase_s, until_s, period_s), burst)


def scan_times(seconds):
    """When a trace is scanned: at 1 s, 2, 4, 8 ... and at the end."""
    times, next_s = [], 1.0
    while next_s < seconds - 0.5:
        times.append(next_s)
        next_s *= 2
    return [*times, seconds]


def make_heap_trace(
    stacks: Sequence[Blocks],
    seconds=10.0,
    interval_s=0.5,
    is_scanned=True,
    resources=lambda second, live_bytes: RESOURCES,
    is_running=True,
    is_late=lambda: False,
):
    """The trace of a program with these stacks.

    `is_late` says of each snapshot whether a busy machine takes it only with the next one.
    """
    times = np.arange(interval_s, seconds + 1e-9, interval_s)
    for number in range(len(times) - 2, 0, -1):
        if is_late():
            times[number] = times[number + 1] - 0.001
    snapshots = []
    for now_s in times:
        usages = [stack.usage(now_s) for stack in stacks]
        heap = tuple(u for u in usages if u.kind == "heap" and u.allocated_blocks)
        mapped = tuple(u for u in usages if u.kind != "heap" and u.allocated_blocks)
        events = TraceEvents(
            sum(u.allocated_blocks for u in heap), sum(u.freed_blocks for u in heap), 0
        )
        snapshot = HeapSnapshot(float(now_s), heap, events, None, True, mappings=mapped)
        snapshots.append(replace(snapshot, resources=resources(now_s, snapshot.live_bytes)))
    snapshots[-1] = replace(snapshots[-1], is_running=is_running)
    scans = []
    for now_s in scan_times(float(times[-1])) if is_scanned else ():
        edges_s = [0.0, *(float(t) for t in times if t < now_s), now_s]
        reaches = tuple(
            reach
            for stack in stacks
            if (reach := stack.reach(now_s, edges_s)).lost_blocks + reach.reached_blocks
        )
        scans.append(ReachabilityScan(now_s, 0.01, 0.1, 1 << 20, reaches))
    return HeapTrace("ebpf", "6.1", Target(812, "./app"), tuple(snapshots), scans=tuple(scans))
