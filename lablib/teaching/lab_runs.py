"""A lab's program, built from the learner's file and watched while it runs."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lablib.analysis import judge_trace
from lablib.apps import LocalApp
from lablib.errors import (
    AppError,
    GradingError,
    PrivilegeError,
    RecordingError,
    ToolMissingError,
    TracerError,
)
from lablib.grading.building import LEVELS, build, build_companions
from lablib.grading.labs import FAILING, NOTING, Lab
from lablib.grading.submissions import lay_out, read_submission
from lablib.language import term
from lablib.panels import SizesPanel, StacksPanel
from lablib.proc import sample_sizes
from lablib.records import AppFiles, HeapTrace, ProcessResources
from lablib.resources import read_resources
from lablib.scratch import make_scratch_folder
from lablib.teaching.heap_watch import HeapWatch
from lablib.teaching.tables import show_table
from lablib.wording import format_size

VIEWS = ("stacks", "sizes")
_NOT_TRACED = (TracerError, ToolMissingError, PrivilegeError, RecordingError)
_SAMPLES = 16
"""How often a run is looked at in all."""
_LEAST_SHARE = 0.05
_SEED = 1
"""What the lab's own files are built with to look at a program; to judge one, with another."""


@dataclass(frozen=True)
class Holding:
    """What a process holds at one moment, `elapsed_s` seconds after its release.

    The kernel counts `resources` and `mappings`, its VMAs; `live_bytes` is what the tracer counts,
    None where it could not be had.
    """

    elapsed_s: float
    resources: ProcessResources
    mappings: int
    live_bytes: int | None = None


_QUANTITIES: dict[str, tuple[str, Callable[[Holding], int | None]]] = {
    "live": ("allocated by malloc, not freed (the tracer)", lambda held: held.live_bytes),
    "resident": ("resident (RES)", lambda held: held.resources.rss_bytes),
    "anonymous": ("of that, anonymous (RssAnon)", lambda held: held.resources.rss_anon_bytes),
    "address space": ("address space (VIRT)", lambda held: held.resources.vm_size_bytes),
    "mappings": ("mappings", lambda held: held.mappings),
    "open files": ("open files", lambda held: held.resources.open_files),
    "threads": ("threads", lambda held: held.resources.threads),
}
_IN_BYTES = ("live", "resident", "anonymous", "address space")


@dataclass(frozen=True)
class LabRun:
    """A run of a lab's program that was watched: what it held in the course of it.

    `trace` is None where the tracer could not be had, for the reason in `untraced`. `left_bytes` is
    the shared memory that was still there when all its processes had been killed.
    """

    held: tuple[Holding, ...]
    trace: HeapTrace | None
    untraced: str
    left_bytes: int = 0

    def read(self, quantity: str, share: float = 1.0) -> int:
        """Return how much it held of a quantity when this share of the run was over; 0 if unknown.

        The quantities are "live", "resident", "anonymous", "address space" (bytes), "mappings",
        "open files" and "threads" (how many).
        """
        place = round(share * (len(self.held) - 1))
        return _QUANTITIES[quantity][1](self.held[place]) or 0

    def growth(self, quantity: str, start: float = 0.25, end: float = 1.0) -> int:
        """Return by how much a quantity grew between two shares of the run."""
        return self.read(quantity, end) - self.read(quantity, start)

    def grows(self, quantity: str) -> bool:
        """Return whether a quantity grew by more than a twentieth after the first quarter."""
        return self.growth(quantity) > _LEAST_SHARE * self.read(quantity, 0.25)

    def late_share(self, quantity: str) -> float:
        """Return which share of all its growth came in the second half of the run, in percent.

        0 where it has not grown.
        """
        grown = self.growth(quantity, 0.0)
        return 100 * max(0, self.growth(quantity, 0.5)) / grown if grown > 0 else 0.0

    def name_fastest(self, quantities: Sequence[str]) -> str:
        """Return which quantity grew the most, as a share of what it was, or "none of them"."""
        shares = {name: self.growth(name) / max(1, self.read(name, 0.25)) for name in quantities}
        fastest = max(shares, key=lambda name: shares[name])
        return fastest if self.grows(fastest) else "none of them"

    def growth_per_s(self, quantity: str) -> float:
        """Return by how much a quantity grew in a second, the first quarter of the run left out."""
        start, end = self.held[round(0.25 * (len(self.held) - 1))], self.held[-1]
        return self.growth(quantity) / (end.elapsed_s - start.elapsed_s)

    def show(self, caption: str) -> None:
        """Display what it held early, in the middle and at the end, and the tracer's verdict."""
        shown = [self.held[round(share * (len(self.held) - 1))] for share in (0.25, 0.5, 1.0)]
        columns = ("it holds", *(f"after {held.elapsed_s:.1f} s" for held in shown))
        rows = [
            (words, *(_word(name, read(held)) for held in shown))
            for name, (words, read) in _QUANTITIES.items()
        ]
        show_table(caption, columns, rows)
        if self.trace is None:
            print(f"Without the tracer, by the kernel's account only: {self.untraced}")
        else:
            print(f"The tracer's verdict: {judge_trace(self.trace).sentence}")
        if self.left_bytes:
            print(
                "Killed in the middle of its work, it has left shared memory behind: "
                f"{self.left_bytes:,} bytes. They are removed now."
            )


