"""From an ELF file's call frame information to a table for finding the callers of a frame.

Code built without frame pointers describes its stack frames in .eh_frame. The tracer's program in
the kernel can't read DWARF, but it can search a sorted table. A row is one unsigned 64-bit word
and holds from its address up to the next row's:

    bits 63..32   the address, relative to the load base (the page of the lowest PT_LOAD)
    bits 31..16   the offset of the CFA from its register, in words of 8 bytes
    bits 15..8    the slot of the caller's rbp: it is saved at CFA - 8 * slot; 0: it is still in rbp
    bits 7..0     the kind of the row, one of those below (`enum rule` of stack.bpf.c)

The CFA (canonical frame address) is the stack pointer before the call; the return address lies at
CFA - 8. To find the rule of a call, look up the byte before its return address: a call that never
returns may be the last instruction of its function. Only x86-64 is known.
"""

from __future__ import annotations

import functools
import io
import mmap
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from symbolic.debuginfo import Archive
from symbolic.exceptions import SymbolicError

ROW_NONE = 0
"""No rule: a gap between functions, or a frame that the table can't describe."""
ROW_RSP = 1
"""The CFA is rsp plus the offset."""
ROW_RBP = 2
"""The CFA is rbp plus the offset."""
ROW_END = 3
"""The outermost function: it has no caller."""

_WORD_BYTES = 8
_PAGE_BYTES = 4096
_MAX_CFA_WORDS = 0xFFFF
_MAX_SLOT = 0xFF
_MEANING = np.uint64(0xFFFFFFFF)
_ADDRESS_SHIFT = np.uint64(32)

_PREFIX = b"STACK CFI "
_RULE_NAME = re.compile(rb"(?:^| )([.$]\w+): ")
_CFA = re.compile(rb"\$(rsp|rbp) (\d+) \+")
_SAVED = re.compile(rb"\.cfa -(\d+) \+ \^")
_RETURN_ADDRESS = b".cfa -8 + ^"

_IDENT_64_BIT_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
_EM_X86_64 = 62
_PT_LOAD = 1
# Of each, only what is read from it; x is a byte passed over.
_ELF_HEADER = struct.Struct("<18xH4xQQQ8xH2xHH")
_SEGMENT = struct.Struct("<I12xQ32x")
_SECTION = struct.Struct("<I12xQQQ24x")


class _Rules(NamedTuple):
    """The rules in force at an instruction, as Breakpad writes them; b"" where there is none."""

    cfa: bytes = b""
    return_address: bytes = b""
    rbp: bytes = b""


class _Layout(NamedTuple):
    """What the call frame information does not say about a file: addresses, as linked."""

    first_byte: int  # of the lowest PT_LOAD
    entry: int
    plt_start: int
    plt_end: int


@dataclass(frozen=True)
class UnwindModule:
    """A file's code in a process: from where to where, the bias of its addresses, and its rows.

    The bias is what to take from an address in the process for the address in a row.
    """

    start: int
    end: int
    bias: int
    rows: NDArray[np.uint64]


class UnwindPages(NamedTuple):
    """Pages of code: their numbers (address / 4,096), and where their rows are.

    `places` has a row of two words for each: the bias, and the number of the first row with how
    many there are in its upper half.
    """

    numbers: NDArray[np.uint64]
    places: NDArray[np.uint64]


