"""From an address in a live process to function, file and line.

Addresses are looked up in the files that the process has mapped, opened when it is first looked at,
 so that they resolve after its end too.
"""

from __future__ import annotations

import bisect
import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from elftools.common.exceptions import ELFError
from numpy.typing import NDArray
from symbolic.exceptions import SymbolicError

from lablib.elf_symbols import (
    FILES_KEPT,
    ElfSymbols,
    FileVersion,
    find_linked_debug_files,
    read_segments,
)
from lablib.records import Frame, UnwindTables
from lablib.unwinding import UnwindModule, UnwindPages, find_unwind_pages, read_unwind_rows

_OUTERMOST = {
    *("main", "_start", "__libc_start_main", "__libc_start_call_main"),
    *("start_thread", "clone3"),
}


@dataclass(frozen=True)
class Mapping:
    """One executable mapping of a file: addresses, and where in the file it begins."""

    start: int
    end: int
    file_offset: int
    inode: int
    path: str

    @property
    def module(self) -> str:
        """The file's name without its folder."""
        return Path(self.path.removesuffix(" (deleted)")).name


@functools.lru_cache(FILES_KEPT)
def _read_rows(version: FileVersion) -> NDArray[np.uint64]:
    rows = read_unwind_rows(version.path)
    rows.flags.writeable = False
    return rows


def parse_mappings(maps_text: str) -> list[Mapping]:
    """Return the executable file mappings in the text of a /proc/PID/maps, by address."""
    mappings = []
    for line in filter(None, maps_text.split("\n")):
        span, permissions, offset, _, inode, *path = line.split(None, 5)
        if "x" in permissions and path and path[0].startswith("/"):
            start, end = (int(part, 16) for part in span.split("-"))
            mappings.append(Mapping(start, end, int(offset, 16), int(inode), path[0]))
    return sorted(mappings, key=lambda mapping: mapping.start)


