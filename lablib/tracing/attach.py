"""Attach loaded programs to instructions and to tracepoints, by the kernel's own system calls.

Where the kernel has them (Linux 6.6), one link takes all the probes of a program, and gives them
back at once; elsewhere each probe is a perf event. Both are nothing but file descriptors: what
closes them detaches. bcc's own way may leave a line in the tracefs behind, and takes no links.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from lablib.tracing.bytecode import KPROBE, load_code
from lablib.tracing.formats import find_event
from lablib.tracing.maps import bpf

UPROBE_MULTI = 48
"""BPF_TRACE_UPROBE_MULTI of enum bpf_attach_type: a program for such a link is loaded as such."""

MINOR_FAULTS, MAJOR_FAULTS = 5, 6
"""PERF_COUNT_SW_PAGE_FAULTS_MIN and _MAJ of enum perf_sw_ids."""

ALL_PROCESSES = -1
_NO_PROCESS = -2

_BPF_RAW_TRACEPOINT_OPEN = 17
_BPF_LINK_CREATE = 28
_RETURN = 1  # BPF_F_UPROBE_MULTI_RETURN
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_PERF_TYPE_SOFTWARE, _PERF_TYPE_TRACEPOINT = 1, 2
_PERF_FLAG_FD_CLOEXEC = 8
_PERF_IOC_SET_BPF = 0x40042408
_PERF_IOC_ENABLE = 0x2400
_ONLINE = Path("/sys/devices/system/cpu/online")
_UPROBE_PMU = Path("/sys/bus/event_source/devices/uprobe")
_RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
"""The shortest program: r0 = 0; exit."""


class _LinkAttributes(ctypes.Structure):
    """The `link_create` member of `union bpf_attr`, for uprobe_multi."""

    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("path", ctypes.c_uint64),
        ("offsets", ctypes.c_uint64),
        ("ref_ctr_offsets", ctypes.c_uint64),
        ("cookies", ctypes.c_uint64),
        ("cnt", ctypes.c_uint32),
        ("multi_flags", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
    )


class _RawTracepointAttributes(ctypes.Structure):
    """The `raw_tracepoint` member of `union bpf_attr`."""

    _fields_ = (("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint32))


class _PerfEventAttributes(ctypes.Structure):
    """`struct perf_event_attr` as of its fifth version (112 bytes)."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("uprobe_path", ctypes.c_uint64),
        ("probe_offset", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 5),
    )


def has_uprobe_links() -> bool:
    """Return whether this kernel has links that are good for the probes of one process.

    Asks for one on a folder, which can't be had: the error tells how far the kernel went. The first
    kernels with such links did not look at the process's number so early, and ran the program in
    the process's first thread only.
    """
    folder = ctypes.create_string_buffer(b"/")
    try:
        program = load_code("try_link", _RETURN_0, KPROBE, UPROBE_MULTI)
    except OSError:
        return False
    try:
        errors = []
        for pid in (ALL_PROCESSES, _NO_PROCESS):
            try:
                os.close(_create_link(program, folder, [0], False, pid))
            except OSError as error:
                errors.append(error.errno)
    finally:
        os.close(program)
    return errors == [errno.EBADF, errno.EINVAL]


def attach_uprobes(
    program_fd: int, file: int, offsets: Sequence[int], is_return: bool, pid: int, by_link: bool
) -> list[int]:
    """Put a program on instructions of an open file, in one process or in `ALL_PROCESSES`.

    `pid` may be a thread's. Return the descriptors that hold it there; raises `OSError`.
    """
    path = ctypes.create_string_buffer(f"/proc/self/fd/{file}".encode())
    if by_link:
        return [_create_link(program_fd, path, offsets, is_return, pid)]
    held: list[int] = []
    try:
        for offset in offsets:
            held.append(_open_uprobe_event(path, offset, is_return, pid))
            _start_event(held[-1], program_fd)
    except BaseException:
        for descriptor in held:
            os.close(descriptor)
        raise
    return held


def attach_tracepoint(program_fd: int, event: str) -> int:
    """Put a program on a tracepoint, for example "syscalls:sys_enter_mmap"; raises `OSError`."""
    found = find_event(event)
    if found is None:
        raise OSError(errno.ENOENT, f"this kernel has no tracepoint {event}")
    attributes = _PerfEventAttributes(
        type=_PERF_TYPE_TRACEPOINT, config=int((found / "id").read_text()), sample_period=1
    )
    descriptor = _open_event(attributes, ALL_PROCESSES)
    try:
        _start_event(descriptor, program_fd)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def attach_raw_tracepoint(program_fd: int, event: str) -> int:
    """Put a program on a raw tracepoint, for example "sched_process_exec"; raises `OSError`."""
    name = ctypes.create_string_buffer(event.encode())
    attributes = _RawTracepointAttributes(ctypes.addressof(name), program_fd)
    return bpf(_BPF_RAW_TRACEPOINT_OPEN, attributes)


def read_processors() -> frozenset[int]:
    """Return the numbers of the processors that are in use; raises `OSError`."""
    found: set[int] = set()
    for span in _ONLINE.read_text().strip().split(","):
        first, _, last = span.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def attach_software_event(program_fd: int, event: int, processors: Iterable[int]) -> None:
    """Put a program on each event of a kind on these processors, whatever process it is in.

    Raises `OSError`.
    """
    for processor in processors:
        attributes = _PerfEventAttributes(type=_PERF_TYPE_SOFTWARE, config=event, sample_period=1)
        _start_event(_open_event(attributes, ALL_PROCESSES, processor), program_fd)


def _create_link(
    program_fd: int,
    path: ctypes.Array[ctypes.c_char],
    offsets: Sequence[int],
    is_return: bool,
    pid: int,
) -> int:
    words = (ctypes.c_uint64 * len(offsets))(*offsets)
    return bpf(
        _BPF_LINK_CREATE,
        _LinkAttributes(
            prog_fd=program_fd,
            attach_type=UPROBE_MULTI,
            path=ctypes.addressof(path),
            offsets=ctypes.addressof(words),
            cnt=len(offsets),
            multi_flags=_RETURN if is_return else 0,
            pid=0 if pid == ALL_PROCESSES else pid,
        ),
    )


def _open_uprobe_event(
    path: ctypes.Array[ctypes.c_char], offset: int, is_return: bool, pid: int
) -> int:
    return_bit = int((_UPROBE_PMU / "format" / "retprobe").read_text().split(":")[1])
    attributes = _PerfEventAttributes(
        type=int((_UPROBE_PMU / "type").read_text()),
        config=1 << return_bit if is_return else 0,
        sample_period=1,
        uprobe_path=ctypes.addressof(path),
        probe_offset=offset,
    )
    return _open_event(attributes, pid)


def _open_event(attributes: _PerfEventAttributes, pid: int, processor: int = 0) -> int:
    """Where `pid` is `ALL_PROCESSES`, one processor must be named; tracepoints then see all."""
    attributes.size = ctypes.sizeof(attributes)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(
        ctypes.c_long(_PERF_EVENT_OPEN[platform.machine()]),
        ctypes.byref(attributes),
        ctypes.c_int(pid),
        ctypes.c_int(processor if pid == ALL_PROCESSES else -1),
        ctypes.c_int(-1),
        ctypes.c_ulong(_PERF_FLAG_FD_CLOEXEC),
    )
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(descriptor)


def _start_event(descriptor: int, program_fd: int) -> None:
    fcntl.ioctl(descriptor, _PERF_IOC_SET_BPF, program_fd)
    fcntl.ioctl(descriptor, _PERF_IOC_ENABLE, 0)
