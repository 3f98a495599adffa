"""What a scan for lost blocks costs: `./lab bench reachability`, and the page reachability.md.

A process with a million live blocks in 500 MB is scanned several times. It stands still for the
pause only; the scan's time is from the first word to the service to the finished record.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import lablib
from benchmarks.commands import Announce, Benchmark, Result
from benchmarks.pages import Sheet, Target
from benchmarks.pairs import LIFETIME_S, build_program
from benchmarks.service import own_service
from lablib.errors import AppError
from lablib.records import ReachabilityScan
from lablib.release import RELEASE_SIGNAL, wait_until_held
from lablib.scanning import MIN_AGE_S, scan
from lablib.symbols import ProcessSymbols
from lablib.tracing import client
from lablib.tracing.client import Tracer

PAGE = Path(__file__).with_suffix(".md")
BLOCKS = 1_000_000
LOST_BLOCKS = 10_000
SCANS = 5
_MEMORY_CAP_BYTES = 1 << 30


@dataclass(frozen=True)
class Figures:
    """What was measured: the scans, the target's memory, and what the scans added to our own."""

    scans: tuple[ReachabilityScan, ...]
    cpu_s: float
    """Processor time of the client and of the service, per scan."""
    target_bytes: int
    client_bytes: int

    @property
    def seconds(self) -> float:
        """Median of a whole scan."""
        return statistics.median(each.seconds for each in self.scans)

    @property
    def pause_s(self) -> float:
        """Median of the time for which the target stood still."""
        return statistics.median(each.pause_s for each in self.scans)


def measure(announce: Announce) -> Result:
    """Return what a scan costs, against what was promised; raises as `run_benchmark` does."""
    announce(f"{BLOCKS:,} blocks")
    with own_service():
        figures = run_benchmark()
    return Result(make_sheets(figures), describe_figures(figures), judge_figures(figures))


def run_benchmark() -> Figures:
    """Scan the program `SCANS` times; raises `LabError`, also where a scan is wrong."""
    with (
        _start_graph() as pid,
        closing(ProcessSymbols(pid)) as symbols,
        Tracer(pid, symbols) as tracer,
    ):
        psutil.Process(pid).send_signal(RELEASE_SIGNAL)
        while tracer.snapshot().live_blocks < BLOCKS:
            time.sleep(0.2)
        time.sleep(2 * MIN_AGE_S)
        before_bytes = psutil.Process().memory_info().rss
        before_s = _read_cpu_s()
        with _PeakThread() as peak:
            scans = tuple(scan(tracer) for _ in range(SCANS))
        cpu_s = (_read_cpu_s() - before_s) / SCANS
        for each in scans:
            if each.lost_blocks != LOST_BLOCKS or each.limits:
                raise AppError(f"a scan found {each.lost_blocks:,} lost blocks, {each.limits}")
        target_bytes = psutil.Process(pid).memory_info().rss
        return Figures(scans, cpu_s, target_bytes, max(0, peak.peak_bytes - before_bytes))


def _read_cpu_s() -> float:
    """Return the processor time of this process and of the service's session, in seconds."""
    service = psutil.Process(int(client.read_status()["pid"]))
    times = [each.cpu_times() for each in (psutil.Process(), *service.children())]
    return sum(each.user + each.system for each in times)


@contextmanager
def _start_graph() -> Iterator[int]:
    """Start graph.c, held before its first block, and end it."""
    launcher = Path(lablib.__file__).with_name("launcher.py")
    process = subprocess.Popen(
        [
            *(sys.executable, "-I", "-S", "-B", str(launcher)),
            *(str(_MEMORY_CAP_BYTES), str(LIFETIME_S), str(os.getpid())),
            *(str(build_program("graph")), "--wait", "--lifetime", str(LIFETIME_S)),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until_held(process.pid)
        yield process.pid
    finally:
        process.kill()
        process.wait()


class _PeakThread:
    """The highest resident memory of this process between enter and exit."""

    def __enter__(self) -> _PeakThread:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)


def describe_figures(figures: Figures) -> dict[str, Any]:
    """Return the document of `--json`."""
    return {
        "scans": [{"pause_s": each.pause_s, "seconds": each.seconds} for each in figures.scans],
        "cpu_s": figures.cpu_s,
        "target_bytes": figures.target_bytes,
        "client_bytes": figures.client_bytes,
    }


def judge_figures(figures: Figures) -> tuple[Target, ...]:
    """Return the promises and what was measured."""
    return (
        Target("a whole scan, median", figures.seconds, 3.0, "s"),
        Target("the target stands still, median", figures.pause_s, 0.5, "s"),
    )


def make_sheets(figures: Figures) -> tuple[Sheet, ...]:
    """Return the tables: each scan, and the memory."""
    rows = tuple(
        (f"scan {number}", f"{each.pause_s * 1e3:,.0f} ms", f"{each.seconds:.2f} s")
        for number, each in enumerate(figures.scans, 1)
    )
    found = figures.scans[-1]
    facts = (
        ("live blocks", f"{BLOCKS:,}"),
        ("of them lost, each time found", f"{LOST_BLOCKS:,}"),
        ("processor time of a scan, client and service", f"{figures.cpu_s:.2f} s"),
        ("the target's resident memory", f"{figures.target_bytes / 1e6:,.0f} MB"),
        ("looked through", f"{found.scanned_bytes / 1e6:,.0f} MB"),
        ("what the scans add to the client's memory at the most", _format_mb(figures.client_bytes)),
    )
    return (
        Sheet("Scans", ("", "pause", "whole"), rows),
        Sheet("Cost", ("what", "measured"), facts),
    )


def _format_mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


_INTRODUCTION = f"""\
Made by `./lab bench reachability`. graph.c makes a million blocks of 16 to 1,000 bytes, in trees of
a hundred, of which one in a hundred is lost. It is scanned {SCANS} times; each scan finds the lost
blocks to the last one. The target stands still while its memory is read. Times are of the clock:
other work on the machine adds to them."""


def main() -> int:
    """Measure, print, write the page; return the exit code."""
    return Benchmark("reachability", "What a scan costs", _INTRODUCTION, measure).run()


if __name__ == "__main__":
    sys.exit(main())
