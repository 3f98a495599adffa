"""Run somebody's program where it can do no harm: bubblewrap, limits, a time, and nothing else.

The program sees the system's own files, read-only, one folder of its own, and no other process, no
network, nobody's home and none of the lab's files. What can't be closed off is not run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from lablib.errors import GradingError, ToolMissingError
from lablib.holding import Hold

FOLDER = "/work"
"""Where a program in the sandbox finds its folder."""

_INSIDE = Path(__file__).with_name("inside.py")
_SYSTEM_PYTHON = "/usr/bin/python3"
_REFUSED = 125
_START_S = 10.0
_CHUNK_BYTES = 1 << 16
_PIPE_BYTES = 4096
_LOOK_AGAIN = 1.5

_OVERWRITE_FREED = ("MALLOC_PERTURB_", "165")
"""Has glibc overwrite what is freed: who reads it afterwards prints something else."""

# Users of no account, above those that distributions and container engines hand out.
_FIRST_UID = 0x70000000
_uids = itertools.count(_FIRST_UID + (os.getpid() << 8) % 0x0FFFFFFF)

# What a compiler and a program need of the system, where it is there; nothing of /home or /root.
_SYSTEM_FILES = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"),
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
)


@dataclass(frozen=True)
class Limits:
    """What one run may take; a run that wants more is ended, or refused it.

    `memory_bytes` is of private writable memory, of each process (RLIMIT_DATA), None where
    something else limits it. `file_bytes` is of each file. Output beyond `output_bytes` ends the
    run.
    """

    seconds: float = 5.0
    memory_bytes: int | None = 256 << 20
    processes: int = 64
    file_bytes: int = 16 << 20
    open_files: int = 256
    output_bytes: int = 1 << 20


@dataclass(frozen=True)
class Run:
    """How a program in the sandbox ended.

    `exit_code` is negative for a signal. `ended_by` is "itself", or the limit that ended it:
    "time" or "output".
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
            "running somebody's program safely needs bubblewrap",
            "run: sudo apt-get install bubblewrap",
        )
    with Sandboxed(Path("/usr"), ["/bin/true"], Limits(), is_writable=False) as tried:
        tried.release()
        run = tried.finish()
    if run.exit_code != 0:
        said = (run.errors.strip() or f"exit code {run.exit_code}").splitlines()[-1]
        raise GradingError(
            f"this machine refuses the sandbox ({said}), so no program was run",
            "on Ubuntu 24.04 run ./lab check as root, or allow user namespaces: "
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
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
        is_writable: bool = True,
        look: Callable[[], object] | None = None,
    ) -> None:
        """Prepare `command`, its paths as in the sandbox, with `folder` as its folder.

        `look` is called, from a thread of ours, while the program prints: first with its first
        bytes, then whenever it has printed half as much again. The pipe is so small that a program
        that prints is held in the middle of its work meanwhile.

        As root the folder is given to a user without an account, who the program runs as. Raises
        `GradingError` where the sandbox can't be made.
        """
        self._limits = limits
        self._command = command[0]
        self._hold: Hold | None = None
        uid = next(_uids) if os.getuid() == 0 else None
        if uid is not None and is_writable:
            _give(folder, uid)
        gate, self._gate = os.pipe()
        told, ready = os.pipe()
        info, info_end = os.pipe()
        orders = json.dumps(
            {
                "uid": uid,
                "folder": FOLDER,
                "limits": _list_limits(limits),
                "ready": ready,
                "gate": gate,
            }
        )
        self._started_s = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [
                    *_wrap(folder, uid, is_writable, info_end),
                    *(_SYSTEM_PYTHON, "-I", "-S", "-B", "/inside.py", orders, *command),
                ],
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
            _Stream(stream, limits.output_bytes, self._process.kill, at_first)
            for stream, at_first in ((self._process.stdout, look), (self._process.stderr, None))
            if stream is not None
        ]
        try:
            self.pid = self._find_program(told, info)
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
            raise GradingError(f"{self._command} could not be started in the sandbox")
        hold.reach_first_instruction()

    def release(self) -> None:
        """Let it run; its time counts from now."""
        self._started_s = time.monotonic()
        if self._hold is not None:
            self._hold.release()
        self._open_gate()

    def run_to_exit(self) -> bool:
        """Let it run, held still until it is about to end; False if it ended otherwise.

        Then all that it has is still there to be read, until it is released. Needs `hold` before.
        """
        assert self._hold is not None
        self._started_s = time.monotonic()
        return self._hold.run_to_exit(self.is_running)

    def is_running(self) -> bool:
        """Whether it runs, and has time left; one that has none is ended here."""
        if self._process.poll() is not None:
            return False
        if time.monotonic() - self._started_s > self._limits.seconds:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def finish(self) -> Run:
        """Wait for its end, or for the end of its time, and return how it ended."""
        while self.is_running():
            time.sleep(0.005)
        seconds = time.monotonic() - self._started_s
        for stream in self._streams:
            stream.join()
        code = self._process.returncode
        is_late = seconds > self._limits.seconds
        is_too_long = any(stream.is_too_long for stream in self._streams)
        return Run(
            exit_code=128 - code if code > 128 else code,
            ended_by="output" if is_too_long else "time" if is_late else "itself",
            seconds=seconds,
            output=self._streams[0].text,
            errors=self._streams[1].text,
        )

    def close(self) -> None:
        """End it, with all that it has started."""
        self._process.kill()
        self._process.wait()
        for stream in self._streams:
            stream.join()
        self._open_gate(with_byte=False)

    def _find_program(self, told: int, info: int) -> int:
        """Return the number of the process that waits at the gate, once it does."""
        is_ready = select.select([told], [], [], _START_S)[0] and os.read(told, 1)
        with contextlib.suppress(ValueError, KeyError, IndexError, psutil.Error):
            first = psutil.Process(json.loads(os.read(info, _CHUNK_BYTES))["child-pid"])
            if is_ready:
                return int(first.children()[0].pid)
        self.close()
        said = self._streams[1].text.strip().splitlines()
        reason = said[-1] if said else "no reason given"
        raise GradingError(f"the sandbox could not be made: {reason}")

    def _open_gate(self, with_byte: bool = True) -> None:
        if self._gate < 0:
            return
        with contextlib.suppress(BrokenPipeError):
            if with_byte:
                os.write(self._gate, b"+")
        os.close(self._gate)
        self._gate = -1


