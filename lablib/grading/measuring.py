"""One run of a submission in the sandbox, looked at from outside: by the tracer and the kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import PrivilegeError, ProcessError, ToolMissingError, TracerError
from lablib.grading.limits import Limits
from lablib.grading.notes import Notes, read_notes
from lablib.grading.sandbox import Run, Sandboxed
from lablib.proc import read_address_space
from lablib.records import HeapTrace, ProcessResources
from lablib.resources import read_resources
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer
from lablib.tracing.control import start_service
from lablib.tracing.groups import CappedGroup

NOT_TRACED = (TracerError, ToolMissingError, PrivilegeError)


@dataclass(frozen=True)
class Measurement:
    """What was seen of one run.

    `trace` is None where the tracer could not be had, for the reason in `untraced`. `at_exit` and
    `mappings`, the number of its VMAs, are as the program stood when it was about to end.
    `peak_vm_size_bytes` is the most address space that it had till then (VmPeak), `static_bytes`
    are those of its data and bss, in whole pages. `notes` are those of labs/noting.c. They are None
    where it was ended by somebody else, and `notes` where the lab has none. One that `has_executed`
    became another program on its way.
    """

    terms: int
    run: Run
    trace: HeapTrace | None
    untraced: str
    at_exit: ProcessResources | None
    mappings: int | None
    has_executed: bool
    peak_vm_size_bytes: int | None
    static_bytes: int | None
    notes: Notes | None


@dataclass(frozen=True)
class Glance:
    """What a program had while it stood in the middle of its work.

    `peak_rss_bytes` is its largest resident set so far (VmHWM of /proc/PID/status).
    """

    peak_rss_bytes: int
    resources: ProcessResources


def measure(
    folder: Path,
    command: Sequence[str],
    terms: int,
    limits: Limits,
    group: CappedGroup | None = None,
    untraced: str = "",
) -> Measurement:
    """Run a command in the sandbox, from its first instruction to its end, and look at it.

    Its memory is charged to `group`, where there is one. With `untraced`, why there is no tracer,
    only the kernel's own account is looked at. Raises `GradingError`, and what
    `Hold.reach_first_instruction` raises.
    """
    tracers: list[Tracer] = []

    def look() -> None:
        for tracer in tracers:
            tracer.snapshot()

    with ExitStack() as stack:
        program = stack.enter_context(Sandboxed(folder, command, limits, group, look=look))
        program.hold()
        if not untraced:
            try:
                symbols = stack.enter_context(closing(ProcessSymbols(program.pid)))
                tracers.append(stack.enter_context(Tracer(program.pid, symbols)))
            except NOT_TRACED as error:
                untraced = error.sentence
        at_exit, mappings, peak, static, notes = None, None, None, None, None
        if program.run_to_exit():
            at_exit, peak = read_resources(program.pid), read_peak(program.pid, "VmPeak")
            mappings, static = _measure_mappings(program.pid)
            notes = read_notes(program.pid, folder / Path(command[0]).name)
        program.release()
        run = program.finish()
        trace = None
        if tracers:
            tracers[0].stop()
            trace = tracers[0].trace
    has_executed = program.has_executed or (trace is not None and trace.snapshots[-1].has_executed)
    return Measurement(
        terms, run, trace, untraced, at_exit, mappings, has_executed, peak, static, notes
    )


def watch_from_afar(
    folder: Path, command: Sequence[str], limits: Limits, group: CappedGroup | None = None
) -> tuple[Run, list[Glance]]:
    """Run a command in the sandbox with no tracer on it; return how it ended, and what it had.

    It is looked at after its first output and whenever there was half as much again. Raises
    `GradingError`.
    """
    glances: list[Glance] = []

    def look() -> None:
        peak, resources = read_peak(program.pid, "VmHWM"), read_resources(program.pid)
        if peak is not None and resources is not None:
            glances.append(Glance(peak, resources))

    with Sandboxed(folder, command, limits, group, look=look) as program:
        program.release()
        return program.finish(), glances


def read_peak(pid: int, name: str) -> int | None:
    """Return a peak of a process in bytes, by its name in /proc/PID/status: VmHWM or VmPeak.

    None once the process has ended.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def start_tracer() -> str:
    """Have the tracer service run; return "" or why it can't."""
    try:
        start_service()
    except NOT_TRACED as error:
        return error.sentence
    return ""


def _measure_mappings(pid: int) -> tuple[int | None, int | None]:
    """Return how many VMAs a process has, and the bytes of its data and bss."""
    try:
        space = read_address_space(pid)
    except ProcessError:
        return None, None
    static = (*space.of_kind("data"), *space.of_kind("bss"))
    return len(space.vmas), sum(segment.end - segment.start for segment in static)