def _word(quantity: str, value: int | None) -> str:
    if value is None:
        return "not known"
    return format_size(value) if quantity in _IN_BYTES else f"{value:,}"


@contextmanager
def build_program(lab: Lab, folder: Path, failing: bool) -> Iterator[AppFiles]:
    """Build the program in the learner's `folder` as the grader does, and remove it afterwards.

    With `failing` some calls fail, in labs that are about that. Raises `AppError` with the
    compiler's first error, and `LabError` where nothing can be built.
    """
    with make_scratch_folder("look") as laid:
        lay_out(lab, read_submission(lab, folder).source, laid)
        left_out = (NOTING,) if failing else (NOTING, FAILING)
        sources = tuple(path.name for path in lab.companions if path.name not in left_out)
        linked = build_companions(laid, sources, lab.failing if failing else (), _SEED)
        built = build(laid, lab.source, LEVELS[-1], linked)
        if not built.is_built:
            raise AppError(
                term("it doesn't compile: {error}", error=built.complaint),
                term("look at {file}", file=lab.source),
            )
        program = laid / Path(built.path).name
        yield AppFiles(lab.name, program, folder / lab.source, {})


def watch_program(
    lab: Lab, folder: Path, view: str, rate: float, seconds: float, failing: bool
) -> LabRun:
    """Build and run a program for some seconds, with a live panel, and return what was seen.

    `view` is one of `VIEWS`; without the tracer it is always "sizes". LAB_HASTE=3 in the
    environment does the same work in a third of the time. Raises what `build_program` raises.
    """
    haste = float(os.environ.get("LAB_HASTE", "1"))
    rate, seconds = rate * haste, seconds / haste
    with ExitStack() as running:
        app = LocalApp(running.enter_context(build_program(lab, folder, failing)), rate)
        running.enter_context(app)
        heap, untraced = _watch_heap(running, app, seconds)
        panel = _make_panel(view, app, heap, seconds, lab.title)
        panel.show()
        held = _follow(app.pid, heap, seconds, haste)
        trace = heap.finish() if heap else None
        with suppress(ProcessLookupError):
            os.killpg(app.pid, signal.SIGKILL)
        panel.wait()
        panel.stop()
    if not held:
        raise GradingError(
            term("the program ended before anything could be seen"),
            term("see {source}", source=lab.source),
        )
    return LabRun(held, trace, untraced, _remove_left(app.pid))


def _remove_left(pid: int) -> int:
    """Remove the files in /dev/shm whose name has the number of a process; return their bytes."""
    size_bytes = 0
    for path in Path("/dev/shm").iterdir():
        if re.search(rf"(?<!\d){pid}(?!\d)", path.name):
            with suppress(OSError):
                size = path.stat().st_size
                path.unlink()
                size_bytes += size
    return size_bytes


def _watch_heap(running: ExitStack, app: LocalApp, seconds: float) -> tuple[HeapWatch | None, str]:
    """Release the program with the tracer on it, or without; return the watch, or why not."""
    no_recordings = running.enter_context(make_scratch_folder("look"))
    try:
        watch = HeapWatch("watched", app, seconds, seconds / _SAMPLES, no_recordings)
        return running.enter_context(watch), ""
    except _NOT_TRACED as error:
        app.release()
        return None, str(error)


def _make_panel(
    view: str, app: LocalApp, heap: HeapWatch | None, seconds: float, title: str
) -> StacksPanel | SizesPanel:
    if view == "stacks" and heap is not None:
        return StacksPanel(heap.source, f"{title}: live bytes by call stack")
    return SizesPanel(
        lambda: sample_sizes(app.pid, seconds / _SAMPLES, seconds), f"{title}: promised and paid"
    )


def _follow(pid: int, heap: HeapWatch | None, seconds: float, haste: float) -> tuple[Holding, ...]:
    """Return what a process holds every now and then, until it ends or the time is over.

    The times are those that it would have been without haste.
    """
    held: list[Holding] = []
    started_s = time.monotonic()
    while (elapsed_s := time.monotonic() - started_s) < seconds:
        shot = heap.latest if heap else None
        resources, mappings = read_resources(pid), _count_mappings(pid)
        if resources is None:
            break
        live_bytes = shot.live_bytes if shot else None
        held.append(Holding(elapsed_s * haste, resources, mappings, live_bytes))
        time.sleep(seconds / _SAMPLES)
    return tuple(held)


def _count_mappings(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/maps").read_bytes().count(b"\n")
    except OSError:
        return 0
