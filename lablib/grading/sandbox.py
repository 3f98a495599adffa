"""Run somebody's program where it can do no harm: bubblewrap, limits, a time, and nothing else.

The program sees the system's own files and one folder, read-only, and no other process, no network,
nobody's home and none of the lab's files. It may write to /tmp and /dev/shm, where there is little
room, and which end with it: no run leaves anything for another. What can't be closed off is not
run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil

from lablib.errors import GradingError, ToolMissingError
from lablib.grading.bubblewrap import find_home, wrap
from lablib.grading.limits import FILE_PLACES, Limits, Watch, find_seconds, list_limits
from lablib.grading.streams import Stream
from lablib.holding import Hold
from lablib.language import term
from lablib.scratch import make_scratch_folder
from lablib.tracing.groups import CappedGroup
from lablib.wording import os_reason

_START_S = 10.0
_CHUNK_BYTES = 1 << 16
_PIPE_BYTES = 4096

_BY_SIGNAL = {-signal.SIGXFSZ: "disk", -signal.SIGXCPU: "time"}
"""The signals by which the kernel itself ends who has come to a limit."""

# Users of no account, above those that distributions and container engines hand out.
_FIRST_UID = 0x70000000
_uids = itertools.count(_FIRST_UID + (os.getpid() << 8) % 0x0FFFFFFF)


@dataclass(frozen=True)
class Run:
    """How a program in the sandbox ended.

    `exit_code` is negative for a signal. `ended_by` is "itself", or the limit that ended it:
    "time", "output", "memory", "disk" or "processes".
    """

    exit_code: int
    ended_by: str
    seconds: float
    output: str
    errors: str


def require_sandbox() -> None:
    """Try the sandbox with a program that does nothing.

    Raises `ToolMissingError` without bubblewrap, and `GradingError` where it is refused: then
    nothing may be run.
    """
    if shutil.which("bwrap") is None:
        raise ToolMissingError(
            term("running somebody's program safely needs bubblewrap"),
            term("run: sudo apt-get install bubblewrap"),
        )
    with (
        make_scratch_folder("check") as folder,
        Sandboxed(folder, ["/bin/true"], Limits(), None) as tried,
    ):
        tried.release()
        run = tried.finish()
    if run.exit_code != 0:
        said = (run.errors.strip() or f"exit code {run.exit_code}").splitlines()[-1]
        raise GradingError(
            term("this machine refuses the sandbox ({said}), so no program was run", said=said),
            term(
                "on Ubuntu 24.04 run ./lab check as root, or allow user namespaces: sudo sysctl "
                "kernel.apparmor_restrict_unprivileged_userns=0"
            ),
        )


class Sandboxed(AbstractContextManager["Sandboxed"]):
    """One program in the sandbox, held before it begins; its end is the end of all it started.

    It is this thread's to release. `pid` is its number outside.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        limits: Limits,
        group: CappedGroup | None,
        is_writable: bool = False,
        look: Callable[[], object] | None = None,
    ) -> None:
        """Prepare `command`, its paths as in the sandbox, with `folder` as its folder.

        The memory of all its processes is charged to `group`, where there is one. It may write to
        the folder only if `is_writable`, and starts there; else in /tmp.

        `look` is called, from a thread of ours, while the program prints: first with its first
        bytes, then whenever it has printed half as much again. The pipe is so small that a program
        that prints is held in the middle of its work meanwhile.

        As root the folder is given to a user without an account, who the program runs as. Raises
        `GradingError` where the sandbox can't be made.
        """
        self._seconds = find_seconds(limits)
        self._command = command[0]
        self._hold: Hold | None = None
        self._ended_by = ""
        self._ran_s = 0.0
        self._first: int | None = None
        self._watch: Watch | None = None
        uid = next(_uids) if os.getuid() == 0 else None
        if uid is not None:
            _give(folder, uid)
        gate, self._gate = os.pipe()
        told, ready = os.pipe()
        info, info_end = os.pipe()
        orders = json.dumps(
            {
                "uid": uid,
                "folder": find_home(is_writable),
                "limits": list_limits(limits),
                "places": FILE_PLACES,
                "may_fork": limits.may_fork,
                "ready": ready,
                "gate": gate,
            }
        )
        self._started_s = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [
                    *wrap(folder, uid, is_writable, info_end),
                    *(orders, *command),
                ],
                env={},  # the sandbox's first process shows it to all others
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(gate, ready, info_end),
                pipesize=_PIPE_BYTES,
            )
        finally:
            for descriptor in (gate, ready, info_end):
                os.close(descriptor)
        self._streams = [
            Stream(stream, limits.output_bytes, lambda: self._end("output"), at_first)
            for stream, at_first in ((self._process.stdout, look), (self._process.stderr, None))
            if stream is not None
        ]
        try:
            first, self.pid = self._find_program(told, info)
            self._first = os.pidfd_open(first)
            self._watch = Watch(self.pid, first, limits, group)
        except OSError as error:
            self.close()
            raise GradingError(
                term("the sandbox ended too early ({reason})", reason=os_reason(error))
            ) from None
        except BaseException:
            self.close()
            raise
        finally:
            os.close(told)
            os.close(info)

    def __exit__(self, *_: object) -> None:
        """End the program, if it has not ended."""
        self.close()

    def hold(self) -> None:
        """Let it become its program, and hold that before its first instruction.

        Raises what `Hold.reach_first_instruction` does, and `GradingError` where it ends before.
        """
        hold = Hold(self.pid, self._command)
        hold.seize()
        self._hold = hold
        self._open_gate()
        if not hold.reach_exec():
            raise GradingError(
                term("{command} could not be started in the sandbox", command=self._command)
            )
        hold.reach_first_instruction()

    def release(self) -> None:
        """Let it run; its time counts from now, or goes on where it has run to its exit."""
        self._started_s = time.monotonic() - self._ran_s
        if self._hold is not None:
            self._hold.release()
        self._open_gate()

    def run_to_exit(self) -> bool:
        """Let it run, held still until it is about to end; False if it ended otherwise.

        Then all that it has is still there to be read, until it is released. Needs `hold` before.
        """
        assert self._hold is not None
        self._started_s = time.monotonic()
        is_at_exit = self._hold.run_to_exit(self.is_running)
        self._ran_s = time.monotonic() - self._started_s
        return is_at_exit

    @property
    def has_executed(self) -> bool:
        """Whether it became another program, after it was held, and before it was about to end."""
        return self._hold is not None and self._hold.has_executed

    def is_running(self) -> bool:
        """Whether it runs, within its limits; one that has come to a limit is ended here."""
        assert self._watch is not None
        if self._process.poll() is not None:
            return False
        is_late = time.monotonic() - self._started_s > self._seconds
        reached = "time" if is_late else self._watch.look()
        if reached:
            self._end(reached)
            self._await_end()
        return not reached

    def finish(self) -> Run:
        """Wait for its end, or for the end of its time, and return how it ended.

        Raises `GradingError` where the machine ran out of memory meanwhile.
        """
        assert self._watch is not None
        while self.is_running():
            time.sleep(0.005)
        seconds = time.monotonic() - self._started_s
        self._await_end()
        if self._ended_by == "machine":
            raise GradingError(
                term(
                    "the machine's memory ran out while the program ran, and nobody can say whose "
                    "fault that is"
                ),
                term(
                    "end other programs and check again; with ./lab tracer start each has a limit"
                ),
            )
        code = self._process.returncode
        exit_code = 128 - code if code > 128 else code
        reached = self._watch.look_at_files() or self._watch.look_at_group()
        return Run(
            exit_code=exit_code,
            ended_by=self._ended_by or reached or _BY_SIGNAL.get(exit_code, "itself"),
            seconds=seconds,
            output=self._streams[0].text,
            errors=self._streams[1].text,
        )

    def close(self) -> None:
        """End it, with all that it has started; returns when nothing of it is left."""
        self._end("us")
        self._await_end()
        self._open_gate(with_byte=False)
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._first is not None:
            os.close(self._first)
            self._first = None

    def _end(self, reason: str) -> None:
        """Have the kernel end all processes of the sandbox; the first reason is the one told."""
        self._ended_by = self._ended_by or reason
        self._process.kill()
        if self._first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)

    def _await_end(self) -> None:
        """Return when they have ended: the first process of a namespace is the last to go.

        It waits for each to be reaped, and who is held is ours to reap.
        """
        self._process.wait()
        while self._first is not None and not select.select([self._first], [], [], 0.01)[0]:
            hold = self._hold
            if hold and (hold.is_at_exit or hold.wait_for_change(os.WNOHANG) is not None):
                hold.release()
        for stream in self._streams:
            stream.join()

    def _find_program(self, told: int, info: int) -> tuple[int, int]:
        """Return the sandbox's first process, and the one that waits at the gate, once it does."""
        is_ready = select.select([told], [], [], _START_S)[0] and os.read(told, 1)
        with contextlib.suppress(ValueError, KeyError, IndexError, psutil.Error):
            first = psutil.Process(json.loads(os.read(info, _CHUNK_BYTES))["child-pid"])
            if is_ready:
                return int(first.pid), int(first.children()[0].pid)
        self.close()
        said = self._streams[1].text.strip().splitlines()
        reason = said[-1] if said else "no reason given"
        raise GradingError(term("the sandbox could not be made: {reason}", reason=reason))

    def _open_gate(self, with_byte: bool = True) -> None:
        if self._gate < 0:
            return
        with contextlib.suppress(BrokenPipeError):
            if with_byte:
                os.write(self._gate, b"+")
        os.close(self._gate)
        self._gate = -1


def _give(folder: Path, uid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)
