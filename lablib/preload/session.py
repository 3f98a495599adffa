"""A tracing session on a program that counts its heap itself, in the terms of the tracer service.

It answers what lablib/tracing/session.py answers, so that the same client makes the same records of
it.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from lablib.errors import TargetError, TracerError
from lablib.language import term
from lablib.preload.interposer import Interposer
from lablib.preload.layout import CLOSED, FREES_ONLY, MAX_FRAMES, OPEN
from lablib.preload.ledger import Ledger
from lablib.reachability.mappings import LAB_SEGMENT
from lablib.records import TraceOptions
from lablib.tracing.client import Symbolizer
from lablib.tracing.protocol import MAX_UNWIND_PAGES, MAX_UNWIND_ROWS, Message
from lablib.tracing.standstill import Standstill

SOURCE = "preload"

CLOSING_TIMEOUT_S = 0.5
"""How long to wait for threads that are just recording something; one may stand still."""

_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_MEMBARRIER_GLOBAL = 1
_CHECKOUT = Path(__file__).resolve().parents[2]
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));from lablib.preload.helper import main; main()"
)
_libc = ctypes.CDLL(None)


class PreloadSession:
    """Counts the heap of a program that was started with an `Interposer`."""

    source = SOURCE

    def __init__(
        self,
        interposer: Interposer,
        pid: int,
        symbolizer: Symbolizer,
        options: TraceOptions,
    ) -> None:
        """Begin to count; the program may be held before its first instruction.

        Raises `TargetError` where the program has not taken the interposer with it, and
        `TracerError` for options that this source doesn't have.
        """
        refuse_options(options)
        self._pid = pid
        self._segment = interposer.segment
        self._check_joins(interposer.library)
        self._ledger = Ledger(pid, self._segment)
        self._helper: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        tables = symbolizer.read_unwind_tables(MAX_UNWIND_PAGES, MAX_UNWIND_ROWS)
        self._segment.write_unwind_tables(tables)
        if options.opens_window:
            self._segment.write("state", OPEN)
        self.description: dict[str, Any] = {
            "opened_ns": time.monotonic_ns(),
            "max_frames": MAX_FRAMES,
            "has_unwind_tables": len(tables.page_numbers) > 0,
        }

    def ask(self, operation: str) -> Message:
        """Return the answer of a session: see lablib/tracing/session.py."""
        if operation == "census":
            return self._read_census()
        if operation == "stop":
            self._close()
        elif operation == "open_window":
            if self._segment.read("state") == FREES_ONLY:
                self._segment.write("window", self._segment.read("window") + 1)
            self._segment.write("state", OPEN)
        elif operation == "close_window":
            self._segment.write("state", FREES_ONLY)
        return self._read_snapshot()

    def hold(self) -> Standstill:
        """Have a helper stop the process by ptrace, which the program has allowed us."""
        return Standstill(self._connection or self._start_helper())

    def close(self) -> None:
        """Count no more."""
        with contextlib.suppress(IndexError):  # the segment may be gone
            self._segment.write("state", CLOSED)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._helper is not None:
            self._helper.wait()
            self._helper = None

    def _check_joins(self, library: Path) -> None:
        """Raise `TargetError` unless the interposer is in the program."""
        if self._segment.read("process") == self._pid:
            return
        try:
            mapped = Path(f"/proc/{self._pid}/maps").read_text(errors="replace")
        except OSError:
            raise TargetError(term("process {pid} has ended", pid=self._pid)) from None
        if library.name not in mapped:
            raise TargetError(
                term(
                    "the preload source can't see into process {pid}: it is linked statically, or "
                    "has rights of its own (setuid)",
                    pid=self._pid,
                ),
                term("trace it with: ./lab trace --source ebpf"),
            )

    def _close(self) -> None:
        """Count no more, and return once nobody is recording any more."""
        self._segment.write("state", CLOSED)
        _libc.syscall(
            ctypes.c_long(_MEMBARRIER[os.uname().machine]),
            ctypes.c_int(_MEMBARRIER_GLOBAL),
            ctypes.c_uint(0),
            ctypes.c_int(0),
        )
        deadline_s = time.monotonic() + CLOSING_TIMEOUT_S
        while self._segment.is_recording() and self._is_running() and time.monotonic() < deadline_s:
            time.sleep(0.0005)

    def _read_snapshot(self) -> Message:
        is_running = self._is_running()
        has_executed = is_running and self._has_executed()
        self._ledger.update(is_running and not has_executed)
        now_ns = time.monotonic_ns()
        rows = self._segment.read_stacks()
        totals = self._segment.read_usages(len(rows))
        counters = self._segment.read_counters()
        if not self._segment.read("process"):
            counters["lost_unjoined"] = int(not is_running or has_executed)
        header = {
            "now_ns": now_ns,
            "is_running": is_running and not has_executed,
            "has_executed": has_executed,
            "window": self._segment.read("window"),
            "stacks": len(rows),
            "counters": counters,
            "mappings": [
                [0, kind, stack_id, *dataclasses.astuple(total)]
                for (kind, stack_id), total in self._ledger.totals().items()
            ],
            "processes": [],
        }
        ids = np.ascontiguousarray(rows[:, 0])
        return header, ids.tobytes() + rows[:, 1:].tobytes() + totals.tobytes()

    def _read_census(self) -> Message:
        now_ns = time.monotonic_ns()
        blocks = self._segment.read_blocks()
        rows = self._segment.read_stacks()
        places = np.zeros((len(blocks), 5), np.uint64)
        places[:, :4] = blocks
        header = {
            "now_ns": now_ns,
            "window": self._segment.read("window"),
            "places": places.nbytes,
            "keys": 0,
            "values": 0,
            "stacks": len(rows),
        }
        return header, places.tobytes() + rows[:, 1:].tobytes()

    def _is_running(self) -> bool:
        try:
            stat = Path(f"/proc/{self._pid}/stat").read_text(errors="replace")
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] not in "ZX"

    def _has_executed(self) -> bool:
        """Whether the process has become another program: then the segment is no longer mapped."""
        if not self._segment.read("process"):
            return False
        try:
            mapped = Path(f"/proc/{self._pid}/maps").read_bytes()
        except OSError:
            return False
        return bool(mapped) and LAB_SEGMENT.encode() not in mapped

    def _start_helper(self) -> socket.socket:
        mine, its = socket.socketpair()
        words = [sys.executable, "-I", "-S", "-B", "-c", _BOOTSTRAP, str(_CHECKOUT)]
        with its:
            self._helper = subprocess.Popen(
                [*words, str(its.fileno()), str(self._pid)],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # what interrupts a notebook's kernel is not meant for it
            )
        self._connection = mine
        return mine


def refuse_options(options: TraceOptions) -> None:
    """Raise `TracerError` for what this source does not have."""
    if options.sample_bytes:
        raise TracerError(
            term("the preload source counts every block and takes no samples"),
            term("leave out --sample"),
        )
    if options.follows_forks:
        raise TracerError(
            term("the preload source does not follow forks"), term("trace with: --source ebpf")
        )
