"""ptrace, as far as it takes to hold a program: at its start, or for a moment on its way.

See the manual page ptrace(2).
"""

from __future__ import annotations

import ctypes
import os
import signal

TRACEME, POKEUSER, CONT, DETACH, SYSCALL = 0, 6, 7, 17, 24
SETOPTIONS, _GETREGSET, SEIZE, INTERRUPT = 0x4200, 0x4204, 0x4206, 0x4207
SETSIGMASK, _GET_SYSCALL_INFO = 0x420B, 0x420E
OPTIONS = 0x1 | 0x10 | 0x100000  # TRACESYSGOOD, TRACEEXEC, EXITKILL
TRACE_EXIT = 0x40
EXEC_STOP = signal.SIGTRAP | 4 << 8
EXIT_STOP = signal.SIGTRAP | 6 << 8
SYSCALL_STOP = signal.SIGTRAP | 0x80
SYSCALL_ENTRY = 1

GENERAL_REGISTERS = 1  # NT_PRSTATUS, in the kernel's uapi/linux/elf.h
_MAX_REGISTER_BYTES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class Syscall(ctypes.Structure):
    """The kernel's struct ptrace_syscall_info, as far as an entry uses it."""

    _fields_ = (
        ("kind", ctypes.c_uint8),
        ("architecture", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


def read_syscall(pid: int) -> Syscall:
    """Return the system call at which a traced process stands; raises `OSError`."""
    call = Syscall()
    ptrace(_GET_SYSCALL_INFO, pid, ctypes.sizeof(call), ctypes.addressof(call))
    return call


class _Buffer(ctypes.Structure):
    """The kernel's struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_registers(thread: int, which: int) -> bytes:
    """Return a set of a stopped thread's registers (an NT_ number); raises `OSError`."""
    content = ctypes.create_string_buffer(_MAX_REGISTER_BYTES)
    buffer = _Buffer(ctypes.addressof(content), len(content))
    ptrace(_GETREGSET, thread, which, ctypes.addressof(buffer))
    return content.raw[: buffer.length]


def ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    """Make one request; raises `OSError` when the kernel refuses. Only the tracer's thread may."""
    if _libc.ptrace(request, pid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
