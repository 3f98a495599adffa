"""Compiled BPF functions, and how the kernel gets to take them: by its own system call.

An instruction that uses a map holds the number of a file descriptor. Compiled functions keep the
map's name in its place; each session puts in the numbers of its own maps.
"""

from __future__ import annotations

import contextlib
import ctypes
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lablib.tracing.maps import MapShape, bpf, create_map

KPROBE, TRACEPOINT, PERF_EVENT, RAW_TRACEPOINT = 2, 5, 7, 17
"""Of enum bpf_prog_type, in the kernel's uapi/linux/bpf.h; a uprobe's program is a KPROBE."""

INSTRUCTION_BYTES = 8

_BPF_PROG_LOAD = 5
_LOAD_64_BITS = 0x18  # BPF_LD | BPF_IMM | BPF_DW, which takes the place of two instructions
_PSEUDO_MAP_FD = 1  # the source register of one that loads a map
_INSTRUCTION = struct.Struct("=BBhi")  # operation, registers, offset, number
_NUMBER_OFFSET, _NUMBER = 4, struct.Struct("=i")

_MAX_LOG_BYTES = (1 << 24) - 1
_MAX_ATTEMPTS = 5


class _LoadAttributes(ctypes.Structure):
    """The members of `union bpf_attr` for BPF_PROG_LOAD, as far as they are needed."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
    )


@dataclass(frozen=True)
class CompiledFunction:
    """Instructions, and which of them use a map: its name by the instruction's number."""

    code: bytes
    maps: dict[int, str]

    def link(self, descriptors: Mapping[str, int]) -> bytes:
        """Return the instructions with the descriptors of these maps, by name, put in."""
        code = bytearray(self.code)
        for number, name in self.maps.items():
            place = number * INSTRUCTION_BYTES + _NUMBER_OFFSET
            _NUMBER.pack_into(code, place, descriptors[name])
        return bytes(code)


@dataclass(frozen=True)
class CompiledProgram:
    """Functions and the maps that they share, both by name; a session needs some of them."""

    functions: dict[str, CompiledFunction]
    shapes: dict[str, MapShape]

    def create_maps(self, functions: Iterable[str], sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the descriptors of new, empty maps, by name: all that these functions use.

        `sizes` are the numbers of entries of those that shall have others than they were compiled
        with. Raises `OSError`.
        """
        names = {name for each in functions for name in self.functions[each].maps.values()}
        return {name: create_map(self.shapes[name], sizes.get(name)) for name in sorted(names)}


def find_maps(code: bytes, names: Mapping[int, str]) -> dict[int, str]:
    """Return the map that each instruction uses, by the instruction's number.

    `names` are the maps' names by the descriptors that the instructions hold; raises `KeyError` for
    one that is not among them.
    """
    found = {}
    instructions = enumerate(_INSTRUCTION.iter_unpack(code))
    for number, (operation, registers, _, descriptor) in instructions:
        if operation == _LOAD_64_BITS:
            next(instructions)  # its second half is no operation
            if registers >> 4 == _PSEUDO_MAP_FD:
                found[number] = names[descriptor]
    return found


def load_code(name: str, code: bytes, kind: int, attach_type: int = 0) -> int:
    """Have the kernel check linked instructions, and return the descriptor of the program.

    Raises `OSError`, whose text is the kernel's own reason where it gives one.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    license_name = ctypes.create_string_buffer(b"GPL")
    attributes = _LoadAttributes(
        prog_type=kind,
        insn_cnt=len(code) // INSTRUCTION_BYTES,
        insns=ctypes.addressof(instructions),
        license=ctypes.addressof(license_name),
        prog_name=name.encode()[:15],
        expected_attach_type=attach_type,
    )
    try:
        return _load(attributes)
    except OSError as error:
        refusal = error
    log = ctypes.create_string_buffer(_MAX_LOG_BYTES)
    attributes.log_level, attributes.log_size = 1, _MAX_LOG_BYTES
    attributes.log_buf = ctypes.addressof(log)
    try:
        return _load(attributes)
    except OSError:
        reason = find_reason(log.value.decode(errors="replace")) or refusal.strerror
        raise OSError(refusal.errno, reason) from None


def find_reason(log: str) -> str:
    """Return the line of the kernel's log that says why it refused a program, "" if none does.

    It is the last one but for the statistics.
    """
    lines = [line.strip() for line in log.splitlines()]
    said = [line for line in lines if line and not line.startswith("processed ")]
    return said[-1] if said else ""


def _load(attributes: _LoadAttributes) -> int:
    for _ in range(_MAX_ATTEMPTS - 1):
        with contextlib.suppress(BlockingIOError):  # a signal came in the middle of the check
            return bpf(_BPF_PROG_LOAD, attributes)
    return bpf(_BPF_PROG_LOAD, attributes)
