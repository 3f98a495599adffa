"""Where an ELF file's functions lie, read from a file that nobody vouches for.

The service reads as root what any user has mapped. So nothing of the file is believed: what is
read is bounded, each number is checked by using it, and whatever does not fit makes an `ElfError`.
"""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

MAX_TABLE_BYTES = 128 << 20
"""Of one symbol or string table; a browser with all its symbols stays below."""

MAX_FILE_BYTES = 256 << 20
"""Of one file, all in all."""

MAX_FUNCTIONS = 256
"""Of the names that we look for; the richest allocator has some forty."""

MAX_HEADERS = 4096
"""Program or section headers; real files have a few dozen."""

MAX_TAILS = 100_000
"""Names in one file that end like a function that we look for: X509_free, sk_free and so on."""

_MACHINES = {"x86_64": 62, "aarch64": 183}
_LITTLE_64_BIT = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_PT_LOAD, _PT_INTERP, _PF_X = 1, 3, 1
_SHT_SYMTAB, _SHT_RELA, _SHT_DYNSYM = 2, 4, 11
_LOCAL_FUNCTION = 0x02  # STB_LOCAL << 4 | STT_FUNC
_FUNCTIONS = frozenset([0x12, 0x22])  # the same with STB_GLOBAL, STB_WEAK


class ElfError(Exception):
    """Not an ELF file of this machine, or one that contradicts itself."""


@dataclass(frozen=True)
class Function:
    """A function that a file defines: its address in the file's own count, and where that lies."""

    name: str
    address: int
    offset_bytes: int
    size_bytes: int


class ElfFile:
    """The headers of an ELF file and what they lead to; `bytes_read` is the work done so far."""

    def __init__(self, descriptor: int) -> None:
        """Read the headers of an open file; raises `ElfError`."""
        self.bytes_read = 0
        self._descriptor = descriptor
        header = _HEADER.unpack(self._read(0, _HEADER.size))
        identity, _, machine, _, _, segments, sections, _, _, *counts = header
        segment_bytes, segments_len, section_bytes, sections_len, _ = counts
        if not identity.startswith(_LITTLE_64_BIT) or machine != _MACHINES.get(platform.machine()):
            raise ElfError("not an ELF file of this machine")
        if (segment_bytes, section_bytes or _SECTION.size) != (_SEGMENT.size, _SECTION.size):
            raise ElfError("unknown headers")
        self._segments = self._read_table(segments, segments_len, _SEGMENT)
        self._sections = self._read_table(sections, sections_len, _SECTION)

    @property
    def has_interpreter(self) -> bool:
        """Whether this is a program that the dynamic linker starts."""
        return any(segment[0] == _PT_INTERP for segment in self._segments)

    def find_functions(self, names: Collection[str], is_static: bool) -> list[Function]:
        """Return the functions of these names that the file defines for others.

        They come from the table for the dynamic linker, or, `is_static`, from the one that a
        program may have had stripped off; there a local function counts where no other has its
        name, as all are local in a position-independent one. A function whose code is chosen at
        run time (an IFUNC) is left out: what its symbol names is not the function. Raises
        `ElfError`.
        """
        found = []
        local = []
        for table in self._find_sections(_SHT_SYMTAB if is_static else _SHT_DYNSYM)[:1]:
            wanted = _find_names(self._read_section(self._section(table[6])), names)
            rows = self._read_section(table, _SYMBOL.size) if wanted else b""
            for name, info, _, index, address, size in _SYMBOL.iter_unpack(rows):
                if name not in wanted or not index:
                    continue
                offset = self._locate(address)
                if offset is not None and info in _FUNCTIONS:
                    found.append(Function(wanted[name], address, offset, size))
                elif offset is not None and info == _LOCAL_FUNCTION and is_static:
                    local.append(Function(wanted[name], address, offset, size))
                if len(found) + len(local) > MAX_FUNCTIONS:
                    raise ElfError("too many functions")
        named = {function.name for function in found}
        return found + [function for function in local if function.name not in named]

    def read_code(self, address: int, size_bytes: int) -> bytes:
        """Return the code at an address, less where its segment ends before; raises `ElfError`."""
        for start, offset, length in self._code():
            if start <= address < start + length:
                size_bytes = min(size_bytes, start + length - address)
                return self._read(offset + address - start, size_bytes)
        raise ElfError("code outside the file")

    def find_slot_target(self, slot: int) -> tuple[str, int]:
        """Return (name, address) of what the dynamic linker writes to a slot; raises `ElfError`.

        The address is 0 where another file defines it.
        """
        for section in self._find_sections(_SHT_RELA):
            rows = self._read_section(section, _RELOCATION.size)
            for place, info, _ in _RELOCATION.iter_unpack(rows):
                if place == slot and info >> 32:
                    return self._read_symbol(self._section(section[6]), info >> 32)
        raise ElfError("nothing is written there")

    def _read_symbol(self, table: tuple[Any, ...], number: int) -> tuple[str, int]:
        symbol = self._read(table[4] + number * _SYMBOL.size, _SYMBOL.size)
        name, _, _, index, address, _ = _SYMBOL.unpack(symbol)
        strings = self._section(table[6])
        text = self._read(strings[4] + name, 64, may_be_short=True)
        return text.split(b"\0")[0].decode(errors="replace"), address if index else 0

    def _locate(self, address: int) -> int | None:
        """Return the file offset of an address in executable code, None if it is in none."""
        for start, offset, length in self._code():
            if start <= address < start + length:
                return int(offset + address - start)
        return None

    def _code(self) -> Iterator[tuple[int, int, int]]:
        for kind, flags, offset, address, _, length, _, _ in self._segments:
            if kind == _PT_LOAD and flags & _PF_X:
                yield address, offset, length

    def _find_sections(self, kind: int) -> list[tuple[Any, ...]]:
        return [section for section in self._sections if section[1] == kind]

    def _section(self, number: int) -> tuple[Any, ...]:
        if number >= len(self._sections):
            raise ElfError("no such section")
        return self._sections[number]

    def _read_section(self, section: tuple[Any, ...], row_bytes: int = 1) -> bytes:
        return self._read(section[4], section[5] // row_bytes * row_bytes)

    def _read_table(self, offset: int, count: int, row: struct.Struct) -> list[tuple[Any, ...]]:
        if count > MAX_HEADERS:
            raise ElfError("too many headers")
        return list(row.iter_unpack(self._read(offset, count * row.size)))

    def _read(self, offset: int, size_bytes: int, may_be_short: bool = False) -> bytes:
        """Read by system call: a file mapped into memory may be cut while we look at it."""
        self.bytes_read += size_bytes
        is_too_much = size_bytes > MAX_TABLE_BYTES or self.bytes_read > MAX_FILE_BYTES
        if is_too_much or offset + size_bytes >= 1 << 63:
            raise ElfError("too big")
        try:
            content = os.pread(self._descriptor, size_bytes, offset)
        except OSError as error:
            raise ElfError(str(error)) from None
        if len(content) < size_bytes and not may_be_short:
            raise ElfError("cut short")
        return content


def _find_names(strings: bytes, names: Collection[str]) -> dict[int, str]:
    """Return offset -> name; linkers let a name share the end of a longer one (cfree, free)."""
    found: dict[int, str] = {}
    for name in names:
        pattern = name.encode() + b"\0"
        at = strings.find(pattern)
        while at >= 0:
            found[at] = name
            if len(found) > MAX_TAILS:
                raise ElfError("too many names")
            at = strings.find(pattern, at + 1)
    return found
