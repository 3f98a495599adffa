"""The symbols of one ELF file: from a place in it to function, file and line.

Where the file is stripped, its debug file is taken from the folders that are given or from
/usr/lib/debug, and only if its build-id is the same.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from symbolic.debuginfo import Archive, Object
from symbolic.exceptions import SymbolicError
from symbolic.symcache import SourceLocation, SymCache

from lablib.demangling import demangle
from lablib.records import Frame

MAX_SYMBOLS = 20_000
SYSTEM_DEBUG_DIR = Path("/usr/lib/debug")

# What gcc appends to the name of a changed copy of a function: nobody finds it in the source.
_CLONE_SUFFIX = re.compile(r"(\.(isra|constprop|part|cold|lto_priv)(\.\d+)*)+$")
_GLIBC_ALIAS = "__GI_"  # glibc's mark for its own way to a function that it also exports
_NOT_A_SYMBOL = 0xFFFFFFFF  # symbolic's sym_addr for a function that was inlined


FILES_KEPT = 16
"""Of so many files what was read is kept: each process maps the same libraries."""


@dataclass(frozen=True)
class FileVersion:
    """A file as it is now, wherever it is opened: whoever changes it makes it another version."""

    device: int
    inode: int
    size_bytes: int
    changed_ns: int
    path: Path = field(compare=False)

    @classmethod
    def of(cls, path: Path) -> FileVersion:
        """Return the version of a file; raises `OSError`."""
        status = path.stat()
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, path)


@dataclass(frozen=True)
class Segments:
    """Where the loaded parts of an ELF file lie: (file offset, size, address) of each, in bytes."""

    parts: tuple[tuple[int, int, int], ...]

    def find_address(self, file_offset: int) -> int | None:
        """Return the address of a place in the file, from the load base; None if not loaded."""
        base = min((vaddr for _, _, vaddr in self.parts), default=0) & ~0xFFF
        return next(
            (vaddr + file_offset - at - base for at, size, vaddr in self.parts
             if at <= file_offset < at + size),
            None,
        )  # fmt: skip


def read_segments(path: Path) -> Segments:
    """Return the loaded parts of an ELF file; raises `OSError` or `ELFError`."""
    with path.open("rb") as file:
        loaded = ELFFile(file).iter_segments("PT_LOAD")
        return Segments(tuple((s["p_offset"], s["p_filesz"], s["p_vaddr"]) for s in loaded))


def find_linked_debug_files(path: Path, folder: Path) -> list[Path]:
    """Return where the debug file may lie that an ELF file names (.gnu_debuglink), if it does.

    `folder` is the one that the file is run from. Raises `OSError` or `ELFError`.
    """
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".gnu_debuglink")
        name = os.fsdecode(section.data().split(b"\0", 1)[0]) if section else ""
    if not name or "/" in name:
        return []
    return [folder / name, folder / ".debug" / name, SYSTEM_DEBUG_DIR / str(folder)[1:] / name]


def find_object(path: Path, name: str) -> int | None:
    """Return the address of a global object from the load base; None where the file has none.

    Files with more than `MAX_SYMBOLS` are not looked through: that takes too long. Raises `OSError`
    or `ELFError`.
    """
    with path.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection) or table.num_symbols() > MAX_SYMBOLS:
            return None
        base = min((s["p_vaddr"] for s in elf.iter_segments("PT_LOAD")), default=0) & ~0xFFF
        for symbol in table.iter_symbols():
            if symbol.name == name and symbol["st_info"]["bind"] == "STB_GLOBAL":
                return int(symbol["st_value"]) - base
    return None


class ElfSymbols:
    """The symbols of one ELF file, helped out by its debug file where one is found."""

    def __init__(self, path: Path, debug_candidates: Sequence[Path] = ()) -> None:
        """Read the file; raises `OSError` or `ELFError` if it is none that can be read."""
        self._segments = read_segments(path)
        own = _open_object(path)
        self.build_id: str | None = own.code_id
        self.has_line_numbers = "debug" in own.features
        candidates = [] if self.has_line_numbers else [*debug_candidates]
        if self.build_id and not self.has_line_numbers:
            candidates.append(SYSTEM_DEBUG_DIR)
        self._caches = [_read_symcache(FileVersion.of(path))]
        for place in candidates:
            if (separate := _find_debug_file(place, self.build_id)) is not None:
                self._caches.insert(0, _read_symcache(FileVersion.of(separate)))
                self.has_line_numbers = "debug" in _open_object(separate).features
                break

    def resolve(self, file_offset: int, module: str) -> list[Frame]:
        """Return the frames of the call that returns to `file_offset`, innermost first.

        More than one where functions were inlined; one without a function where none is known.
        """
        relative = self._segments.find_address(file_offset)
        if relative is not None:
            for cache in self._caches:
                if found := cache.lookup(relative - 1):  # the call, not what follows it
                    return _make_frames(found, relative, module)
        return [Frame(None, module, file_offset)]


def _open_object(path: Path) -> Object:
    try:
        return next(iter(Archive.open(str(path)).iter_objects()))
    except StopIteration:
        raise ELFError(f"{path} holds no object file") from None


@functools.lru_cache(FILES_KEPT)
def _read_symcache(version: FileVersion) -> SymCache:
    """Return what a file's symbols are; that of libc with its debug file takes 100 ms."""
    return _open_object(version.path).make_symcache()


def _find_debug_file(place: Path, build_id: str | None) -> Path | None:
    """Return the debug file of `build_id`: `place` itself, or the one below it by build-id."""
    if not build_id:
        return None
    path = place / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug" if place.is_dir() else place
    try:
        found = _open_object(path)
    except (OSError, ELFError, SymbolicError):
        return None
    return path if found.code_id == build_id else None


def _make_frames(found: Sequence[SourceLocation], relative: int, module: str) -> list[Frame]:
    start = next((loc.sym_addr for loc in reversed(found) if loc.sym_addr != _NOT_A_SYMBOL), None)
    return [
        Frame(
            function=_name_function(location.symbol),
            module=module,
            offset=relative - start if start is not None else relative,
            file=Path(location.full_path).name if location.full_path else None,
            line=location.line or None,
            inlined=number < len(found) - 1,
        )
        for number, location in enumerate(found)
    ]


def _name_function(symbol: str) -> str | None:
    return demangle(_CLONE_SUFFIX.sub("", symbol).removeprefix(_GLIBC_ALIAS)) or None
