"""Reading a BPF hash map in one system call, into packed arrays.

bcc's own way makes a Python object for each entry, and its batch functions are missing from the
older releases that we support.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

_BPF_MAP_LOOKUP_BATCH = 24  # enum bpf_cmd; Linux 5.6
_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}


class _BatchAttributes(ctypes.Structure):
    """The `batch` member of `union bpf_attr`, from the kernel's uapi/linux/bpf.h."""

    _fields_ = (
        ("in_batch", ctypes.c_uint64),
        ("out_batch", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("map_fd", ctypes.c_uint32),
        ("elem_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


def read_hash_map(
    map_fd: int, key_bytes: int, value_bytes: int, max_entries: int
) -> tuple[int, bytes]:
    """Return how many entries a hash map holds, and their values packed one behind the other.

    Raises `OSError` when the kernel refuses.
    """
    keys = ctypes.create_string_buffer(key_bytes * max_entries)
    values = ctypes.create_string_buffer(value_bytes * max_entries)
    cursor = ctypes.c_uint64(0)
    attributes = _BatchAttributes(
        out_batch=ctypes.addressof(cursor),
        keys=ctypes.addressof(keys),
        values=ctypes.addressof(values),
        count=max_entries,
        map_fd=map_fd,
    )
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(
        ctypes.c_long(_BPF_SYSCALL[platform.machine()]),
        ctypes.c_int(_BPF_MAP_LOOKUP_BATCH),
        ctypes.byref(attributes),
        ctypes.c_uint(ctypes.sizeof(attributes)),
    )
    if result != 0 and ctypes.get_errno() != errno.ENOENT:  # ENOENT: that was all of it
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    size_bytes = attributes.count * value_bytes
    return attributes.count, ctypes.string_at(values, size_bytes)
