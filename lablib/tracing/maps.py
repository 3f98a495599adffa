"""BPF maps by the kernel's own system call: make one like another, read and write them in batches.

bcc's own way makes a Python object for each entry, and its batch functions are missing from the
older releases that we support.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import struct
from pathlib import Path

# enum bpf_cmd, in the kernel's uapi/linux/bpf.h; the batches since Linux 5.6
_BPF_MAP_CREATE = 0
_BPF_MAP_LOOKUP_ELEM = 1
_BPF_MAP_UPDATE_ELEM = 2
_BPF_MAP_DELETE_ELEM = 3
_BPF_OBJ_GET_INFO_BY_FD = 15
_BPF_MAP_LOOKUP_BATCH = 24
_BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25
_BPF_MAP_UPDATE_BATCH = 26
_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}

_BATCH_ENTRIES = 4096
_POSSIBLE_PROCESSORS = Path("/sys/devices/system/cpu/possible")


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


class _ElementAttributes(ctypes.Structure):
    """The members of `union bpf_attr` for one element."""

    _fields_ = (
        ("map_fd", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
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
    map_fd: int, key_bytes: int, value_bytes: int, take: bool = False
) -> tuple[bytes, bytes]:
    """Return a hash map's keys and its values, each packed one behind the other.

    `take` removes the entries that it returns. Raises `OSError` when the kernel refuses.
    """
    command = _BPF_MAP_LOOKUP_AND_DELETE_BATCH if take else _BPF_MAP_LOOKUP_BATCH
    keys = ctypes.create_string_buffer(key_bytes * _BATCH_ENTRIES)
    values = ctypes.create_string_buffer(value_bytes * _BATCH_ENTRIES)
    cursor = ctypes.c_uint64(0)
    all_keys, all_values = bytearray(), bytearray()
    is_first, has_more = True, True
    while has_more:
        attributes = _BatchAttributes(
            in_batch=0 if is_first else ctypes.addressof(cursor),
            out_batch=ctypes.addressof(cursor),
            keys=ctypes.addressof(keys),
            values=ctypes.addressof(values),
            count=_BATCH_ENTRIES,
            map_fd=map_fd,
        )
        try:
            bpf(command, attributes)
        except OSError as error:
            if error.errno != errno.ENOENT:  # ENOENT: that was all of it
                raise
            has_more = False
        all_keys += ctypes.string_at(keys, attributes.count * key_bytes)
        all_values += ctypes.string_at(values, attributes.count * value_bytes)
        is_first = False
    return bytes(all_keys), bytes(all_values)


def read_array(map_fd: int, value_bytes: int, count: int) -> bytes:
    """Return the first `count` values of an array, packed; raises `OSError`."""
    if not count:
        return b""
    keys = ctypes.create_string_buffer(4 * count)
    values = ctypes.create_string_buffer(value_bytes * count)
    cursor = ctypes.c_uint64(0)
    attributes = _BatchAttributes(
        out_batch=ctypes.addressof(cursor),
        keys=ctypes.addressof(keys),
        values=ctypes.addressof(values),
        count=count,
        map_fd=map_fd,
    )
    try:
        bpf(_BPF_MAP_LOOKUP_BATCH, attributes)
    except OSError as error:
        if error.errno != errno.ENOENT:  # ENOENT: the array has no more
            raise
    return ctypes.string_at(values, attributes.count * value_bytes)


def read_element(map_fd: int, index: int, value_bytes: int) -> bytes:
    """Return one value of an array; raises `OSError`."""
    key = ctypes.c_uint32(index)
    value = ctypes.create_string_buffer(value_bytes)
    bpf(
        _BPF_MAP_LOOKUP_ELEM,
        _ElementAttributes(map_fd, 0, ctypes.addressof(key), ctypes.addressof(value)),
    )
    return value.raw


def read_per_cpu_element(map_fd: int, index: int) -> tuple[int, ...]:
    """Return an 8-byte value of a per-processor array, one for each processor; raises `OSError`."""
    count = _count_possible_processors()
    return struct.unpack(f"={count}Q", read_element(map_fd, index, 8 * count))


@functools.cache
def _count_possible_processors() -> int:
    """Return how many processors the kernel keeps values for: also those that are not there."""
    spans = _POSSIBLE_PROCESSORS.read_text().strip().split(",")
    edges = ([int(edge) for edge in span.split("-")] for span in spans)
    return sum(edge[-1] - edge[0] + 1 for edge in edges)


def write_element(map_fd: int, index: int, value: bytes) -> None:
    """Set one value of an array; raises `OSError`."""
    key = ctypes.c_uint32(index)
    buffer = ctypes.create_string_buffer(value, len(value))
    bpf(
        _BPF_MAP_UPDATE_ELEM,
        _ElementAttributes(map_fd, 0, ctypes.addressof(key), ctypes.addressof(buffer)),
    )


def write_array(map_fd: int, value_bytes: int, values: bytes) -> None:
    """Set the first values of an array, packed one behind the other; raises `OSError`."""
    count = len(values) // value_bytes
    write_entries(map_fd, count, struct.pack(f"={count}I", *range(count)), values)


def write_entries(map_fd: int, count: int, keys: bytes, values: bytes) -> None:
    """Set `count` entries of a map, keys and values packed; raises `OSError`."""
    if not count:
        return
    key_buffer = ctypes.create_string_buffer(keys, len(keys))
    value_buffer = ctypes.create_string_buffer(values, len(values))
    bpf(
        _BPF_MAP_UPDATE_BATCH,
        _BatchAttributes(
            keys=ctypes.addressof(key_buffer),
            values=ctypes.addressof(value_buffer),
            count=count,
            map_fd=map_fd,
        ),
    )


def delete_entry(map_fd: int, key: bytes) -> None:
    """Remove an entry of a hash map; raises `OSError`, `FileNotFoundError` where there is none."""
    buffer = ctypes.create_string_buffer(key, len(key))
    bpf(_BPF_MAP_DELETE_ELEM, _ElementAttributes(map_fd, 0, ctypes.addressof(buffer), 0))


def read_map_shape(map_fd: int) -> MapShape:
    """Return the type and the sizes of a map; raises `OSError`."""
    shape = MapShape()
    bpf(
        _BPF_OBJ_GET_INFO_BY_FD,
        _InfoAttributes(map_fd, ctypes.sizeof(shape), ctypes.addressof(shape)),
    )
    return shape


def create_map(shape: MapShape, max_entries: int | None = None) -> int:
    """Return the descriptor of a new, empty map, of another size if that is given.

    Raises `OSError`.
    """
    return bpf(
        _BPF_MAP_CREATE,
        _CreateAttributes(
            shape.type,
            shape.key_size,
            shape.value_size,
            max_entries or shape.max_entries,
            shape.map_flags,
        ),
    )


def bpf(command: int, attributes: ctypes.Structure) -> int:
    """Make the system call bpf(2); return what it returns. Raises `OSError`."""
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
