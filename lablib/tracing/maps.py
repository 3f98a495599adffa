"""BPF maps by the kernel's own system call: make one like another, read one in a single call.

bcc's own way of reading makes a Python object for each entry, and its batch functions are missing
from the older releases that we support.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

# enum bpf_cmd, in the kernel's uapi/linux/bpf.h
_BPF_MAP_CREATE = 0
_BPF_OBJ_GET_INFO_BY_FD = 15
_BPF_MAP_LOOKUP_BATCH = 24  # Linux 5.6
_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}


class MapShape(ctypes.Structure):
    """The start of `struct bpf_map_info`: all that it takes to make an empty map like another."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
    )


class _InfoAttributes(ctypes.Structure):
    """The `info` member of `union bpf_attr`."""

    _fields_ = (
        ("bpf_fd", ctypes.c_uint32),
        ("info_len", ctypes.c_uint32),
        ("info", ctypes.c_uint64),
    )


class _CreateAttributes(ctypes.Structure):
    """The first members of `union bpf_attr` for BPF_MAP_CREATE."""

    _fields_ = (
        ("map_type", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
    )


class _BatchAttributes(ctypes.Structure):
    """The `batch` member of `union bpf_attr`."""

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
    try:
        _bpf(_BPF_MAP_LOOKUP_BATCH, attributes)
    except OSError as error:
        if error.errno != errno.ENOENT:  # ENOENT: that was all of it
            raise
    return attributes.count, ctypes.string_at(values, attributes.count * value_bytes)


def read_map_shape(map_fd: int) -> MapShape:
    """Return the type and the sizes of a map; raises `OSError`."""
    shape = MapShape()
    _bpf(
        _BPF_OBJ_GET_INFO_BY_FD,
        _InfoAttributes(map_fd, ctypes.sizeof(shape), ctypes.addressof(shape)),
    )
    return shape


def create_map(shape: MapShape) -> int:
    """Return the descriptor of a new, empty map; raises `OSError`."""
    return _bpf(
        _BPF_MAP_CREATE,
        _CreateAttributes(
            shape.type, shape.key_size, shape.value_size, shape.max_entries, shape.map_flags
        ),
    )


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(
        ctypes.c_long(_BPF_SYSCALL[platform.machine()]),
        ctypes.c_int(command),
        ctypes.byref(attributes),
        ctypes.c_uint(ctypes.sizeof(attributes)),
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)
