"""Which library serves a process's malloc, and which instructions of it to probe.

The allocator is looked for in the files that the process has mapped, through the kernel's own
links to them (/proc/PID/map_files): the same file whether it lies on the host, in a container's
overlay, or has been deleted since.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from lablib.errors import TargetError

ENTRY_PROGRAMS = {
    "malloc": "on_malloc",
    "valloc": "on_malloc",
    "pvalloc": "on_malloc",
    "calloc": "on_calloc",
    "realloc": "on_realloc",
    "memalign": "on_aligned",
    "aligned_alloc": "on_aligned",
    "posix_memalign": "on_posix_memalign",
    "free": "on_free",
}
"""The allocator's functions, and the program in heap.bpf.c that runs at the entry of each."""

MAX_SYMBOLS_BYTES = 16 << 20
"""No C library's table of exported symbols comes near; a file made to waste our time may."""

RETURN_PROGRAM = "on_return"
"""The program that runs when one of them, except free, returns."""


@dataclass(frozen=True)
class Site:
    """An instruction to probe: `offset_bytes` into the allocator's file."""

    function: str
    offset_bytes: int
    program: str
    is_return: bool


@dataclass(frozen=True)
class Allocator:
    """The file that serves malloc in one process, opened, with the sites to probe in it."""

    path: str
    file_descriptor: int
    sites: tuple[Site, ...]


def find_allocator(pid: int) -> Allocator:
    """Return the allocator of process `pid`, its file open for the caller to close.

    A library that was put in front of libc (jemalloc, tcmalloc) wins over libc, as it does for
    the dynamic linker. Raises `TargetError` where no mapped file exports malloc and free.
    """
    best: tuple[int, Allocator] | None = None
    for path, link in _read_mapped_files(pid):
        offsets = _read_function_offsets(link)
        if not {"malloc", "free"} <= offsets.keys():
            continue
        rank = _rank(path)
        if best is None or rank < best[0]:
            if best is not None:
                os.close(best[1].file_descriptor)
            descriptor = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
            best = rank, Allocator(path, descriptor, choose_sites(offsets))
    if best is None:
        raise TargetError(
            f"no file that process {pid} has mapped exports malloc and free",
            "trace a program that is linked dynamically against its C library",
        )
    return best[1]


def choose_sites(offsets: dict[str, int]) -> tuple[Site, ...]:
    """Return the probes for an allocator's functions, given their offsets in its file.

    Two names of one address (glibc's memalign and aligned_alloc) are probed once. Their
    order does not matter: nothing counts before the session's window opens.
    """
    by_offset = {offset: name for name, offset in sorted(offsets.items()) if name in ENTRY_PROGRAMS}
    allocating = {offset: name for offset, name in by_offset.items() if name != "free"}
    returns = [Site(name, offset, RETURN_PROGRAM, True) for offset, name in allocating.items()]
    entries = [
        Site(name, offset, ENTRY_PROGRAMS[name], False) for offset, name in by_offset.items()
    ]
    return (*returns, *entries)


def _rank(path: str) -> int:
    name = Path(path).name
    if name.startswith(("ld-", "ld.")) and "musl" not in name:
        return 2
    return 1 if name.startswith(("libc.", "libc-", "ld-musl")) else 0


def _read_mapped_files(pid: int) -> Iterator[tuple[str, str]]:
    """Yield (path as the process sees it, the kernel's link to it) for each file mapped as code."""
    seen = set()
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").split("\n")[:-1]
    except OSError:
        raise TargetError(f"process {pid} ended before it could be traced") from None
    for line in lines:
        span, permissions, _, device, inode, *path = line.split(None, 5)
        if "x" not in permissions or inode == "0" or (device, inode) in seen:
            continue
        seen.add((device, inode))
        start, end = (int(part, 16) for part in span.split("-"))
        yield path[0] if path else "", f"/proc/{pid}/map_files/{start:x}-{end:x}"


def _read_function_offsets(link: str) -> dict[str, int]:
    """Return name -> file offset for the allocator functions that an ELF file exports."""
    try:
        with open(link, "rb") as file:
            elf = ELFFile(file)
            symbols = elf.get_section_by_name(".dynsym")
            if not isinstance(symbols, SymbolTableSection):
                return {}
            size_bytes = symbols["sh_size"]
            end = symbols["sh_offset"] + size_bytes
            if size_bytes > MAX_SYMBOLS_BYTES or end > os.fstat(file.fileno()).st_size:
                return {}
            found = {}
            for name in ENTRY_PROGRAMS:
                for symbol in symbols.get_symbol_by_name(name) or ():
                    if symbol["st_shndx"] != "SHN_UNDEF":
                        found[name] = next(iter(elf.address_offsets(symbol["st_value"])))
            return found
    except (OSError, ELFError, StopIteration, ValueError, KeyError):
        return {}  # not an ELF file, or one made to confuse: it is no allocator
