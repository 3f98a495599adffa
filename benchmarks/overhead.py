"""What the tracer costs, beside empty probes and bcc's memleak: `./lab bench overhead`.

    ./lab bench overhead [--json] [--no-write]

Writes overhead.md beside this file, unless --json or --no-write is given. Exit 0: every target is
met; 1: one is not; 2: it could not be measured.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.commands import Announce, Benchmark, Result
from benchmarks.inside import HEAPTRACK, INSIDE, PRELOAD, Inside, measure_inside
from benchmarks.inside import THREADS as INSIDE_THREADS
from benchmarks.measures import (
    CYCLES,
    EMPTY,
    LABLIB,
    LIVE_BLOCKS,
    MEMLEAK,
    PLAIN,
    THREADS,
    Attach,
    MillionBlocks,
    Samples,
    measure_attach,
    measure_million_blocks,
    measure_pairs,
    median_ms,
)
from benchmarks.pages import Sheet, Target
from benchmarks.pairs import Pairs, build_program
from benchmarks.root import RootHelper
from lablib.tracing import client
from lablib.tracing.control import start_service

PAGE = Path(__file__).with_suffix(".md")
STOP_TIMEOUT_S = 10.0

SCALING_TOLERANCE = 0.9
"""Two runs of one tracer's threads differ by so much, with nothing changed."""


@dataclass(frozen=True)
class Figures:
    """All that one run has measured."""

    pairs: dict[str, Samples]
    million: MillionBlocks
    attach: Attach
    service_start_s: float
    inside: Inside

    def added_ns(self, tracer: str) -> float:
        """ns that a tracer adds to a pair in one thread: the least of its batches, less plain's."""
        return min(self.pairs[tracer].cpu_ns) - min(self.pairs[PLAIN].cpu_ns)


def judge_figures(figures: Figures) -> tuple[Target, ...]:
    """Return the targets, each with what was measured."""
    lablib_ns = figures.added_ns(LABLIB)
    scaling = {name: figures.pairs[name].scaling for name in (LABLIB, MEMLEAK)}
    million = figures.million
    inside = figures.inside
    memory_mb = (million.process_bytes + million.map_bytes) / 1e6
    return (
        Target("added to a pair, over memleak's", lablib_ns / figures.added_ns(MEMLEAK), 0.25, ""),
        Target("added to a pair, over empty probes'", lablib_ns / figures.added_ns(EMPTY), 1.5, ""),
        Target(
            f"scaling to {THREADS} threads, over memleak's",
            scaling[LABLIB] / scaling[MEMLEAK],
            SCALING_TOLERANCE,
            "",
            is_at_least=True,
        ),
        Target(f"snapshot of {LIVE_BLOCKS:,} blocks", median_ms(million.snapshots_s), 100.0, "ms"),
        Target("attach to first snapshot", figures.attach.total_s, 1.0, "s"),
        Target(f"service with {LIVE_BLOCKS:,} blocks", memory_mb, 200.0, "MB"),
        Target(
            "preload: added to a pair, over heaptrack's",
            inside.added_ns(PRELOAD) / inside.added_ns(HEAPTRACK),
            1 / 3,
            "",
        ),
        Target("preload: shared memory for a live block", inside.block_bytes, 150.0, "bytes"),
        Target(
            f"preload: scaling to {INSIDE_THREADS} threads, over alone's",
            inside.scaling,
            SCALING_TOLERANCE,
            "",
            is_at_least=True,
        ),
    )


def measure(announce: Announce) -> Result:
    """Return what tracing costs, against what was promised; raises as `run_benchmark` does."""
    figures = run_benchmark(announce)
    return Result(make_sheets(figures), describe_figures(figures), judge_figures(figures))


def run_benchmark(announce: Announce) -> Figures:
    """Measure everything, in under three minutes; raises `LabError` where it can't be."""
    program = build_program("pairs")
    inside = measure_inside(program, announce)
    with (
        Pairs(program) as app,
        RootHelper() as helper,
        _own_service(announce) as service_start_s,
    ):
        pairs = measure_pairs(app, helper, announce)
        announce("attaching")
        attach = measure_attach(app)
        million = measure_million_blocks(app, helper, announce)
    return Figures(pairs, million, attach, service_start_s, inside)


@contextmanager
def _own_service(announce: Announce) -> Iterator[float]:
    """Run a tracer service beside the user's own; yield how many seconds its start took."""
    announce("starting a tracer service")
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        os.environ["LAB_TRACER_SOCKET"] = str(Path(folder) / "tracer.sock")
        start_s = time.monotonic()
        pid = int(start_service()["pid"])
        try:
            yield time.monotonic() - start_s
        finally:
            client.stop_service()
            with suppress(psutil.Error):
                psutil.Process(pid).wait(STOP_TIMEOUT_S)


