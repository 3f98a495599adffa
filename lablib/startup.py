"""Start a program and hold it before its first instruction, so that a tracer can attach in time.

The program is started under ptrace. A statically linked one is held where exec has just put it. In
any other the dynamic linker has to map the libraries first, so it is let run from one system call
to the next, up to the one that makes the program's relocated data read-only (RELRO): then all
libraries are mapped and relocated, and none of their constructors has run. That holds for glibc and
for musl. For a program linked without RELRO the first library's counts. Should a system call come
from outside the linker before that, the program is held there and called late.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from lablib.errors import AppError, LabError, TargetError, ToolMissingError, TracerError
from lablib.linking import LinkedProgram, read_linked_program
from lablib.ptrace import (
    CONT,
    DETACH,
    EXEC_STOP,
    OPTIONS,
    SETOPTIONS,
    SETSIGMASK,
    SYSCALL,
    SYSCALL_ENTRY,
    SYSCALL_STOP,
    TRACEME,
    ptrace,
    read_syscall,
)

GRACE_S = 2.0
"""How long `HeldProgram.close` lets a running program end by itself after SIGTERM, in seconds."""

_PR_SET_PDEATHSIG = 1
_TRACE_RUNNING = "start it yourself, then run: ./lab trace --pid N"
_TRACE_AS_ROOT = "start it yourself, then run: sudo ./lab trace --pid N"

Streams: TypeAlias = tuple[int, int, int]

_libc = ctypes.CDLL(None, use_errno=True)


class HeldProgram(AbstractContextManager["HeldProgram"]):
    """A program that stands still, its libraries mapped, before any of their code has run.

    It has its starter's folder and process group, the environment and the standard streams that it
    is given, and no other open file. It gets SIGTERM should the thread that started it end. That
    thread alone may release it.
    """

    pid: int = 0
    """The program's process id."""
    is_late: bool
    """Whether a library's code may have run: only with no RELRO anywhere, or under LD_AUDIT."""

    def __init__(
        self,
        command: Sequence[str],
        streams: Streams = (0, 1, 2),
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Start `command` and return once it is held.

        `streams` are the descriptors for its standard input, output and error.
        Raises `ToolMissingError` where there is no such program, `AppError` where it can't be run
        or ends before its first instruction, `TargetError` where it would lose rights by being
        held, and `TracerError` where this machine allows no ptrace.
        """
        program = _Program(_find_program(command), command, streams, environment)
        self.is_late = False
        self._name = command[0]
        self._exit_code: int | None = None
        self._holder: int | None = threading.get_ident()
        try:
            with _signals_held_back() as mask:
                self.pid = _fork_traced(program)
            self._reach_exec(mask)
            _check_rights(self.pid, self._name)
            image = read_linked_program(self.pid, self._name)
            if image is not None:
                self._run_linker(image)
        except BaseException as error:
            if self.pid:
                self.close()
            if isinstance(error, OSError):
                raise self._explain(error) from None
            raise

    def __exit__(self, *_: object) -> None:
        """End the program if it still runs."""
        self.close()

    def __del__(self) -> None:
        """End what nobody can release any more: an interrupt may come just before the `with`."""
        if self.pid and self._holder is not None:
            self.close()

    def release(self) -> None:
        """Let the program run; does nothing if it has been released before."""
        if self._holder is None:
            return
        if self._holder != threading.get_ident():
            raise TracerError(f"{self._name} can only be released by the thread that started it")
        with contextlib.suppress(ProcessLookupError):  # killed in the meantime
            ptrace(DETACH, self.pid)
        self._holder = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while the program has not ended."""
        if self._exit_code is None:
            self._wait_for_change(os.WNOHANG)
        return self._exit_code

    def wait(self, timeout_s: float | None = None) -> int:
        """Return the exit code once the program ends by itself; it must have been released.

        Raises `subprocess.TimeoutExpired` after `timeout_s` seconds.
        """
        deadline = time.monotonic() + (timeout_s or 0.0)
        while (exit_code := self.poll()) is None:
            if timeout_s is None:
                self._wait_for_change()
            elif time.monotonic() < deadline:
                time.sleep(0.01)
            else:
                raise subprocess.TimeoutExpired(self._name, timeout_s)
        return exit_code

    def close(self) -> None:
        """End the program if it still runs: by SIGTERM, and by SIGKILL if held or unwilling."""
        if self.poll() is not None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            try:
                if self._holder is None:
                    os.kill(self.pid, signal.SIGTERM)
                    self.wait(GRACE_S)
            finally:
                if self.poll() is None:
                    os.kill(self.pid, signal.SIGKILL)
                    self.wait()

    def _wait_for_change(self, options: int = 0) -> int | None:
        """Return how the program stopped, or None if it did not; note its exit code if it ended."""
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:  # SIGCHLD is ignored here: the code is lost, as with subprocess
            pid, status = self.pid, 0
        if pid == 0:
            return None
        if os.WIFSTOPPED(status):
            return status >> 8
        self._exit_code = os.waitstatus_to_exitcode(status)
        return None

    def _reach_exec(self, mask: set[int]) -> None:
        if self._wait_for_change() is None:
            raise TracerError(
                "this machine lets no program be held at its start: ptrace is refused",
                _TRACE_RUNNING,
            )
        ptrace(SETOPTIONS, self.pid, data=OPTIONS)
        ptrace(CONT, self.pid)
        while (stop := self._wait_for_change()) != EXEC_STOP:
            if stop is None:
                raise _explain_failed_exec(self._name, self._exit_code or 0)
            ptrace(CONT, self.pid, data=stop & 0x7F)
        bits = ctypes.c_uint64(sum(1 << (number - 1) for number in mask))
        ptrace(SETSIGMASK, self.pid, ctypes.sizeof(bits), ctypes.addressof(bits))

    def _run_linker(self, image: LinkedProgram) -> None:
        """Let the dynamic linker run until it has mapped and relocated what it loads."""
        stop: int | None = SYSCALL_STOP
        while True:
            ptrace(SYSCALL, self.pid, data=0 if stop == SYSCALL_STOP else (stop or 0) & 0x7F)
            stop = self._wait_for_change()
            if stop is None:
                raise self._explain_end()
            call = read_syscall(self.pid)
            if call.kind == SYSCALL_ENTRY:
                # The linker makes its own system calls: one from elsewhere is made by loaded code.
                self.is_late = call.instruction_pointer not in image.linker
                if self.is_late or image.is_relocated_by(call):
                    return

    def _explain_end(self) -> LabError:
        message = f"{self._name} ended before its first instruction"
        code = self._exit_code or 0
        if code < 0:
            return AppError(f"{message}, by signal {-code}")
        return AppError(
            f"{message} with exit code {code}", "see what it printed: a library may be missing"
        )

    def _explain(self, error: OSError) -> LabError:
        if self.pid == 0:
            return AppError(f"{self._name} can't be started ({error.strerror})")
        if isinstance(error, (ProcessLookupError, FileNotFoundError)):
            return self._explain_end()
        if isinstance(error, PermissionError):
            return TargetError(f"you may run {self._name}, but not read its file", _TRACE_AS_ROOT)
        return TracerError(
            f"{self._name} can't be held at its start ({error.strerror})",
            f"that needs Linux 5.3; {_TRACE_RUNNING}",
        )


def _find_program(command: Sequence[str]) -> str:
    if not command:
        raise AppError("there is no command to start")
    found = shutil.which(command[0])
    if found is None and "/" not in command[0]:
        raise _missing(command[0])
    return found or command[0]


def _missing(name: str) -> ToolMissingError:
    return ToolMissingError(
        f"there is no program called {name!r}", "check its spelling, or give its path"
    )


@contextlib.contextmanager
def _signals_held_back() -> Iterator[set[int]]:
    """Block all signals, so that none comes between a fork and the note that it was made."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield {int(number) for number in mask}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@dataclass(frozen=True)
class _Program:
    """What a child is to become."""

    path: str
    command: Sequence[str]
    streams: Streams
    environment: Mapping[str, str]


def _fork_traced(program: _Program) -> int:
    parent_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(program, parent_pid)
    return pid


def _become(program: _Program, parent_pid: int) -> NoReturn:
    """In the child: exec the program, traced by the parent; exits with the errno if it can't."""
    failure = errno.EINVAL
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent_pid:
            for target, descriptor in enumerate(program.streams):
                os.dup2(descriptor, target)
            os.closerange(3, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)
            ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            # From here on PTRACE_O_EXITKILL guards it: what remains is for after the release.
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            os.execve(program.path, list(program.command), dict(program.environment))
    except OSError as error:
        failure = error.errno or failure
    finally:
        os._exit(failure)


def _explain_failed_exec(name: str, failure: int) -> LabError:
    if failure == errno.ENOENT and not os.path.exists(name):
        return _missing(name)
    reasons = {
        errno.ENOENT: ("the interpreter or loader that it asks for is missing", ""),
        errno.EACCES: ("it is not an executable file of yours", f"try: chmod +x {name}"),
        errno.ENOEXEC: (
            "it is not a program of this machine",
            "if it is a script, its first line must be like #!/bin/sh",
        ),
    }
    unknown = (os.strerror(failure) if failure >= 0 else f"signal {-failure}", "")
    reason, fix = reasons.get(failure, unknown)
    return AppError(f"{name} can't be started: {reason}", fix)


def _check_rights(pid: int, name: str) -> None:
    """Raise `TargetError` if exec would have given the program rights, but for the ptrace."""
    caller_uid = os.geteuid()
    if caller_uid == 0:
        return
    file = f"/proc/{pid}/exe"
    status = os.stat(file)
    sets_user = status.st_mode & stat.S_ISUID and status.st_uid != caller_uid
    runs_as_group = stat.S_ISGID | stat.S_IXGRP
    sets_group = status.st_mode & runs_as_group == runs_as_group and status.st_gid != os.getegid()
    if sets_user or sets_group or "security.capability" in os.listxattr(file):
        raise TargetError(
            f"{name} has rights of its own (setuid, setgid or capabilities) that it would lose "
            "if it were held at its start",
            _TRACE_AS_ROOT,
        )
