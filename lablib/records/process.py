"""One process at one moment: its address space, its resident pages, its sizes, its heap's chunks.

All addresses are numbers, and every range is from `start` up to, not including, `end`.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

SEGMENT_KINDS = (
    "text",
    "read_only",
    "data",
    "bss",
    "heap",
    "arena",
    "stack",
    "thread_stack",
    "library",
    "loader",
    "file",
    "shared",
    "anonymous",
    "guard",
    "reserved",
    "padding",
    "vdso",
    "kernel",
)
"""What a part of an address space is for.

`text`, `read_only`, `data` and `bss` are the program's own; all parts of a shared library are
`library`, all of the dynamic linker `loader`. `heap` grows by brk; `arena` is what malloc has
mapped to serve a thread. `stack` is the first thread's. `file` is another mapped file (private or
shared), `shared` is memory that is shared without a file on a disk, `anonymous` is private memory
from mmap. Nothing may touch a `guard` (it ends a stack) or what is `reserved` (it may become usable
later). `padding` is what a file's parts leave of their pages. `vdso` is the kernel's code in every
process, `kernel` its data beside it.
"""

PRESENT, SWAPPED, FILE_OR_SHARED, EXCLUSIVE = 1, 2, 4, 8
"""The bits of `ResidentPages.flags`, one byte for each page.

The page is in memory; it is in swap; it belongs to a file or is shared memory (else it is
anonymous); it is in memory and mapped once only, so that no other process has a part in it.
"""

CHUNK_STATES = ("used", "cached", "free", "top")
"""What malloc knows a chunk as.

