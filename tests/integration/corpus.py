"""What a program of the corpus holds, counted from outside: after its terms, and as many again."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lablib.apps import LocalApp
from lablib.records import AppFiles, Frame, HeapSnapshot
from lablib.sources import Source, open_tracer
from lablib.symbols import ProcessSymbols

LEAST_TERMS = 24
TIMEOUT_S = 60
STACK_KINDS = {"heap": "heap", "mapping": "mapping", "thread_stack": "thread_stack"}
"""What leaks -> the kind of stack that shows it; what is not in here only the kernel can show."""

Held = tuple[int, int]
"""Bytes and blocks."""
Stack = tuple[str, tuple[Frame, ...]]
"""Kind and frames."""


@dataclass(frozen=True)
class Growth:
    """What `terms` terms added: by stack, where there is anything, and as the kernel counts."""

    terms: int
    stacks: Mapping[Stack, Held]
    kernel: Mapping[str, int]
    missed: int

    def at(self, leak: Mapping[str, Any]) -> Held:
        """Return what the line of a leak added, over all ways to it."""
        grown = [held for stack, held in self.stacks.items() if is_stack_of(leak, stack)]
        return sum(held[0] for held in grown), sum(held[1] for held in grown)


def is_stack_of(leak: Mapping[str, Any], stack: Stack) -> bool:
    """Whether a stack goes through the line of a leak, and is of its kind."""
    kind, frames = stack
    sites = {(frame.function, frame.file, frame.line) for frame in frames}
    site = (leak["function"], leak["file"], leak["line"])
    return kind == STACK_KINDS.get(leak["what"]) and site in sites


def count_terms(truth: Mapping[str, Any]) -> int:
    """Return how many terms settle the program, each kind of term as often as the others."""
    period = truth["period"]
    return int(period * math.ceil(max(truth["settles_after"], LEAST_TERMS) / period))


def measure_growth(app: AppFiles, source: Source) -> Growth:
    """Run a program for its terms and as many again; return what the second half added."""
    terms = count_terms(app.truth)
    instrument = source.make_instrument()
    with (
        LocalApp(app, rate=0, terms=terms, stays=True, instrument=instrument) as running,
        closing(ProcessSymbols(running.pid)) as symbols,
        open_tracer(running.pid, symbols, instrument=instrument) as tracer,
    ):
        heaps, kernels = [], []
        for rounds in (1, 2):
            running.release()
            running.wait_for_terms(TIMEOUT_S, rounds)
            heaps.append(_list_held(tracer.snapshot()))
            kernels.append(_ask_kernel(running.pid))
        missed = tracer.trace.snapshots[-1].events.missed
    before, after = heaps
    stacks = {stack: _subtract(after, before, stack) for stack in {*before, *after}}
    return Growth(
        terms,
        {stack: held for stack, held in stacks.items() if held != (0, 0)},
        {name: kernels[1][name] - kernels[0][name] for name in kernels[0]},
        missed,
    )


def _list_held(snapshot: HeapSnapshot) -> dict[Stack, Held]:
    """Return what each stack holds; arenas are the allocator's, and mapped files libraries."""
    usages = [usage for usage in snapshot.mappings if usage.kind not in ("arena", "file")]
    return {
        (usage.kind, usage.frames): (usage.live_bytes, usage.live_blocks)
        for usage in (*snapshot.stacks, *usages)
    }


def _subtract(after: Mapping[Stack, Held], before: Mapping[Stack, Held], stack: Stack) -> Held:
    now, then = after.get(stack, (0, 0)), before.get(stack, (0, 0))
    return now[0] - then[0], now[1] - then[1]


def _ask_kernel(pid: int) -> dict[str, int]:
    segments = [
        *(path.stat().st_size for path in Path("/dev/shm").glob(f"memory-leak-lab-*-{pid}-*")),
        *(
            int(fields[3])
            for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
            if (fields := line.split())[4] == str(pid)
        ),
    ]
    return {
        "open_files": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "segments": len(segments),
        "segment_bytes": sum(segments),
    }
