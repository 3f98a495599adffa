"""What labs/noting.c has noted in a program that it is linked with, read from outside at its end.

It lies in the program's own memory, where the program can change it: it says where something was
done, and never that all is well.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError

from lablib.analysis import name_frame
from lablib.elf_symbols import find_object
from lablib.symbols import ProcessSymbols
from lablib.wording import make_printable

_TABLE = "lab_notes"
_MOST_FILES = 1024
_SITE = struct.Struct("=QQ")  # the address behind the call, and that behind its function's
_AGAIN = struct.Struct("=Q")
_BYTES = _AGAIN.size + (1 + _MOST_FILES) * _SITE.size


@dataclass(frozen=True)
class Notes:
    """How often a program gave back what was given back already, and who opened its files.

    `again_by` is where it did so last, and `opened_by` where most of the files that are still open
    were opened, as "is_new (fd_leak.c:43)"; "" where that is not known.
    """

    again: int
    again_by: str
    opened_by: str


def read_notes(pid: int, program: Path) -> Notes | None:
    """Return what a process has noted that is held still; None where it notes nothing.

    `program` is its file, as it is seen from here.
    """
    try:
        offset, base = find_object(program, _TABLE), _find_base(pid, program.name)
        if offset is None or base is None:
            return None
        content = _read_memory(pid, base + offset)
        files = [int(name) for name in os.listdir(f"/proc/{pid}/fd")]
    except (OSError, ELFError):
        return None
    if len(content) < _BYTES:
        return None
    (again,) = _AGAIN.unpack_from(content)
    last, *opened = _SITE.iter_unpack(content[_AGAIN.size :])
    openers = Counter(opened[file] for file in files if file < _MOST_FILES and any(opened[file]))
    with closing(ProcessSymbols(pid)) as symbols:
        most = [_name_site(symbols, site) for site, _ in openers.most_common(1)]
        return Notes(again, _name_site(symbols, last), most[0] if most else "")


def _find_base(pid: int, name: str) -> int | None:
    """Return where a process has mapped the beginning of its program."""
    for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
        if line.endswith(f"/{name}"):
            return int(line.partition("-")[0], 16)
    return None


def _read_memory(pid: int, address: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), _BYTES, address)


def _name_site(symbols: ProcessSymbols, site: tuple[int, ...]) -> str:
    """Return the function that made a call; of one in a header, as the lab's are, who called it."""
    frames, _ = symbols.resolve_stack([address for address in site if address])
    own = [frame for frame in frames if (frame.file or "").endswith(".c")]
    return make_printable(name_frame(own[0] if own else frames[0])) if frames else ""
