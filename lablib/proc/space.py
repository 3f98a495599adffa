"""The address space of a live process: its maps, and the headers of the files in them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

from lablib.proc.claims import Facts
from lablib.proc.errors import make_gone, refuses_in_words
from lablib.proc.images import Image, read_image
from lablib.proc.segments import make_segments
from lablib.proc.smaps import parse_smaps
from lablib.records import AddressSpace, Vma

PROC_ROOT = Path("/proc")

_AT_BASE = 7
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_UNLIMITED_STACK_BYTES = 2 << 20
"""What pthread_create takes for a stack where the limit is none (ARCH_STACK_DEFAULT_SIZE)."""


@refuses_in_words
def read_address_space(pid: int, proc_root: Path = PROC_ROOT) -> AddressSpace:
    """Return all that a process has mapped, split into segments; from /proc/PID/smaps.

    What in a mapped file is text, data and bss comes from its ELF headers, which are read once.
    Reading smaps takes the kernel longer the more pages are resident: some 2 ms for 75 MiB in 270
    VMAs. Raises `ProcessError` when the process is gone or not yours.
    """
    folder = proc_root / str(pid)
    vmas = parse_smaps((folder / "smaps").read_text(errors="surrogateescape"))
    if not vmas:
        raise make_gone(pid)
    command = (folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
    segments = make_segments(vmas, _read_facts(folder, vmas))
    return AddressSpace(pid, command.decode(errors="replace"), segments)


def _read_facts(folder: Path, vmas: Iterable[Vma]) -> Facts:
    program = os.readlink(folder / "exe").replace("\n", "\\012")  # as maps writes it
    images: dict[str, Image] = {}
    unread = set()
    for vma in vmas:
        if "x" in vma.permissions and vma.path.startswith("/") and vma.path not in images:
            if image := _read_mapped_image(folder, vma, program):
                images[vma.path] = image
            else:
                unread.add(vma.path)
    return Facts(
        program=program,
        loader_base=_read_auxiliary_vector(folder).get(_AT_BASE, 0),
        images=images,
        unread_code=frozenset(unread),
        thread_stack_bytes=_read_stack_limit(folder),
        has_threads=len(os.listdir(folder / "task")) > 1,
        page_bytes=_PAGE_BYTES,
    )


def _read_mapped_image(folder: Path, vma: Vma, program: str) -> Image | None:
    """Read the file at its path if it is still the same; else by the kernel's link, if allowed."""
    if vma.path == program:
        return read_image(f"{folder}/exe")
    link = f"{folder}/map_files/{vma.start:x}-{vma.end:x}"
    return read_image(f"{folder}/root{vma.path}", vma.inode) or read_image(link)


def _read_auxiliary_vector(folder: Path) -> dict[int, int]:
    vector = (folder / "auxv").read_bytes()
    return dict(struct.iter_unpack("@NN", vector[: len(vector) // 16 * 16]))


def _read_stack_limit(folder: Path) -> int:
    """Return the soft limit of the first thread's stack, which is also the size of the others'."""
    for line in (folder / "limits").read_text().splitlines():
        if line.startswith("Max stack size"):
            limit = line.split()[3]
            return _UNLIMITED_STACK_BYTES if limit == "unlimited" else int(limit)
    return _UNLIMITED_STACK_BYTES
