"""What a panel's frame costs the notebook's kernel, measured in it: it runs where a cell would.

A frame is one record: it is read, drawn into the widgets, and sent to whatever shows them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

from lablib.apps import build_app
from lablib.chunks import read_heap_map
from lablib.panels import AddressSpacePanel, HeapMapPanel, SizesPanel
from lablib.panels.sizes import POINTS_SHOWN
from lablib.proc import follow_address_space, read_address_space, read_resident_pages, sample_sizes
from lablib.records import ProcessSizes
from lablib.steering import SteeredApp

INTERVAL_S = 0.1
WINDOWS = 5
WINDOW_S = 3.0
WARM_UP_S = 2.0
_QUICKLY_S = 0.005
_SIZES_BYTES = (10 << 20, 200 << 20)
_HEAPS = ((500, 1_000), (10_000, 1_000), (10_000, 20_000))


@dataclass(frozen=True)
class Frames:
    """A panel of a process: ms of the kernel's processor time a frame, and frames a second."""

    panel: str
    process: str
    resident_bytes: int
    cpu_ms: float
    per_s: float


def print_frames() -> None:
    """Measure all panels, and print the `Frames` as one JSON document."""
    print(json.dumps([asdict(frames) for frames in _measure_all()]))


def _measure_all() -> Iterator[Frames]:
    for size_bytes in _SIZES_BYTES:
        with SteeredApp(build_app("pages")) as app:
            app.ask("reserve", size_bytes)
            app.ask("touch", 100)
            block = f"a block of {size_bytes >> 20} MiB"
            yield _measure(SizesPanel(_sample_full(app.pid, INTERVAL_S)), app.pid, "sizes", block)
            yield _measure(_make_map(app.pid), app.pid, "address space", block)
    for blocks, size_bytes in _HEAPS:
        with SteeredApp(build_app("blocks")) as app:
            app.ask("allocate", blocks, size_bytes)
            app.ask("free_every", 3)
            heap = f"{blocks:,} blocks of {size_bytes:,} bytes"
            yield _measure(_make_heap_map(app.pid), app.pid, "heap", heap)
    with _grow("pages") as pid:
        panel = SizesPanel(_sample_full(pid, INTERVAL_S))
        yield _measure(panel, pid, "sizes", "it grows")
    with _grow("pages") as pid:
        yield _measure(_make_map(pid), pid, "address space", "it grows")
    with _grow("python") as pid:
        name = f"Python, {len(read_address_space(pid).vmas)} mappings, it grows"
        yield _measure(_make_map(pid), pid, "address space", name)
    with _grow("blocks") as pid:
        yield _measure(_make_heap_map(pid), pid, "heap", "10,000 blocks, it grows")


@contextmanager
def _grow(kind: str) -> Iterator[int]:
    """Run `benchmarks.growing`: it must cost another process than this one."""
    command = [sys.executable, "-m", "benchmarks.growing", kind]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()


def _make_heap_map(pid: int) -> HeapMapPanel:
    return HeapMapPanel(lambda: read_heap_map(pid), interval_s=INTERVAL_S)


def show_full_sizes(interval_s: float) -> SteeredApp:
    """Show a `SizesPanel` whose chart is full from the start; return the program, which runs."""
    app = SteeredApp(build_app("pages"))
    app.ask("reserve", _SIZES_BYTES[-1])
    app.ask("touch", 25)
    SizesPanel(_sample_full(app.pid, interval_s)).show()
    return app


def _make_map(pid: int) -> AddressSpacePanel:
    return AddressSpacePanel(
        follow_address_space(pid),
        lambda start, end: read_resident_pages(pid, start, end),
        interval_s=INTERVAL_S,
    )


def _sample_full(pid: int, interval_s: float) -> Callable[[], Iterator[ProcessSizes]]:
    """Return a source that first gives as many samples as the chart holds, in a second or two."""
    quick_s = POINTS_SHOWN * _QUICKLY_S

    def give() -> Iterator[ProcessSizes]:
        later = sample_sizes(pid, interval_s)
        return chain(
            sample_sizes(pid, _QUICKLY_S, quick_s),
            (replace(sizes, elapsed_s=sizes.elapsed_s + quick_s) for sizes in later),
        )

    return give


def _measure(panel: Any, pid: int, name: str, process: str) -> Frames:
    """Return the median of some windows, all threads of the kernel counted."""
    count = 0
    draw = panel._draw

    def draw_and_count(record: Any) -> str:
        nonlocal count
        count += 1
        return str(draw(record))

    panel._draw = draw_and_count
    panel.show()
    time.sleep(WARM_UP_S)
    windows = []
    for _ in range(WINDOWS):
        began = count, time.process_time(), time.monotonic()
        time.sleep(WINDOW_S)
        frames = count - began[0]
        cpu_s, wall_s = time.process_time() - began[1], time.monotonic() - began[2]
        windows.append((1e3 * cpu_s / frames, frames / wall_s))
    panel.stop()
    cpu_ms, per_s = (statistics.median(each) for each in zip(*windows, strict=True))
    resident_bytes = read_address_space(pid).rss_bytes
    return Frames(name, process, resident_bytes, cpu_ms, per_s)
