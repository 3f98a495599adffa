"""A file and its pages in the page cache: written, read, counted and forgotten, by any user."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil

from lablib.errors import LabError
from lablib.language import term
from lablib.wording import os_reason

MIB = 1 << 20
LARGEST_BYTES = 512 * MIB
SMALLEST_BYTES = 64 * MIB
SHARE_OF_ROOM = 8
"""A file takes at most an eighth of the memory that is available, and of the room on the disk."""

CHECKOUT = Path(__file__).resolve().parents[1]
_LIBC = ctypes.CDLL(None, use_errno=True)


def choose_file_bytes(folder: Path = CHECKOUT, largest_bytes: int = LARGEST_BYTES) -> int:
    """Return how large a file may be here that memory shall hold: whole steps of 64 MiB.

    At most `largest_bytes`, and at most an eighth of MemAvailable and of the free space of the
    folder's file system. Raises `LabError` where that is less than 64 MiB.
    """
    room = min(psutil.virtual_memory().available, shutil.disk_usage(folder).free) // SHARE_OF_ROOM
    size = min(largest_bytes, room) // SMALLEST_BYTES * SMALLEST_BYTES
    if size < SMALLEST_BYTES:
        needed = SHARE_OF_ROOM * SMALLEST_BYTES // MIB
        raise LabError(
            term(
                "a file that shows in the page cache needs {needed} MiB of free memory and disk",
                needed=needed,
            ),
            term("end what you don't need, or free some space in {folder}", folder=folder),
        )
    return size


class CachedFile(AbstractContextManager["CachedFile"]):
    """A file without a name, and what the kernel keeps of it in memory.

    It lies in `folder`, on a disk, and is gone when it is closed or its process ends, however that
    comes. It holds `LARGEST_BYTES` at most.
    """

    def __init__(self, folder: Path = CHECKOUT) -> None:
        """Make it, with nothing in it; raises `LabError` where it can't be made."""
        self.folder = folder
        self.size_bytes = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise LabError(
                term(
                    "no file can be made in {folder} ({reason})",
                    folder=folder,
                    reason=os_reason(error),
                )
            ) from None
        self._piece = os.urandom(MIB)  # a file system may keep zeros without any page

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.close()

    def write(self, size_bytes: int) -> None:
        """Write so many bytes at its end; raises `LabError` if there are too many.

        The pages are *dirty* then: newer than what the disk has, until the kernel writes them back.
        """
        if self.size_bytes + size_bytes > LARGEST_BYTES:
            raise LabError(
                term(
                    "the file may have {mib} MiB, no more",
                    mib=LARGEST_BYTES // MIB,
                )
            )
        end = self.size_bytes + size_bytes
        self._file.seek(0, os.SEEK_END)
        try:
            while self.size_bytes < end:
                self.size_bytes += self._file.write(self._piece[: end - self.size_bytes]) or 0
        except OSError as error:
            raise LabError(
                term(
                    "the file in {folder} can't grow ({reason})",
                    folder=self.folder,
                    reason=os_reason(error),
                ),
                term("free some space there"),
            ) from None

    def read(self, size_bytes: int = LARGEST_BYTES) -> int:
        """Read so many bytes from its start on, or all; keep none, and return how many it were."""
        self._file.seek(0)
        buffer = memoryview(bytearray(MIB))
        count = 0
        while count < size_bytes and (
            got := self._file.readinto(buffer[: min(MIB, size_bytes - count)])
        ):
            count += got
        return count

    def forget(self) -> None:
        """Have the kernel write back what is dirty, and drop all of its pages from the page cache.

        That is posix_fadvise(2) with POSIX_FADV_DONTNEED: the file stays as it is. Raises
        `LabError` where the pages stay, as in a file system that is in memory only.
        """
        os.fsync(self._file.fileno())
        os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if self.cached_bytes > self.size_bytes // 10:
            raise LabError(
                term(
                    "the file system of {folder} keeps its files in memory and can't forget them",
                    folder=self.folder,
                ),
                term("put the lab into a folder that is on a disk"),
            )

    @property
    def cached_bytes(self) -> int:
        """How many bytes of it are in the page cache, by mincore(2): whole pages."""
        if not self.size_bytes:
            return 0
        with self.map() as view:
            pages = -(-self.size_bytes // mmap.PAGESIZE)
            found = (ctypes.c_ubyte * pages)()
            start = ctypes.c_char.from_buffer(view)
            try:
                address = ctypes.c_void_p(ctypes.addressof(start))
                if _LIBC.mincore(address, ctypes.c_size_t(self.size_bytes), found):
                    error = os.strerror(ctypes.get_errno())
                    raise LabError(
                        term(
                            "the kernel does not tell what it keeps of a file ({error})",
                            error=error,
                        )
                    )
            finally:
                del start  # or the mapping can't be closed
        return sum(page & 1 for page in found) * mmap.PAGESIZE

    @contextmanager
    def map(self) -> Iterator[mmap.mmap]:
        """Map it, shared, for as long as the `with` block lasts; mapping alone reads no page."""
        with mmap.mmap(self._file.fileno(), self.size_bytes) as view:
            yield view

    def close(self) -> None:
        """Remove it, and what is kept of it; safe more than once."""
        self._file.close()