def describe_figures(figures: Figures) -> dict[str, Any]:
    """Return the document of `--json`."""
    return {
        "pairs": {
            name: {
                "min_ns": min(samples.cpu_ns),
                "median_ns": statistics.median(samples.cpu_ns),
                "added_ns": figures.added_ns(name),
                f"pairs_per_s_of_{THREADS}_threads": samples.pairs_per_s,
                "scaling": samples.scaling,
            }
            for name, samples in figures.pairs.items()
        },
        "live_blocks": LIVE_BLOCKS,
        "million_blocks": dataclasses.asdict(figures.million),
        "inside": {
            "pairs": {
                name: {
                    "min_ns": min(samples.cpu_ns),
                    "added_ns": figures.inside.added_ns(name),
                    f"min_ns_of_{INSIDE_THREADS}_threads": min(b.cpu_ns for b in samples.many),
                }
                for name, samples in figures.inside.pairs.items()
            },
            "block_bytes": figures.inside.block_bytes,
            "snapshots_s": figures.inside.snapshots_s,
            "scaling": figures.inside.scaling,
        },
        "attach": {**dataclasses.asdict(figures.attach), "total_s": figures.attach.total_s},
        "service_start_s": figures.service_start_s,
    }


def make_sheets(figures: Figures) -> tuple[Sheet, ...]:
    """Return the tables: the pairs, and the other figures."""
    return (
        Sheet(
            "A pair of malloc and free, call depth 11, in a tight loop",
            (
                *("tracer", "one thread, min ns", "median ns", "added ns"),
                *(f"{THREADS} threads, pairs/s", "scaling"),
            ),
            tuple(_make_pairs_row(figures, name) for name in figures.pairs),
        ),
        Sheet(
            "The same pair, counted from inside the program",
            (
                *("tool", "one thread, min ns", "median ns", "added ns"),
                f"{INSIDE_THREADS} threads, min ns",
            ),
            tuple(_make_inside_row(figures.inside, name) for name in INSIDE),
        ),
        Sheet("Snapshot, attach, memory", ("what", "measured"), _make_other_rows(figures)),
    )


def _make_pairs_row(figures: Figures, name: str) -> tuple[str, ...]:
    samples = figures.pairs[name]
    return (
        name,
        f"{min(samples.cpu_ns):,.0f}",
        f"{statistics.median(samples.cpu_ns):,.0f}",
        f"{figures.added_ns(name):,.0f}",
        f"{samples.pairs_per_s:,.0f}",
        f"{samples.scaling:.2f}",
    )


def _make_inside_row(inside: Inside, name: str) -> tuple[str, ...]:
    samples = inside.pairs[name]
    return (
        name,
        f"{min(samples.cpu_ns):,.0f}",
        f"{statistics.median(samples.cpu_ns):,.0f}",
        f"{inside.added_ns(name):,.0f}",
        f"{min(batch.cpu_ns for batch in samples.many):,.0f}",
    )


def _make_other_rows(figures: Figures) -> tuple[tuple[str, str], ...]:
    million, attach = figures.million, figures.attach
    blocks = f"{LIVE_BLOCKS:,} live blocks"
    return (
        (f"first snapshot of {blocks}, with symbols", f"{million.first_snapshot_s * 1e3:,.0f} ms"),
        (f"later snapshots of {blocks}", f"{median_ms(million.snapshots_s):,.0f} ms"),
        (f"a pair under lablib beside {blocks}", f"{million.pair_ns:,.0f} ns"),
        (f"memleak's report of {blocks}", f"{million.memleak_report_s * 1e3:,.0f} ms"),
        ("attach: opening the program's symbols", f"{attach.symbols_s * 1e3:,.0f} ms"),
        ("attach: until the service answers", f"{attach.attach_s * 1e3:,.0f} ms"),
        ("attach: the first snapshot", f"{attach.snapshot_s * 1e3:,.0f} ms"),
        ("the service's start, once", f"{figures.service_start_s * 1e3:,.0f} ms"),
        (f"the service's processes (PSS) with {blocks}", f"{million.process_bytes / 1e6:,.0f} MB"),
        (f"the service's BPF maps with {blocks}", f"{million.map_bytes / 1e6:,.0f} MB"),
        *_make_inside_rows(figures.inside),
    )


def _make_inside_rows(inside: Inside) -> tuple[tuple[str, str], ...]:
    blocks = f"{LIVE_BLOCKS:,} live blocks"
    first_ms = inside.first_snapshot_s * 1e3
    return (
        (f"preload: first snapshot of {blocks}, with symbols", f"{first_ms:,.0f} ms"),
        (f"preload: later snapshots of {blocks}", f"{median_ms(inside.snapshots_s):,.0f} ms"),
        (f"preload: a pair beside {blocks}", f"{inside.pair_ns:,.0f} ns"),
        (f"preload: shared memory for each of {blocks}", f"{inside.block_bytes:,.0f} bytes"),
    )


_INTRODUCTION = f"""\
Made by `./lab bench overhead`. One process under one tracer after the other, {CYCLES} times round.
ns are of processor time, which other work on the machine leaves alone; what a tracer adds is the
least of its batches less the least without a tracer. The empty probes are eBPF programs that do
nothing, at malloc's entry and return and at free, where lablib has its own. memleak keeps the
totals of `--combined-only` in its default mode too: both cost the same. What counts from inside,
preload and heaptrack, has a process of its own each, started below it; heaptrack writes what it
sees to a file, of which no time is counted but the program's."""


def main() -> int:
    """Measure, print, write the page; return the exit code."""
    return Benchmark("overhead", "What tracing costs", _INTRODUCTION, measure).run()


if __name__ == "__main__":
    sys.exit(main())