def find_unwind_pages(module: UnwindModule, first_row: int) -> UnwindPages:
    """Return the pages of a module whose rows are stored from number `first_row` on.

    The first row of a page may begin before it: the one that holds at its first byte.
    """
    numbers = np.arange(module.start // _PAGE_BYTES, -(-module.end // _PAGE_BYTES), dtype=np.int64)
    addresses = (module.rows >> _ADDRESS_SHIFT).astype(np.int64)
    starts = numbers * _PAGE_BYTES - module.bias
    first = np.maximum(np.searchsorted(addresses, starts, side="right") - 1, 0)
    behind = np.searchsorted(addresses, starts + _PAGE_BYTES, side="left")
    has_rows = behind > first
    first, behind, numbers = first[has_rows], behind[has_rows], numbers[has_rows]
    places = np.empty((len(numbers), 2), np.uint64)
    places[:, 0] = module.bias % (1 << 64)
    places[:, 1] = (first_row + first) | (behind - first) << 32
    return UnwindPages(numbers.astype(np.uint64), places)


def read_unwind_rows(path: Path) -> NDArray[np.uint64]:
    """Return the rows of an ELF file, sorted by address; libc's 28,000 take about 50 ms.

    Empty where the file is no ELF file of x86-64, or has no call frame information that symbolic
    can read. Raises `OSError` if the file can't be opened.
    """
    try:
        layout = _read_layout(path)
        text = _read_cfi_text(path) if layout else b""
    except (SymbolicError, struct.error):
        layout = None
    if layout is None:
        return np.zeros(0, np.uint64)
    rows = parse_unwind_rows(text, layout.entry - layout.first_byte)
    # symbolic counts from the first byte of the lowest PT_LOAD, the load base is its page.
    base = layout.first_byte & -_PAGE_BYTES
    rows += np.uint64(layout.first_byte - base) << _ADDRESS_SHIFT
    # The CFA of a PLT entry is an expression, which symbolic leaves out: what it gives for all
    # entries is the rule of the first. No call returns into the PLT, so that nothing is lost.
    plt = [layout.plt_start - base, layout.plt_end - base]
    first, last = np.searchsorted(rows >> _ADDRESS_SHIFT, plt)
    rows[first:last] &= ~_MEANING
    return _merge(rows)


def parse_unwind_rows(cfi_text: bytes, entry: int | None = None) -> NDArray[np.uint64]:
    """Return the rows that Breakpad's STACK CFI records say, sorted by address.

    `entry` is where the kernel starts the program: the function there has no caller. Its rules
    may say so only behind its first instruction, and symbolic leaves that out.
    """
    follow, pack = functools.cache(_follow), functools.cache(_pack)
    rules, start, end = _Rules(), 0, 0
    rows, gaps = [], []
    for line in io.BytesIO(cfi_text[max(cfi_text.find(_PREFIX), 0) :]):
        place, _, change = line[len(_PREFIX) :].partition(b" ")
        if place == b"INIT":
            place, size, *changes = change.split(b" ", 2)
            change = changes[0] if changes else b""
            rules, start = _Rules(), int(place, 16)
            end = start + int(size, 16)
            gaps.append(end << 32 | ROW_NONE)
        rules = follow(rules, change)
        if (address := int(place, 16)) < end:
            rows.append(address << 32 | (ROW_END if start == entry else pack(rules)))
    # A function that begins where another one ends comes behind the gap, and so replaces it.
    table = np.array([row for row in gaps + rows if row < 1 << 64], np.uint64)
    table = table[np.argsort(table >> _ADDRESS_SHIFT, kind="stable")]
    addresses = table >> _ADDRESS_SHIFT
    is_last = np.ones(len(table), bool)
    is_last[:-1] = addresses[1:] != addresses[:-1]
    return _merge(table[is_last])


def _follow(rules: _Rules, change: bytes) -> _Rules:
    """Return the rules after a record: what it doesn't name stays.

    symbolic leaves out a CFA that is an expression, also where a function comes back to one. Such
    code first has its CFA in another register: from there on to its end, nothing is certain.
    """
    parts = _RULE_NAME.split(change.strip())
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    is_lost = rules.cfa and not _CFA.fullmatch(rules.cfa)
    return _Rules(
        rules.cfa if is_lost else named.get(b".cfa", rules.cfa),
        named.get(b".ra", rules.return_address),
        named.get(b"$rbp", rules.rbp),
    )


def _pack(rules: _Rules) -> int:
    """Return the lower half of a row."""
    if rules.cfa and not rules.return_address:
        return ROW_END
    cfa, saved = _CFA.fullmatch(rules.cfa), _SAVED.fullmatch(rules.rbp)
    if cfa is None or rules.return_address != _RETURN_ADDRESS:
        return ROW_NONE
    if saved is None and rules.rbp not in (b"", b"$rbp"):
        return ROW_NONE
    kind, offset_bytes = (ROW_RSP if cfa[1] == b"rsp" else ROW_RBP), int(cfa[2])
    slot_bytes = int(saved[1]) if saved else 0
    # symbolic doesn't say where rbp is restored; below the stack pointer nothing is saved.
    if kind == ROW_RSP and slot_bytes > offset_bytes:
        slot_bytes = 0
    words, odd_bytes = divmod(offset_bytes, _WORD_BYTES)
    slot, odd_slot_bytes = divmod(slot_bytes, _WORD_BYTES)
    if odd_bytes or odd_slot_bytes or words > _MAX_CFA_WORDS or slot > _MAX_SLOT:
        return ROW_NONE
    return words << 16 | slot << 8 | kind


def _merge(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the sorted rows without those that say what the one before said."""
    meanings = rows & _MEANING
    is_new = np.ones(len(rows), bool)
    is_new[1:] = meanings[1:] != meanings[:-1]
    return rows[is_new]


def _read_cfi_text(path: Path) -> bytes:
    archive = Archive.open(os.fsencode(path))
    return b"".join(found.make_cficache().open_stream().read() for found in archive.iter_objects())


def _read_layout(path: Path) -> _Layout | None:
    """Return the layout of an x86-64 ELF file, None of another; `struct.error` if cut short."""
    with path.open("rb") as file:
        if file.read(len(_IDENT_64_BIT_LITTLE_ENDIAN)) != _IDENT_64_BIT_LITTLE_ENDIAN:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
            return _parse_layout(image)


def _parse_layout(image: mmap.mmap) -> _Layout | None:
    (machine, entry, segments_at, sections_at, segment_count, section_count, names_index) = (
        _ELF_HEADER.unpack_from(image)
    )
    if machine != _EM_X86_64:
        return None
    segments_end = segments_at + segment_count * _SEGMENT.size
    segments = _SEGMENT.iter_unpack(image[segments_at:segments_end])
    first_byte = min((address for kind, address in segments if kind == _PT_LOAD), default=0)
    sections_end = sections_at + section_count * _SECTION.size
    sections = list(_SECTION.iter_unpack(image[sections_at:sections_end]))
    if names_index < len(sections):
        _, _, names_at, names_bytes = sections[names_index]
        names = image[names_at : names_at + names_bytes]
        for name_at, address, _, size_bytes in sections:
            if names.startswith(b".plt\0", name_at):
                return _Layout(first_byte, entry, address, address + size_bytes)
    return _Layout(first_byte, entry, first_byte, first_byte)
