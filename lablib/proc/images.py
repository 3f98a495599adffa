"""The loaded parts of an ELF file: what its headers say the kernel or the linker will map."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field

from elftools.common.exceptions import ELFError
from elftools.elf.constants import P_FLAGS, SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section as ElfSection


@dataclass(frozen=True)
class Load:
    """A PT_LOAD program header: bytes `start` to `file_end` come from the file, the rest is zero.

    Addresses are the file's own; a position-independent file is moved by a bias.
    """

    start: int
    file_end: int
    end: int
    is_writable: bool
    is_code: bool


@dataclass(frozen=True)
class Section:
    """A section that takes up addresses when the file is loaded."""

    name: str
    start: int
    end: int
    is_code: bool
    is_zeroed: bool


@dataclass(frozen=True)
class Image:
    """What is loaded of an ELF file, by address; a file may have no section headers."""

    loads: tuple[Load, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class _File:
    """A file, known by what it is, not by where."""

    device: int
    inode: int
    modified_ns: int
    path: str = field(compare=False)


def read_image(path: str, inode: int = 0) -> Image | None:
    """Return what is loaded of an ELF file; None if it can't be read, or is something else.

    With `inode`, also if another file is in its place by now.
    """
    try:
        status = os.stat(path)
        if inode not in (0, status.st_ino):
            return None
        return _read_image(_File(status.st_dev, status.st_ino, status.st_mtime_ns, path))
    except (OSError, ELFError):
        return None


@functools.lru_cache(maxsize=1024)
def _read_image(file: _File) -> Image:
    with open(file.path, "rb") as stream:
        elf = ELFFile(stream)
        loads = [
            Load(
                start=header["p_vaddr"],
                file_end=header["p_vaddr"] + header["p_filesz"],
                end=header["p_vaddr"] + header["p_memsz"],
                is_writable=bool(header["p_flags"] & P_FLAGS.PF_W),
                is_code=bool(header["p_flags"] & P_FLAGS.PF_X),
            )
            for header in elf.iter_segments("PT_LOAD")
        ]
        sections = [
            Section(
                name=section.name,
                start=section["sh_addr"],
                end=section["sh_addr"] + section["sh_size"],
                is_code=bool(section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR),
                is_zeroed=section["sh_type"] == "SHT_NOBITS",
            )
            for section in elf.iter_sections()
            if _takes_up_addresses(section)
        ]
    return Image(tuple(loads), tuple(sorted(sections, key=lambda section: section.start)))


def _takes_up_addresses(section: ElfSection) -> bool:
    """Whether a section is loaded; .tbss isn't: it is a template of zeros for each thread."""
    flags = section["sh_flags"]
    is_template = section["sh_type"] == "SHT_NOBITS" and flags & SH_FLAGS.SHF_TLS
    return bool(flags & SH_FLAGS.SHF_ALLOC and section["sh_size"] and not is_template)
