"""The text of /proc/PID/smaps, parsed fast enough for a live picture of hundreds of VMAs."""

from __future__ import annotations

from lablib.errors import LabError
from lablib.language import term
from lablib.records import Vma

KIB = 1024

# The line of smaps -> the field of Vma. The kernel prints the same lines for each VMA, in the same
# order; which others there are differs from kernel to kernel.
_SIZES = {
    "Rss:": "rss_bytes",
    "Pss:": "pss_bytes",
    "Shared_Clean:": "shared_clean_bytes",
    "Shared_Dirty:": "shared_dirty_bytes",
    "Private_Clean:": "private_clean_bytes",
    "Private_Dirty:": "private_dirty_bytes",
    "Anonymous:": "anonymous_bytes",
    "Swap:": "swap_bytes",
}
_FLAGS = "VmFlags:"


def parse_smaps(text: str) -> list[Vma]:
    """Return the VMAs in the text of a /proc/PID/smaps, by address.

    Raises `LabError` for a text whose VMAs don't all have the lines that we take.
    """
    lines = text.split("\n")[:-1]
    if not lines:
        return []
    try:
        names = [line.split(None, 1)[0] for line in lines[:64]]
        per_vma = names.index(_FLAGS) + 1
        sizes = [
            [int(line) * KIB for line in _read_column(lines, names.index(name), per_vma, name)]
            for name in _SIZES
        ]
        flags = _read_column(lines, per_vma - 1, per_vma, _FLAGS)
        return [
            _make_vma(header, words, numbers)
            for header, words, numbers in zip(
                lines[::per_vma], flags, zip(*sizes, strict=True), strict=True
            )
        ]
    except (ValueError, IndexError):
        raise LabError(term("this kernel's smaps is something else than we know")) from None


def _read_column(lines: list[str], row: int, per_vma: int, name: str) -> list[str]:
    """Return what one line of each VMA says behind its name, without the unit."""
    column = lines[row::per_vma]
    if not all(line.startswith(name) for line in column):
        raise ValueError(name)
    return [line[len(name) :].removesuffix(" kB").strip() for line in column]


def _make_vma(header: str, flags: str, sizes: tuple[int, ...]) -> Vma:
    span, permissions, offset, _, inode, *path = header.split(None, 5)
    start, end = span.split("-")
    return Vma(
        int(start, 16),
        int(end, 16),
        permissions,
        int(offset, 16),
        int(inode),
        path[0] if path else "",
        flags=flags,
        **dict(zip(_SIZES.values(), sizes, strict=True)),
    )
