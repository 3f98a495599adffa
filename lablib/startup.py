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
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lablib.errors import AppError, LabError, TargetError, ToolMissingError, TracerError

GRACE_S = 2.0
"""How long `HeldProgram.close` lets a running program end by itself after SIGTERM, in seconds."""

_TRACEME, _CONT, _DETACH, _SYSCALL = 0, 7, 17, 24
_SETOPTIONS, _SETSIGMASK, _GET_SYSCALL_INFO = 0x4200, 0x420B, 0x420E
_OPTIONS = 0x1 | 0x10 | 0x100000  # TRACESYSGOOD, TRACEEXEC, EXITKILL
_EXEC_STOP = signal.SIGTRAP | 4 << 8
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_SYSCALL_ENTRY = 1
_PR_SET_PDEATHSIG = 1
_PROT_READ = 1
_PT_INTERP, _PT_GNU_RELRO = 3, 0x6474E552
_AT_BASE, _AT_ENTRY = 7, 9
_MPROTECT = {0xC000003E: 10, 0xC00000B7: 226, 0xC00000F3: 226}
"""The number of the system call mprotect on x86_64, arm64 and riscv64, by AUDIT_ARCH."""
_ELF_HEADER = struct.Struct("=4sB19xQQ14xHH")
"""The magic, the class, e_entry, e_phoff, e_phentsize and e_phnum."""
_PROGRAM_HEADER = struct.Struct("=I12xQ16xQ8x")
"""p_type, p_vaddr and p_memsz."""
_TRACE_RUNNING = "start it yourself, then run: ./lab trace --pid N"
_TRACE_AS_ROOT = "start it yourself, then run: sudo ./lab trace --pid N"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class HeldProgram(AbstractContextManager["HeldProgram"]):
    """A program that stands still, its libraries mapped, before any of their code has run.

    It has its starter's environment, folder, standard streams and process group, no other open
    file, and gets SIGTERM should the thread that started it end. That thread alone may release it.
    """

    pid: int = 0
    """The program's process id."""
    is_late: bool
    """Whether a library's code may have run: only with no RELRO anywhere, or under LD_AUDIT."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start `command` and return once it is held.

        Raises `ToolMissingError` where there is no such program, `AppError` where it can't be run
        or ends before its first instruction, `TargetError` where it would lose rights by being
        held, and `TracerError` where this machine allows no ptrace.
        """
        program = _find_program(command)
        self.is_late = False
        self._name = command[0]
        self._exit_code: int | None = None
        self._holder: int | None = threading.get_ident()
        try:
            with _signals_held_back() as mask:
                self.pid = _fork_traced(program, command)
            self._reach_exec(mask)
            _check_rights(self.pid, self._name)
            image = _read_image(self.pid, self._name)
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
            _ptrace(_DETACH, self.pid)
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
        _ptrace(_SETOPTIONS, self.pid, data=_OPTIONS)
        _ptrace(_CONT, self.pid)
        while (stop := self._wait_for_change()) != _EXEC_STOP:
            if stop is None:
                raise _explain_failed_exec(self._name, self._exit_code or 0)
            _ptrace(_CONT, self.pid, data=stop & 0x7F)
        bits = ctypes.c_uint64(sum(1 << (number - 1) for number in mask))
        _ptrace(_SETSIGMASK, self.pid, ctypes.sizeof(bits), ctypes.addressof(bits))

    def _run_linker(self, image: _Image) -> None:
        """Let the dynamic linker run until it has mapped and relocated what it loads."""
        stop: int | None = _SYSCALL_STOP
        while True:
            _ptrace(_SYSCALL, self.pid, data=0 if stop == _SYSCALL_STOP else (stop or 0) & 0x7F)
            stop = self._wait_for_change()
            if stop is None:
                raise self._explain_end()
            call = _read_syscall(self.pid)
            if call.kind == _SYSCALL_ENTRY:
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


def _fork_traced(program: str, command: Sequence[str]) -> int:
    parent_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(program, command, parent_pid)
    return pid


def _become(program: str, command: Sequence[str], parent_pid: int) -> NoReturn:
    """In the child: exec the program, traced by the parent; exits with the errno if it can't."""
    failure = errno.EINVAL
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent_pid:
            os.closerange(3, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            # From here on PTRACE_O_EXITKILL guards it: what remains is for after the release.
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            os.execv(program, list(command))
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


class _Syscall(ctypes.Structure):
    """The kernel's struct ptrace_syscall_info, as far as an entry uses it."""

    _fields_ = (
        ("kind", ctypes.c_uint8),
        ("architecture", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


@dataclass(frozen=True)
class _Image:
    """What exec has mapped: where the dynamic linker lies, and what it will make read-only."""

    linker: range
    relro_page: int

    def is_relocated_by(self, call: _Syscall) -> bool:
        """Whether this system call makes the program's relocated data read-only, or a library's."""
        return (
            call.number == _MPROTECT.get(call.architecture)
            and call.arguments[2] == _PROT_READ
            and self.relro_page in (0, call.arguments[0])
        )


def _read_image(pid: int, name: str) -> _Image | None:
    """Return what exec has mapped, None for a program that needs no dynamic linker."""
    with open(f"/proc/{pid}/exe", "rb") as file:
        magic, bits, entry, offset, size, count = _ELF_HEADER.unpack(file.read(_ELF_HEADER.size))
        if (magic, bits) != (b"\x7fELF", 2):
            raise TargetError(f"{name} is not a 64-bit program", "build it for this machine")
        file.seek(offset)
        headers = [_PROGRAM_HEADER.unpack_from(file.read(size)) for _ in range(count)]
    if not any(kind == _PT_INTERP for kind, _, _ in headers):
        return None
    vector = dict(struct.iter_unpack("=QQ", Path(f"/proc/{pid}/auxv").read_bytes()))
    page_mask = -os.sysconf("SC_PAGE_SIZE")
    relro_page = 0
    for kind, address, length in headers:
        start = vector[_AT_ENTRY] - entry + address
        # Both linkers round both ends down to a page, and make no call for nothing.
        if kind == _PT_GNU_RELRO and start & page_mask != (start + length) & page_mask:
            relro_page = start & page_mask
    return _Image(_read_linker_range(pid, vector[_AT_BASE]), relro_page)


def _read_linker_range(pid: int, base: int) -> range:
    """Return the addresses of the file that is mapped at `base`."""
    end, linker = base, ""
    for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
        span, _, _, device, inode = line.split(maxsplit=5)[:5]
        first, last = (int(word, 16) for word in span.split("-"))
        if first == base:
            linker = f"{device} {inode}"
        if linker == f"{device} {inode}":
            end = last
    return range(base, end)


def _read_syscall(pid: int) -> _Syscall:
    call = _Syscall()
    _ptrace(_GET_SYSCALL_INFO, pid, ctypes.sizeof(call), ctypes.addressof(call))
    return call


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, pid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
