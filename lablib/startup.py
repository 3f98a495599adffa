"""Start a program and hold it before its first instruction, so that a tracer can attach in time."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from lablib.errors import AppError, LabError, TargetError, ToolMissingError, TracerError
from lablib.holding import TRACE_AS_ROOT, TRACE_RUNNING, Hold
from lablib.language import term
from lablib.ptrace import TRACEME, ptrace
from lablib.wording import os_reason

GRACE_S = 2.0
"""How long `HeldProgram.close` lets a running program end by itself after SIGTERM, in seconds."""

_PR_SET_PDEATHSIG = 1

Streams: TypeAlias = tuple[int, int, int]

_libc = ctypes.CDLL(None, use_errno=True)


class HeldProgram(AbstractContextManager["HeldProgram"]):
    """A program that stands still, its libraries mapped, before any of their code has run.

    It has its starter's folder and process group, the environment and the standard streams that it
    is given, and no other open file. It gets SIGTERM should the thread that started it end. That
    thread alone may release it.
    """

    _hold: Hold | None = None

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
        self._name = command[0]
        try:
            with _signals_held_back() as mask:
                self._hold = Hold(_fork_traced(program), self._name)
            self._reach_exec(self._hold, mask)
            self._hold.reach_first_instruction()
        except BaseException as error:
            if self._hold:
                self.close()
            if isinstance(error, OSError):
                raise self._explain(error) from None
            raise

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._held.pid

    @property
    def is_late(self) -> bool:
        """Whether a library's code may have run: only with no RELRO anywhere, or under LD_AUDIT."""
        return self._held.is_late

    @property
    def _held(self) -> Hold:
        assert self._hold is not None
        return self._hold

    def __exit__(self, *_: object) -> None:
        """End the program if it still runs."""
        self.close()

    def __del__(self) -> None:
        """End what nobody can release any more: an interrupt may come just before the `with`."""
        if self._hold and self._hold.is_held:
            self.close()

    def release(self) -> None:
        """Let the program run; does nothing if it has been released before."""
        self._held.release()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while the program has not ended."""
        if self._held.exit_code is None:
            self._held.wait_for_change(os.WNOHANG)
        return self._held.exit_code

    def wait(self, timeout_s: float | None = None) -> int:
        """Return the exit code once the program ends by itself; it must have been released.

        Raises `subprocess.TimeoutExpired` after `timeout_s` seconds.
        """
        deadline = time.monotonic() + (timeout_s or 0.0)
        while (exit_code := self.poll()) is None:
            if timeout_s is None:
                self._held.wait_for_change()
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
                if not self._held.is_held:
                    os.kill(self.pid, signal.SIGTERM)
                    self.wait(GRACE_S)
            finally:
                if self.poll() is None:
                    os.kill(self.pid, signal.SIGKILL)
                    self.wait()

    def _reach_exec(self, hold: Hold, mask: set[int]) -> None:
        if not hold.begin():
            raise TracerError(
                term("this machine lets no program be held at its start: ptrace is refused"),
                TRACE_RUNNING,
            )
        if not hold.reach_exec():
            raise _explain_failed_exec(self._name, hold.exit_code or 0)
        hold.set_signal_mask(mask)

    def _explain(self, error: OSError) -> LabError:
        if self._hold is None:
            return AppError(
                term("{name} can't be started ({reason})", name=self._name, reason=os_reason(error))
            )
        if isinstance(error, (ProcessLookupError, FileNotFoundError)):
            return self._hold.explain_end()
        if isinstance(error, PermissionError):
            return TargetError(
                term("you may run {name}, but not read its file", name=self._name), TRACE_AS_ROOT
            )
        return TracerError(
            term(
                "{name} can't be held at its start ({reason})",
                name=self._name,
                reason=os_reason(error),
            ),
            term("that needs Linux 5.3; {fix}", fix=TRACE_RUNNING),
        )


def _find_program(command: Sequence[str]) -> str:
    if not command:
        raise AppError(term("there is no command to start"))
    found = shutil.which(command[0])
    if found is None and "/" not in command[0]:
        raise _missing(command[0])
    return found or command[0]


def _missing(name: str) -> ToolMissingError:
    return ToolMissingError(
        term("there is no program called {name!r}", name=name),
        term("check its spelling, or give its path"),
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
        errno.ENOENT: (term("the interpreter or loader that it asks for is missing"), ""),
        errno.EACCES: (
            term("it is not an executable file of yours"),
            term("try: chmod +x {name}", name=name),
        ),
        errno.ENOEXEC: (
            term("it is not a program of this machine"),
            term("if it is a script, its first line must be like #!/bin/sh"),
        ),
    }
    by_signal = term("signal {number}", number=-failure)
    unknown = (os.strerror(failure) if failure >= 0 else by_signal, "")
    reason, fix = reasons.get(failure, unknown)
    return AppError(term("{name} can't be started: {reason}", name=name, reason=reason), fix)
