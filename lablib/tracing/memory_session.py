"""One session of the memory tracer, on the service's side: page faults and calls of a process.

What it attaches are file descriptors of the process that the session lives in: whatever ends that
process takes them and the maps away.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lablib.errors import TargetError, TracerError
from lablib.language import term
from lablib.tracing.memory_program import MemoryProgram
from lablib.tracing.permission import Target
from lablib.tracing.program import (
    CLOSED,
    MAX_FRAMES,
    OPEN,
    SIZES,
    Session,
    TracerProgram,
    await_running_programs,
)
from lablib.tracing.protocol import MAX_FAULTS_LIMIT, STACK_LIMITS, Message, read_numbers

_START_BRK = 47 - 3
"""Field 47 of /proc/PID/stat, of which the third is the first behind the name."""

FIRST_PID_NAMESPACE_INODE = 0xEFFFFFFC
"""Of the machine's first pid namespace; the same in session.bpf.c."""


@dataclass(frozen=True)
class MemoryOptions:
    """What a client may ask for; the defaults are those of a request that says nothing."""

    max_faults: int = SIZES["MAX_FAULTS"]
    max_stacks: int = SIZES["MAX_STACKS"]
    pages: int = 0
    rows: int = 0

    @classmethod
    def parse(cls, request: dict[str, Any]) -> MemoryOptions:
        """Return the options of a request; raises `TracerError` for one that is out of range."""
        return cls(**read_numbers(request, {"max_faults": (1, MAX_FAULTS_LIMIT), **STACK_LIMITS}))


class MemorySession:
    """Programs on the kernel's tracepoints that record one process, until this process ends."""

    def __init__(
        self, program: TracerProgram, target: Target, options: MemoryOptions, unwind_tables: bytes
    ) -> None:
        """Attach and begin to count; raises `TargetError` or `TracerError`."""
        _check_namespace(target.pid)
        self._program = MemoryProgram(program)
        self._target = target
        self._program.make_maps(
            {
                "faults": options.max_faults,
                "stacks": options.max_stacks,
                "unwind_pages": max(1, options.pages),
                "unwind_rows": max(1, options.rows),
            }
        )
        self._program.load()
        self._program.write_unwind_tables(options.pages, options.rows, unwind_tables)
        self._set_state(CLOSED)
        self._program.watch()
        target.check()  # who it is now; an exec from here on is noticed
        bounds = read_bounds(target.pid)
        target.check()  # that these were the bounds of the same process
        self._set_state(OPEN)
        if self._program.read_fate()[0]:  # asked last: an exec from now on closes the window itself
            raise TargetError(
                term("process {pid} became another program", pid=target.pid), term("trace it again")
            )
        self.description = {
            "opened_ns": time.monotonic_ns(),
            "max_frames": MAX_FRAMES,
            "max_faults": options.max_faults,
            **bounds,
            "has_unwind_tables": options.pages > 0,
        }

    def answer(self, operation: object) -> Message:
        """Return (header, packed ids and rows of stacks, faults, calls) as of now.

        To "stop" ends the counting first. Raises `TracerError` for what is not known.
        """
        if operation not in ("read", "stop"):
            raise TracerError(term("the tracer service does not know this request"))
        if operation == "stop":
            self._set_state(CLOSED)
            await_running_programs()
        now_ns = time.monotonic_ns()
        has_executed, _ = self._program.read_fate()
        counters = self._program.read_counters()
        counters["lost_new_processor"] = int(self._program.has_new_processor())
        calls, faults = self._program.read_calls(), self._program.read_faults()
        ids, rows = self._program.read_stack_rows()  # last: the others' are all among them
        header = {
            "now_ns": now_ns,
            "is_running": self._target.is_running() and not has_executed,
            "counters": counters,
            "sizes": [len(part) for part in (ids, rows, faults, calls)],
        }
        return header, ids + rows + faults + calls

    def tend(self) -> None:
        """Do what can't wait for the client's next request: nothing."""

    def _set_state(self, state: int) -> None:
        self._program.write_session(Session(self._target.pid, state=state))
        if self._program.read_fate()[0]:  # it became another program while we wrote
            self._program.write_session(Session(self._target.pid, state=CLOSED))


def read_bounds(pid: int) -> dict[str, int]:
    """Return where a process's break, its stack, and the room for its stack are, 0 if unknown.

    `first_break` is the end of [heap] in /proc/PID/maps, which is in whole pages as the breaks of
    the usual allocators are; before the first brk it is start_brk of /proc/PID/stat. `stack_start`
    is the start of [stack], `stack_floor` the end of the mapping below it.
    """
    bounds = {"first_break": 0, "stack_floor": 0, "stack_start": 0}
    former_end = 0
    try:
        behind_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
        bounds["first_break"] = int(behind_name.split()[_START_BRK])
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            start, end = (int(part, 16) for part in line.split(None, 1)[0].split("-"))
            if line.endswith("[heap]"):
                bounds["first_break"] = end
            elif line.endswith("[stack]"):
                bounds |= {"stack_floor": former_end, "stack_start": start}
            former_end = end
    except (OSError, ValueError, IndexError):
        pass  # it has ended; who checks next says so
    return bounds


def _check_namespace(pid: int) -> None:
    """Raise `TargetError` where the kernel side could not tell the process from others."""
    try:
        own, its = (os.stat(f"/proc/{each}/ns/pid").st_ino for each in ("self", pid))
    except OSError:
        return  # it has ended; who checks next says so
    if own not in (FIRST_PID_NAMESPACE_INODE, its):
        raise TargetError(
            term(
                "process {pid} is in a container of its own inside the tracer service's container",
                pid=pid,
            ),
            term("run the tracer service on the machine itself"),
        )
