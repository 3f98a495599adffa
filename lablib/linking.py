"""What exec has mapped of a program, and when its dynamic linker has done its work."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import TargetError
from lablib.language import term
from lablib.ptrace import Syscall

_PROT_READ = 1
_PT_INTERP, _PT_GNU_RELRO = 3, 0x6474E552
_AT_BASE, _AT_ENTRY = 7, 9
_MPROTECT = {0xC000003E: 10, 0xC00000B7: 226, 0xC00000F3: 226}
"""The number of the system call mprotect on x86_64, arm64 and riscv64, by AUDIT_ARCH."""
_ELF_HEADER = struct.Struct("=4sB19xQQ14xHH")
"""The magic, the class, e_entry, e_phoff, e_phentsize and e_phnum."""
_PROGRAM_HEADER = struct.Struct("=I12xQ16xQ8x")
"""p_type, p_vaddr and p_memsz."""


@dataclass(frozen=True)
class LinkedProgram:
    """What exec has mapped: where the dynamic linker lies, and what it will make read-only."""

    linker: range
    relro_page: int

    def is_relocated_by(self, call: Syscall) -> bool:
        """Whether this system call makes the program's relocated data read-only, or a library's."""
        return (
            call.number == _MPROTECT.get(call.architecture)
            and call.arguments[2] == _PROT_READ
            and self.relro_page in (0, call.arguments[0])
        )


def read_linked_program(pid: int, name: str) -> LinkedProgram | None:
    """Return what exec has mapped, None for a program that needs no dynamic linker."""
    with open(f"/proc/{pid}/exe", "rb") as file:
        magic, bits, entry, offset, size, count = _ELF_HEADER.unpack(file.read(_ELF_HEADER.size))
        if (magic, bits) != (b"\x7fELF", 2):
            raise TargetError(
                term("{name} is not a 64-bit program", name=name), term("build it for this machine")
            )
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
    return LinkedProgram(_read_linker_range(pid, vector[_AT_BASE]), relro_page)


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
