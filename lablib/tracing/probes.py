"""Which files of a process serve its malloc, and which instructions of them to probe.

They are looked for among the files that the process has mapped, through the kernel's own links
to them (/proc/PID/map_files): the same file whether it lies on the host, in a container's
overlay, or has been deleted since.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from lablib.errors import TargetError
from lablib.language import term
from lablib.tracing.allocators import ElfError, ElfFile, Function
from lablib.tracing.prologue import MAX_PROLOGUE_BYTES, Successor, choose_site, find_successor

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
    "cfree": "on_free",
    "free_sized": "on_free",
    "free_aligned_sized": "on_free",
    "mallocx": "on_malloc",  # jemalloc's own
    "rallocx": "on_realloc",
    "dallocx": "on_free",
    "sdallocx": "on_free",
    **{
        f"{operator}{form}": "on_malloc"
        for operator in ("_Znwm", "_Znam")  # C++: new and new[], the size always first
        for form in ("RKSt9nothrow_t", "St11align_val_tRKSt9nothrow_t")
    },
    **{
        f"{operator}{form}": "on_unseen"
        for operator in ("_Znwm", "_Znam")
        for form in ("", "St11align_val_t")
    },
    **{
        f"{operator}{size}{form}": "on_free"
        for operator in ("_ZdlPv", "_ZdaPv")  # delete and delete[]
        for size in ("", "m")
        for form in ("", "RKSt9nothrow_t", "St11align_val_t", "St11align_val_tRKSt9nothrow_t")
    },
}
"""An allocator's functions, and the program in heap.bpf.c that runs at the entry of each.

reallocarray is not among them: glibc's and musl's call realloc. The operators that throw are only
counted: an exception does not find its way through the kernel's return probe, and would end the
program. Most are seen all the same, for they call malloc; those of jemalloc and tcmalloc don't.
"""

RETURN_PROGRAM = "on_return"
"""The program that runs when one of them returns, but for those that free."""

ARGUMENTS = {
    "on_malloc": frozenset(["rdi"]),
    "on_calloc": frozenset(["rdi", "rsi"]),
    "on_realloc": frozenset(["rdi", "rsi"]),
    "on_aligned": frozenset(["rdi", "rsi"]),
    "on_posix_memalign": frozenset(["rdi", "rsi", "rdx"]),
    "on_free": frozenset(["rdi"]),
    "on_unseen": frozenset[str](),
}
"""The registers that each program reads, besides those of the stack."""

MAX_READ_BYTES = 512 << 20
"""Of all files of a process together; some two seconds' work."""

MAX_FILES = 4096

MAX_BODY_BYTES = 32 * 1024
"""Of a longer function the entry is probed: all of it has to be read to choose better."""

_MAX_JUMPS = 8
_LINKER = "_dl_allocate_tls"  # what glibc's dynamic linker, and nothing else, exports
_MARKS = ("malloc", "free", _LINKER)


@dataclass(frozen=True)
class Site:
    """An instruction to probe: `offset_bytes` into the allocator's file.

    `entry_bytes` is where its function begins in the file; the site is there or a little behind.
    """

    function: str
    offset_bytes: int
    program: str
    is_return: bool
    entry_bytes: int


@dataclass(frozen=True)
class Allocator:
    """A file that serves malloc in one process, opened, with the sites to probe in it.

    `start` and `end` span the addresses in the process where its code is mapped.
    """

    path: str
    file_descriptor: int
    sites: tuple[Site, ...]
    start: int
    end: int


@dataclass(frozen=True)
class _MappedFile:
    path: str
    link: str
    start: int
    end: int


def find_allocators(pid: int) -> tuple[Allocator, ...]:
    """Return each file that defines malloc and free in process `pid`, open for the caller to close.

    There are several where a library was put in front of libc (jemalloc, tcmalloc). Raises
    `TargetError` where there is none, or where finding out would take too long.
    """
    program = _read_program_identity(pid)
    found: list[Allocator] = []
    bytes_read = 0
    try:
        for file in _read_mapped_files(pid):
            allocator, work_bytes = _open_allocator(file, program)
            bytes_read += work_bytes
            if allocator is not None:
                found.append(allocator)
            if bytes_read > MAX_READ_BYTES:
                raise TargetError(
                    term("process {pid} has mapped too much code to search for malloc", pid=pid)
                )
        if not found:
            raise _explain_absence(pid)
    except BaseException:
        for allocator in found:
            os.close(allocator.file_descriptor)
        raise
    return tuple(found)


def choose_sites(elf: ElfFile, functions: list[Function]) -> tuple[Site, ...]:
    """Return the probes for an allocator's functions; raises `ElfError`.

    Two names of one address (glibc's memalign and aligned_alloc) are probed once, and so are two
    functions of which one only leads to the other. The probe of a return sits where its entry's
    does: the kernel then needs one breakpoint for both. Their order does not matter, nothing
    counts before the session's window opens.
    """
    rank = {name: number for number, name in enumerate(ENTRY_PROGRAMS)}
    best_last = sorted(functions, key=lambda function: -rank[function.name])
    by_address = {function.address: function for function in best_last}
    sites = []
    for function in by_address.values():
        program, entry = ENTRY_PROGRAMS[function.name], function.offset_bytes
        try:
            if _is_seen_elsewhere(elf, function, by_address):
                continue
            site = entry + _choose_offset(elf, function)
        except ElfError:
            site = entry
        if program not in ("on_free", "on_unseen"):
            sites.append(Site(function.name, site, RETURN_PROGRAM, True, entry))
        sites.append(Site(function.name, site, program, False, entry))
    return tuple(sites)


