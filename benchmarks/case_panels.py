"""What the panels of notebook 09 cost together, measured in the notebook's kernel.

The strips of vmstat and the growth by call stack move at once, as nobody needs them to: the
notebook shows one after the other.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import psutil

from lablib.apps import LocalApp, build_app
from lablib.panels import MachinePanel, StacksPanel
from lablib.system import sample_vmstat
from lablib.teaching import HeapWatch
from lablib.tracing.client import read_status

RATE = 100.0
WARM_UP_S = 4.0
WINDOW_S = 5.0
WINDOWS = 5


@dataclass(frozen=True)
class CaseShare:
    """Percent of a core: the kernel's own, what it starts (vmstat), and the tracer service."""

    kernel: float
    vmstat: float
    service: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.kernel + self.vmstat + self.service


def print_case_share() -> None:
    """Measure, and print the `CaseShare` as a JSON document."""
    columns = ("free", "buff", "cache", "available", "RSS")
    seconds = WARM_UP_S + (WINDOWS + 1) * WINDOW_S
    with ExitStack() as running:
        app = running.enter_context(LocalApp(build_app("fib_leak"), RATE))
        machine = MachinePanel(lambda: sample_vmstat(1, app.pid), "The machine", columns)
        running.enter_context(machine)
        heap = running.enter_context(HeapWatch("case_panels", app, seconds))
        running.enter_context(StacksPanel(heap.source))
        time.sleep(WARM_UP_S)
        windows = [_measure_window() for _ in range(WINDOWS)]
    median = statistics.median
    share = CaseShare(*(median(each) for each in zip(*windows, strict=True)))
    print(json.dumps(asdict(share)))


def _measure_window() -> tuple[float, float, float]:
    service = psutil.Process(read_status()["pid"])
    readers = (time.process_time, _read_children_s, lambda: _read_s(service))
    before, began_s = _read_all(readers), time.monotonic()
    time.sleep(WINDOW_S)
    after, seconds = _read_all(readers), time.monotonic() - began_s
    kernel, vmstat, used = (
        100 * (end - start) / seconds for start, end in zip(before, after, strict=True)
    )
    return kernel, vmstat, used


def _read_all(readers: tuple[Callable[[], float], ...]) -> list[float]:
    return [read() for read in readers]


def _read_children_s() -> float:
    """Return the processor time of all that was started: ended already, or not."""
    ended = os.times()
    living = sum(_read_s(child) for child in psutil.Process().children())
    return ended.children_user + ended.children_system + living


def _read_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