class ProcessSymbols:
    """The symbols of one process, in the files that it maps."""

    def __init__(self, pid: int, debug_dirs: Iterable[Path] = ()) -> None:
        """Open the files that process `pid` has mapped as code.

        `debug_dirs` are folders with debug files (.build-id/xx/yyyy.debug) or with unstripped
        copies at the target's own paths. A process that can't be read gives no symbols: whether
        it may be traced is for the tracer to say.
        """
        self._pid = pid
        self._debug_dirs = tuple(debug_dirs)
        self._mappings: list[Mapping] = []
        self._fd_by_file: dict[tuple[int, str], int | None] = {}
        self._symbols_by_file: dict[tuple[int, str], ElfSymbols | None] = {}
        self._read_mappings()

    def close(self) -> None:
        """Close the mapped files."""
        for descriptor in self._fd_by_file.values():
            if descriptor is not None:
                os.close(descriptor)
        self._fd_by_file.clear()

    def preload(self) -> None:
        """Read the symbols of the mapped files now, so that the first stacks take no longer."""
        for mapping in self._mappings:
            self._resolve(mapping, mapping.file_offset)

    def resolve_stack(
        self, addresses: Sequence[int], certain: int | None = None
    ) -> tuple[tuple[Frame, ...], bool]:
        """Return the frames of return addresses, callers last, and whether callers are missing.

        The first `certain` addresses were found by the rules of the code; the others, or with None
        all, by frame pointers. A walk by those ends in nonsense where the code was built without
        them; whatever does not lie in code is cut off.
        """
        frames: list[Frame] = []
        count = 0
        reaches_main = False
        for address in addresses:
            mapping = self._find_mapping(address)
            if mapping is None:
                break
            frames += self._resolve(mapping, address - mapping.start + mapping.file_offset)
            count += 1
            reaches_main |= frames[-1].function in _OUTERMOST and count <= (certain or 0)
        if certain is not None:
            return tuple(frames), not reaches_main
        last = frames[-1] if frames else None
        reaches_the_top = last is not None and (
            last.function in _OUTERMOST or (count > 1 and last.module.startswith("libc"))
        )
        return tuple(frames), not reaches_the_top

    def read_unwind_tables(self, max_pages: int, max_rows: int) -> UnwindTables:
        """Return how the code that the process has mapped is unwound.

        Files that would go beyond the limits are left out, the largest first: their callers are
        found by frame pointers.
        """
        modules = [module for mapping in self._mappings if (module := self._read_module(mapping))]
        modules.sort(key=lambda module: len(module.rows))
        pages: list[UnwindPages] = []
        room_for_pages, room_for_rows, first_row = max_pages, max_rows, 0
        for module in modules:
            found = find_unwind_pages(module, first_row)
            room_for_pages -= len(found.numbers)
            room_for_rows -= len(module.rows)
            if room_for_pages < 0 or room_for_rows < 0:
                break
            first_row += len(module.rows)
            pages.append(found)
        return UnwindTables(
            b"".join(part.numbers.tobytes() for part in pages),
            b"".join(part.places.tobytes() for part in pages),
            b"".join(module.rows.tobytes() for module in modules[: len(pages)]),
        )

    def modules_without_lines(self) -> list[str]:
        """Return the names of the files looked into that have no line numbers, libraries aside."""
        return sorted(
            Path(path).name
            for (_, path), symbols in self._symbols_by_file.items()
            if ".so" not in Path(path).name and (symbols is None or not symbols.has_line_numbers)
        )

    def _read_module(self, mapping: Mapping) -> UnwindModule | None:
        descriptor = self._fd_by_file.get((mapping.inode, mapping.path))
        if descriptor is None:
            return None
        path = Path(f"/proc/self/fd/{descriptor}")
        try:
            relative = read_segments(path).find_address(mapping.file_offset)
            rows = _read_rows(FileVersion.of(path))
        except (OSError, ELFError):
            return None
        if relative is None or not len(rows):
            return None
        return UnwindModule(mapping.start, mapping.end, mapping.start - relative, rows)

    def _resolve(self, mapping: Mapping, file_offset: int) -> list[Frame]:
        key = (mapping.inode, mapping.path)
        if key not in self._symbols_by_file:
            self._symbols_by_file[key] = self._load(mapping, self._fd_by_file.get(key))
        symbols = self._symbols_by_file[key]
        if symbols is None:
            return [Frame(None, mapping.module, file_offset)]
        return symbols.resolve(file_offset, mapping.module)

    def _load(self, mapping: Mapping, descriptor: int | None) -> ElfSymbols | None:
        if descriptor is None:
            return None
        candidates = []
        for folder in self._debug_dirs:
            candidates += [folder, folder / mapping.path.lstrip("/")]
        path = Path(f"/proc/self/fd/{descriptor}")
        try:
            for root in (f"/proc/{self._pid}/root", ""):  # after its end, only our own
                folder = Path(root + mapping.path).parent
                candidates += find_linked_debug_files(path, folder)
            return ElfSymbols(path, candidates)
        except (OSError, ELFError, SymbolicError):
            return None

    def _find_mapping(self, address: int) -> Mapping | None:
        for _ in range(2):  # a library may have been loaded since we looked
            index = bisect.bisect_right(self._mappings, address, key=lambda m: m.start) - 1
            if index >= 0 and address < self._mappings[index].end:
                return self._mappings[index]
            if not self._read_mappings():
                break
        return None

    def _read_mappings(self) -> bool:
        try:
            text = Path(f"/proc/{self._pid}/maps").read_text(errors="surrogateescape")
        except OSError:
            return False
        if mappings := parse_mappings(text):
            self._mappings = mappings
        for mapping in mappings:
            key = (mapping.inode, mapping.path)
            if key not in self._fd_by_file:
                self._fd_by_file[key] = self._open(mapping)
        return bool(mappings)

    def _open(self, mapping: Mapping) -> int | None:
        """Open a mapped file: by the kernel's link (for root), or by its path if still the same."""
        link = f"/proc/{self._pid}/map_files/{mapping.start:x}-{mapping.end:x}"
        for path in (link, f"/proc/{self._pid}/root{mapping.path}"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            if path == link or os.fstat(descriptor).st_ino == mapping.inode:
                return descriptor
            os.close(descriptor)
        return None