`cached` was freed and waits, unmerged, in a tcache or fastbin; `free` is in another bin; `top` is
the rest of the heap, which is cut when no bin has a chunk that fits.
"""


@dataclass(frozen=True)
class Vma:
    """One virtual memory area: a line of /proc/PID/maps with its numbers from smaps (proc(5)).

    `permissions` are as the kernel writes them ("r-xp"; p is private, s shared). `path` is the
    mapped file, a name in brackets that the kernel gave ("[heap]"), or "" for anonymous memory;
    `inode` and `offset_bytes` are 0 where there is no file. `flags` are smaps's VmFlags ("rd wr mr
    mw me ac"). Bytes are of resident pages, but for `swap_bytes`; `pss_bytes` counts a page that n
    processes map as an n-th.
    """

    start: int
    end: int
    permissions: str
    offset_bytes: int = 0
    inode: int = 0
    path: str = ""
    rss_bytes: int = 0
    pss_bytes: int = 0
    shared_clean_bytes: int = 0
    shared_dirty_bytes: int = 0
    private_clean_bytes: int = 0
    private_dirty_bytes: int = 0
    anonymous_bytes: int = 0
    swap_bytes: int = 0
    flags: str = ""

    @property
    def size_bytes(self) -> int:
        """Bytes of addresses, resident or not."""
        return self.end - self.start


@dataclass(frozen=True)
class Segment:
    """A part of a VMA, or all of it, with one meaning; .data and .bss may even share a page.

    `kind` is one of `SEGMENT_KINDS`. `owner` says in words who put it there ("malloc, by brk").
    `name` is the mapped file's without its folder, "" without a file. `section` is the ELF section
    that it is (".data"), where it is exactly one. `is_inferred` says that it was recognised by its
    shape (an arena, a thread's stack), not told by the kernel. How much is resident is known for
    the `vma` as a whole; by page it is in `ResidentPages`.
    """

    start: int
    end: int
    kind: str
    owner: str
    vma: Vma
    name: str = ""
    section: str = ""
    is_inferred: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of addresses, resident or not."""
        return self.end - self.start


@dataclass(frozen=True)
class AddressSpace:
    """All that a process has mapped; each byte of each VMA is in one of `segments`, by address."""

    pid: int
    command: str
    segments: tuple[Segment, ...]

    def find(self, address: int) -> Segment | None:
        """Return the segment that an address lies in, None where nothing is mapped."""
        index = bisect.bisect_right(self.segments, address, key=lambda segment: segment.start) - 1
        if index >= 0 and address < self.segments[index].end:
            return self.segments[index]
        return None

    def of_kind(self, kind: str) -> tuple[Segment, ...]:
        """Return the segments of one of `SEGMENT_KINDS`, by address."""
        return tuple(segment for segment in self.segments if segment.kind == kind)

    @property
    def vmas(self) -> tuple[Vma, ...]:
        """The VMAs that the segments are parts of, by address."""
        return tuple({segment.vma.start: segment.vma for segment in self.segments}.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of addresses, as VmSize counts them: without the page [vsyscall]."""
        return sum(vma.size_bytes for vma in self.vmas if vma.path != "[vsyscall]")

    @property
    def rss_bytes(self) -> int:
        """Bytes of resident pages, shared ones in full."""
        return sum(vma.rss_bytes for vma in self.vmas)

    @property
    def pss_bytes(self) -> int:
        """Bytes of resident pages, a page that n processes map as an n-th."""
        return sum(vma.pss_bytes for vma in self.vmas)


@dataclass(frozen=True)
class ResidentPages:
    """What /proc/PID/pagemap says of each page of a range: a byte a page, from `start` on.

    The bits of a byte are `PRESENT`, `SWAPPED`, `FILE_OR_SHARED` and `EXCLUSIVE`.
    """

    start: int
    page_bytes: int
    flags: bytes

    @property
    def end(self) -> int:
        """The address behind the last page."""
        return self.start + len(self.flags) * self.page_bytes

    @property
    def count(self) -> int:
        """How many of the pages are in memory."""
        return self.flags.translate(_IS_PRESENT).count(1)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the pages that are in memory."""
        return self.count * self.page_bytes


_IS_PRESENT = bytes(flags & PRESENT for flags in range(256))


@dataclass(frozen=True)
class ProcessSizes:
    """The sizes of a process at one moment, from /proc/PID/status, stat and smaps_rollup.

    `elapsed_s` counts from the start of the sampling. The resident set is anonymous, file and
    shared pages: `rss_bytes` is the sum of these three. `pss_bytes` is None where it may not be
    read. `stack_bytes` is the first thread's stack in addresses, not resident. Faults are the sum
    over all threads since the process was started.
    """

    elapsed_s: float
    vm_size_bytes: int
    rss_bytes: int
    pss_bytes: int | None
    swap_bytes: int
    rss_anon_bytes: int
    rss_file_bytes: int
    rss_shared_bytes: int
    stack_bytes: int
    page_table_bytes: int
    minor_faults: int
    major_faults: int


@dataclass(frozen=True)
class ProcessResources:
    """What the kernel says that a process holds at one moment, beside its heap.

    Bytes are from /proc/PID/status; the resident set is the sum of its anonymous, file and shared
    pages. `open_files` counts the entries of /proc/PID/fd, None where they may not be listed;
    `newest_files` are what the highest numbers stand for: paths, or "sockets", "pipes".
    `shared_segments` and `shared_segment_bytes` are System V segments that the process has created
    and files in its /dev/shm that are its own as far as can be told, mapped by anybody or not;
    `unclaimed_segments` are files of its user there, no older than itself, of which it can't be
    told who made them. They are None where they may not be read.
    """

    vm_size_bytes: int
    rss_anon_bytes: int
    rss_file_bytes: int
    rss_shared_bytes: int
    swap_bytes: int
    threads: int
    open_files: int | None = None
    shared_segments: int | None = None
    shared_segment_bytes: int | None = None
    newest_files: tuple[str, ...] = ()
    unclaimed_segments: int | None = None

    @property
    def rss_bytes(self) -> int:
        """Bytes of resident pages, shared ones in full."""
        return self.rss_anon_bytes + self.rss_file_bytes + self.rss_shared_bytes


@dataclass(frozen=True)
class Chunk:
    """One chunk of malloc's heap: `address` is its header's, and `size_bytes` includes the header.

    `state` is one of `CHUNK_STATES`.
    """

    address: int
    size_bytes: int
    state: str


@dataclass(frozen=True)
class HeapMap:
    """The chunks of the main heap, by address, without gaps from `start` to `end`.

    A heap may have a million: so each is 8 bytes of `sizes` (a native unsigned number) and one of
    `states` (its place in `CHUNK_STATES`); `chunks` are the same as records. Without `knows_cached`
    the chunks that wait could not be told: they count as used.
    """

    start: int
    end: int
    sizes: bytes
    states: bytes
    knows_cached: bool = True

    @classmethod
    def of(cls, start: int, end: int, chunks: Sequence[Chunk]) -> HeapMap:
        """Return the map of chunks that follow each other from `start` to `end`."""
        sizes = array("Q", (chunk.size_bytes for chunk in chunks)).tobytes()
        return cls(start, end, sizes, bytes(CHUNK_STATES.index(each.state) for each in chunks))

    @cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """The chunks by address."""
        sizes = array("Q", self.sizes)
        addresses = accumulate(sizes, initial=self.start)
        states = (CHUNK_STATES[number] for number in self.states)
        return tuple(map(Chunk, addresses, sizes, states))


@dataclass(frozen=True)
class HeapUse:
    """What malloc has handed out and what is resident, after one step of a program.

    `live_bytes` are in use as malloc counts them, headers included. `rss_bytes` is the resident
    set, less what it was before the first step.
    """

    step: str
    live_bytes: int
    rss_bytes: int