class _Stream(threading.Thread):
    """Reads an output to its end, keeping the first so many bytes; more of it is too much."""

    def __init__(
        self,
        stream: IO[bytes],
        limit_bytes: int,
        on_too_long: Callable[[], object],
        look: Callable[[], object] | None,
    ) -> None:
        super().__init__(daemon=True)
        self._stream, self._limit_bytes, self._on_too_long = stream, limit_bytes, on_too_long
        self._look, self._look_at_bytes = look, 1.0
        self._kept = bytearray()
        self.is_too_long = False
        self.start()

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace")

    def run(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), _CHUNK_BYTES):
                self._kept += chunk[: self._limit_bytes - len(self._kept)]
                if self._look and len(self._kept) >= self._look_at_bytes:
                    self._look()
                    self._look_at_bytes = _LOOK_AGAIN * len(self._kept)
                if len(self._kept) >= self._limit_bytes and not self.is_too_long:
                    self.is_too_long = True
                    self._on_too_long()


def _list_limits(limits: Limits) -> dict[str, int]:
    memory = {} if limits.memory_bytes is None else {"DATA": limits.memory_bytes}
    return {
        **memory,
        "STACK": 8 << 20,
        "NPROC": limits.processes,
        "FSIZE": limits.file_bytes,
        "NOFILE": limits.open_files,
        "CPU": int(limits.seconds) + 1,
        "CORE": 0,
    }


def _wrap(folder: Path, uid: int | None, is_writable: bool, info_end: int) -> list[str]:
    system = []
    for path in _SYSTEM_FILES:
        if os.path.islink(path):
            system += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            system += ["--ro-bind", path, path]
    may_change_user = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [
        "bwrap",
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        *("--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *(["--unshare-user"] if uid is None else may_change_user),
        *("--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LC_ALL", "C.UTF-8"),
        *("--setenv", "HOME", FOLDER, "--setenv", "TMPDIR", FOLDER),
        *("--setenv", *_OVERWRITE_FREED, "--info-fd", str(info_end)),
        *system,
        *("--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"),
        *("--proc", "/proc", "--tmpfs", "/tmp"),
        *("--bind" if is_writable else "--ro-bind", str(folder), FOLDER),
        *("--ro-bind", str(_INSIDE), "/inside.py", "--"),
    ]


def _give(folder: Path, uid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)
