"""Hold a process under ptrace from its exec to its first instruction, and let it go.

A statically linked program is held where exec has just put it. In any other the dynamic linker has
to map the libraries first, so it is let run from one system call to the next, up to the one that
makes the program's relocated data read-only (RELRO): then all libraries are mapped and relocated,
and none of their constructors has run. That holds for glibc and for musl. For a program linked
without RELRO the first library's counts. Should a system call come from outside the linker before
that, the program is held there and called late.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import threading
import time
from collections.abc import Callable

from lablib.errors import AppError, LabError, TargetError, TracerError
from lablib.language import term
from lablib.linking import LinkedProgram, read_linked_program
from lablib.ptrace import (
    CONT,
    DETACH,
    EXEC_STOP,
    EXIT_STOP,
    OPTIONS,
    SEIZE,
    SETOPTIONS,
    SETSIGMASK,
    SYSCALL,
    SYSCALL_ENTRY,
    SYSCALL_STOP,
    TRACE_EXIT,
    ptrace,
    read_syscall,
)

TRACE_RUNNING = term("start it yourself, then run: ./lab trace --pid N")
TRACE_AS_ROOT = term("start it yourself, then run: sudo ./lab trace --pid N")

_POLL_S = 0.002


class Hold:
    """A process that this thread holds by ptrace; only this thread may go on with it."""

    def __init__(self, pid: int, name: str) -> None:
        """Take process `pid`, which is or will be traced by this thread; `name` is for messages."""
        self.pid = pid
        self.is_late = False
        self.is_at_exit = False
        self.exit_code: int | None = None
        self.has_executed = False
        self._name = name
        self._holder: int | None = threading.get_ident()

    @property
    def is_held(self) -> bool:
        """Whether it has not been released yet."""
        return self._holder is not None

    def seize(self) -> None:
        """Begin to trace a process that runs, without stopping it; raises `OSError`."""
        ptrace(SEIZE, self.pid, data=OPTIONS)

    def begin(self) -> bool:
        """Let a child go on that has asked to be traced and stopped itself; False if it ended."""
        if self.wait_for_change() is None:
            return False
        ptrace(SETOPTIONS, self.pid, data=OPTIONS)
        ptrace(CONT, self.pid)
        return True

    def reach_exec(self) -> bool:
        """Return once the process has become its program; False if it ended before."""
        while (stop := self.wait_for_change()) != EXEC_STOP:
            if stop is None:
                return False
            ptrace(CONT, self.pid, data=stop & 0x7F)
        return True

    def set_signal_mask(self, mask: set[int]) -> None:
        """Have the process block these signals, and no others; raises `OSError`."""
        bits = ctypes.c_uint64(sum(1 << (number - 1) for number in mask))
        ptrace(SETSIGMASK, self.pid, ctypes.sizeof(bits), ctypes.addressof(bits))

    def reach_first_instruction(self) -> None:
        """Return once all libraries are mapped, and none of their code has run.

        Raises `TargetError` where the program would lose rights by being held, `AppError` where it
        ends before, and `OSError`.
        """
        _check_rights(self.pid, self._name)
        image = read_linked_program(self.pid, self._name)
        if image is not None:
            self._run_linker(image)

    def run_to_exit(self, is_wanted: Callable[[], bool]) -> bool:
        """Let the process run, and hold it again when it is about to end; False if it just ended.

        `has_executed` says afterwards whether it has become another program on its way.
        `is_wanted` is asked meanwhile: without it there is no more waiting, and the process runs
        on. At its exit the process still has its memory and its open files. Raises `OSError`.
        """
        ptrace(SETOPTIONS, self.pid, data=OPTIONS | TRACE_EXIT)
        ptrace(CONT, self.pid)
        while is_wanted():
            stop = self.wait_for_change(os.WNOHANG)
            if stop == EXIT_STOP:
                self.is_at_exit = True
                return True
            self.has_executed |= stop == EXEC_STOP
            if self.exit_code is not None:
                return False
            if stop is None:
                time.sleep(_POLL_S)
            else:
                ptrace(CONT, self.pid, data=stop & 0x7F)
        return False

    def release(self) -> None:
        """Let the process run; does nothing if it has been released before."""
        if self._holder is None:
            return
        if self._holder != threading.get_ident():
            raise TracerError(
                term("{name} can only be released by the thread that started it", name=self._name)
            )
        with contextlib.suppress(ProcessLookupError):  # killed in the meantime
            ptrace(DETACH, self.pid)
        self._holder = None

    def wait_for_change(self, options: int = 0) -> int | None:
        """Return how the process stopped, or None if it did not; note its exit code if it ended."""
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:  # SIGCHLD is ignored here: the code is lost, as with subprocess
            pid, status = self.pid, 0
        if pid == 0:
            return None
        if os.WIFSTOPPED(status):
            return status >> 8
        self.exit_code = os.waitstatus_to_exitcode(status)
        return None

    def _run_linker(self, image: LinkedProgram) -> None:
        """Let the dynamic linker run until it has mapped and relocated what it loads."""
        stop: int | None = SYSCALL_STOP
        while True:
            ptrace(SYSCALL, self.pid, data=0 if stop == SYSCALL_STOP else (stop or 0) & 0x7F)
            stop = self.wait_for_change()
            if stop is None:
                raise self.explain_end()
            call = read_syscall(self.pid)
            if call.kind == SYSCALL_ENTRY:
                # The linker makes its own system calls: one from elsewhere is made by loaded code.
                self.is_late = call.instruction_pointer not in image.linker
                if self.is_late or image.is_relocated_by(call):
                    return

    def explain_end(self) -> LabError:
        """Return the error for a program that has ended too early."""
        code = self.exit_code or 0
        if code < 0:
            return AppError(
                term(
                    "{name} ended before its first instruction, by signal {signal}",
                    name=self._name,
                    signal=-code,
                )
            )
        return AppError(
            term(
                "{name} ended before its first instruction with exit code {code}",
                name=self._name,
                code=code,
            ),
            term("see what it printed: a library may be missing"),
        )


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
            term(
                "{name} has rights of its own (setuid, setgid or capabilities) that it would lose "
                "if it were held at its start",
                name=name,
            ),
            TRACE_AS_ROOT,
        )