def _choose_offset(elf: ElfFile, function: Function) -> int:
    code = elf.read_code(function.address, min(function.size_bytes, MAX_BODY_BYTES))
    if len(code) < function.size_bytes:
        return 0
    return choose_site(code, ARGUMENTS[ENTRY_PROGRAMS[function.name]])


def _is_seen_elsewhere(elf: ElfFile, function: Function, probed: dict[int, Function]) -> bool:
    """Whether each call of this function is one of another function that is probed as well.

    So it is for many a C++ operator. A free would count twice. Of an allocation the outermost call
    counts, but an operator that throws is better left alone: an exception does not find its way
    through the kernel's return probe. Raises `ElfError`.
    """
    first = find_successor(elf.read_code(function.address, MAX_PROLOGUE_BYTES), function.address)
    target = _find_target(elf, first, probed) if first else None
    if first is None or target is None or target == function.name:
        return False
    program = ENTRY_PROGRAMS[function.name]
    if function.name.startswith(("_Znw", "_Zna")):
        return True  # whatever it does to its arguments, malloc is what it calls
    is_same = ENTRY_PROGRAMS[target] == program
    return is_same and (first.keeps_first_argument if program == "on_free" else first.is_whole)


def _find_target(elf: ElfFile, successor: Successor, probed: dict[int, Function]) -> str | None:
    """Return the allocator's function that a call ends up in, past stubs that only jump on."""
    for _ in range(_MAX_JUMPS):
        address = successor.address
        if successor.is_slot:
            name, address = elf.find_slot_target(address)
            if not address:
                return name if name in ENTRY_PROGRAMS else None
        if address in probed:
            return probed[address].name
        following = find_successor(elf.read_code(address, MAX_PROLOGUE_BYTES), address)
        if following is None or not following.is_whole:
            return None
        successor = following
    return None


def _open_allocator(file: _MappedFile, program: tuple[int, int]) -> tuple[Allocator | None, int]:
    """Return (the allocator that a file is, or None; the bytes that were read to find out)."""
    elf: ElfFile | None = None
    descriptor = -1
    sites: tuple[Site, ...] = ()
    try:
        status = os.stat(file.link)
        if not stat.S_ISREG(status.st_mode):  # opening a device may have effects
            return None, 0
        descriptor = os.open(file.link, os.O_RDONLY | os.O_CLOEXEC)
        elf = ElfFile(descriptor)
        is_program = (status.st_dev, status.st_ino) == program
        functions = _find_functions(elf, is_static=is_program and not elf.has_interpreter)
        sites = choose_sites(elf, functions)
    except (OSError, ElfError):
        sites = ()  # not an ELF file, or one made to confuse: it is no allocator
    bytes_read = elf.bytes_read if elf else 0
    if sites:
        return Allocator(file.path, descriptor, sites, file.start, file.end), bytes_read
    if descriptor >= 0:
        os.close(descriptor)
    return None, bytes_read


def _find_functions(elf: ElfFile, is_static: bool) -> list[Function]:
    """Return an allocator's functions, none of a file that is no allocator; raises `ElfError`.

    glibc's dynamic linker may have a malloc of its own, until libc is there; musl's is its libc.
    """
    marks = {function.name for function in elf.find_functions(_MARKS, is_static=False)}
    if _LINKER in marks:
        return []
    if {"malloc", "free"} <= marks:
        return elf.find_functions(ENTRY_PROGRAMS, is_static=False)
    if not is_static:
        return []
    names = [name for name, program in ENTRY_PROGRAMS.items() if program != "on_unseen"]
    functions = elf.find_functions(names, is_static=True)
    return functions if {"malloc", "free"} <= {function.name for function in functions} else []


def _read_mapped_files(pid: int) -> list[_MappedFile]:
    """Return each file that the process has mapped as code, with the kernel's link to it."""
    found: dict[tuple[str, str], _MappedFile] = {}
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").split("\n")[:-1]
    except OSError:
        raise TargetError(term("process {pid} ended before it could be traced", pid=pid)) from None
    for line in lines:
        span, permissions, _, device, inode, *path = line.split(None, 5)
        if "x" not in permissions or inode == "0":
            continue
        start, end = (int(part, 16) for part in span.split("-"))
        known = found.get((device, inode))
        if known is None:
            link = f"/proc/{pid}/map_files/{start:x}-{end:x}"
            found[device, inode] = _MappedFile(path[0] if path else "", link, start, end)
        else:
            found[device, inode] = replace(known, end=max(end, known.end))
    if len(found) > MAX_FILES:
        raise TargetError(
            term("process {pid} has mapped too many files to search for malloc", pid=pid)
        )
    return list(found.values())


def _read_program_identity(pid: int) -> tuple[int, int]:
    try:
        status = os.stat(f"/proc/{pid}/exe")
    except OSError:
        raise TargetError(term("process {pid} ended before it could be traced", pid=pid)) from None
    return status.st_dev, status.st_ino


def _explain_absence(pid: int) -> TargetError:
    try:
        with open(f"/proc/{pid}/exe", "rb") as file:
            is_32_bit = file.read(5) == b"\x7fELF\x01"
            is_static = not is_32_bit and not ElfFile(file.fileno()).has_interpreter
    except OSError:
        return TargetError(term("process {pid} ended before it could be traced", pid=pid))
    except ElfError:
        is_32_bit = is_static = False
    if is_32_bit:
        return TargetError(
            term("process {pid} is a 32-bit program", pid=pid), term("trace a 64-bit build of it")
        )
    if is_static:
        return TargetError(
            term(
                "process {pid} is linked statically, and no symbol in its file says where malloc "
                "is",
                pid=pid,
            ),
            term("build it without stripping its symbols, or link it dynamically"),
        )
    return TargetError(
        term("no file that process {pid} has mapped defines malloc and free", pid=pid),
        term("trace a program that allocates through a C library"),
    )
