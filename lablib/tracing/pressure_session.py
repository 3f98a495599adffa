"""One session of the pressure tracer, on the service's side: a process, or a capped group.

What it attaches are file descriptors of the process that the session lives in: whatever ends that
process takes them and the maps away.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from lablib.errors import TargetError, TracerError
from lablib.language import term
from lablib.tracing import holdings, protocol
from lablib.tracing.capped_cgroup import list_processes
from lablib.tracing.permission import Target
from lablib.tracing.pressure_program import LIMITER, MEMBER, PressureProgram
from lablib.tracing.program import (
    CLOSED,
    OPEN,
    Session,
    TracerProgram,
    await_running_programs,
)
from lablib.tracing.protocol import Message


class PressureSession:
    """Programs on the kernel's tracepoints that tell what a shortage does to some processes."""

    def __init__(self, program: TracerProgram, caller_uid: int, request: dict[str, Any]) -> None:
        """Attach and begin to count; raises `TargetError` or `TracerError`.

        The request names a process by `pid`, or a capped group of the caller's by `group`.
        """
        self._caller_uid = caller_uid
        self._targets: dict[int, Target] = {}
        self._scores: dict[int, dict[str, Any]] = {}
        self._program = PressureProgram(program)
        self._folder: Path | None = None
        limiter = None
        if "group" in request:
            facts = find_group(request["group"], caller_uid)
            self._folder, limiter = Path(facts["group"]), int(facts["worker"])
        else:
            pid = protocol.read_pid(request)
            self._targets[pid] = Target(pid, caller_uid)
        self._program.make_maps({})
        self._program.load()
        self._program.write_session(Session(0, state=CLOSED))
        if limiter is not None:
            self._program.add_process(limiter, LIMITER)
        for pid in self._targets:
            self._program.add_process(pid, MEMBER)
        unavailable = self._program.watch()
        for target in self._targets.values():
            target.check()
        self._program.write_session(Session(0, state=OPEN))
        self.tend()
        self.description = {
            "opened_ns": time.monotonic_ns(),
            "page_bytes": os.sysconf("SC_PAGE_SIZE"),
            "unavailable": unavailable,
        }

    def answer(self, operation: object) -> Message:
        """Return what has been counted as of now; to "stop" ends the counting first.

        Raises `TracerError` for what is not known.
        """
        if operation not in ("read", "stop"):
            raise TracerError(term("the tracer service does not know this request"))
        if operation == "stop":
            self._program.write_session(Session(0, state=CLOSED))
            await_running_programs()
        counters = self._program.read_counters()
        counters["lost_new_processor"] = int(self._program.has_new_processor())
        header = {
            "now_ns": time.monotonic_ns(),
            "counters": counters,
            "reclaims": self._program.read_reclaims(),
            "major_faults": self._program.read_major_faults(),
            "victims": [
                {**victim, **self._scores.get(victim["tgid"] or 0, {})}
                for victim in self._program.read_victims()
            ],
        }
        return header, b""

    def tend(self) -> None:
        """Take note of who has come and gone, and of the score of each: it goes with its process.

        A process that has been put into the group since is a member from here on.
        """
        if self._folder is not None:
            for pid in list_processes(self._folder):
                if pid not in self._targets:
                    with contextlib.suppress(TargetError):
                        self._targets[pid] = Target(pid, self._caller_uid)
                        self._program.add_process(pid, MEMBER)
        for pid in [pid for pid, target in self._targets.items() if not target.is_running()]:
            self._targets.pop(pid).close()
            with contextlib.suppress(FileNotFoundError):
                self._program.remove_process(pid)
        scores = {}
        for pid in {*self._targets, *self._program.read_members()}:
            with contextlib.suppress(OSError, ValueError):
                scores[pid] = read_score(pid)
        victims = {victim["tgid"] for victim in self._program.read_victims()}
        self._scores |= {pid: score for pid, score in scores.items() if pid not in victims}


def find_group(name: object, caller_uid: int) -> dict[str, Any]:
    """Return the facts of a capped group; raises `TracerError` where it is not the caller's."""
    for facts in holdings.list_holdings():
        if Path(facts.get("group", "")).name == name and caller_uid in (0, facts.get("uid")):
            return facts
    raise TracerError(term("there is no such group of yours"), term("make one: CappedGroup"))


def read_score(pid: int) -> dict[str, Any]:
    """Return how the kernel rates a process for an OOM kill, and its name; raises `OSError`.

    `score` is /proc/PID/oom_score, 0 to 2,000: the higher, the sooner it is killed. One that holds
    little has 667, and one that is being killed 0. `score_adj` is
    what its owner has added to it, -1,000 to 1,000.
    """
    folder = Path(f"/proc/{pid}")
    return {
        "score": int((folder / "oom_score").read_text()),
        "score_adj": int((folder / "oom_score_adj").read_text()),
        "command": (folder / "comm").read_text(errors="replace").strip(),
    }
