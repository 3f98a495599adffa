"""The chunks of malloc's heap in a live process: which are in use, which wait, which are free.

glibc's malloc asks the kernel for the memory called [heap] and cuts it into *chunks*, one behind
the other. Each begins with a header of 16 bytes, and the pointer that `malloc` returns lies behind
it. The header's second word is the chunk's size, header included: a multiple of 16, of at least 32.
The first word belongs to the chunk before while that one is in use; so a block of n bytes takes a
chunk of n + 8 bytes, rounded up to 16.

As sizes are multiples of 16, the size's lowest bits can serve as flags. The lowest of all,
PREV_INUSE, says that the chunk *before* is in use. Where it is 0 that chunk is free, and the
header's first word repeats its size. So the heap can be walked from its start to its end, and each
chunk's state is told by the next one. The last chunk, *top*, is the rest, from which new ones are
cut.

A block that is freed is not free in this sense at once. Small ones (up to 1,032 bytes) first wait
in the *tcache*, seven of each size, and then those up to 128 bytes in the *fastbins*, so that the
next `malloc` of that size is fast. A chunk that waits keeps its neighbours from growing together.

What is read is what glibc 2.32 to 2.41 writes on 64-bit Linux, little-endian. It follows glibc's
malloc/malloc.c; an overview is in the MallocInternals page of glibc's wiki.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import struct
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import ProcessError
from lablib.language import term
from lablib.records import CHUNK_STATES, HeapMap

_PREV_INUSE = 1
_FLAGS = 7
_NEVER_IN_MAIN_HEAP = 0b1110
"""Mapped alone, of another arena, or a size that is no multiple of 16."""
_MIN_CHUNK_BYTES = 32
_HEADER_BYTES = 16
_WORD_BYTES = 8

_LIBRARY = ("libc.so.6", "libc-2.")
"""How glibc's file is called; that of musl begins with ld-musl, or is libc.so."""
_BINS = 127
_FASTBINS = 10
_TCACHE_BINS = 64
_TCACHE_CHUNK_BYTES = 656
"""glibc to 2.41: 64 counts of 16 bits and 64 pointers, behind a header. 2.42 has more lists."""

_PAGE_BYTES = 4096
_ATTEMPTS = 5
_PAUSE_S = 0.02


def read_heap_map(pid: int) -> HeapMap:
    """Return the chunks of a process's main heap, by address, from [heap]'s start to its end.

    Each chunk's `size_bytes` includes the header of 16 bytes; a pointer from malloc is `address` +
    16. The first chunk, of 656 bytes, is malloc's own: its tcache. States:

    - "used": handed out, or nothing that can be told from it, see below;
    - "cached": freed, and waiting in the first thread's tcache or in a fastbin;
    - "free": freed, merged with its free neighbours, in another bin;
    - "top": the rest.

    Told as "used" though they are freed: chunks in *another* thread's tcache, and all that wait
    where this glibc keeps them in another way than the one that is known here: then
    `HeapMap.knows_cached` is False. The arenas of other threads, and blocks that malloc maps alone
    (from 128 KiB on, by default), lie outside [heap] and are not in the map.

    It comes from /proc/PID/mem, and only pages that hold a header are read: malloc has written to
    them before, so that reading changes nothing about the process's resident set. The process goes
    on meanwhile. A walk that doesn't end exactly at the heap's end, or bins that don't fit it, are
    tried again; what can't be read in that way is refused, never guessed.

    Raises `ProcessError` when the process is gone or not yours, has no [heap], is linked statically
    or with another C library, has another allocator (jemalloc ...), moves the break by itself
    (sbrk), or changes too fast.
    """
    heap_map = None
    reason = ""
    with _open_memory(pid) as memory:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_S)
            try:
                heap_map = _read_once(pid, memory)
            except _NoChunksError as error:
                reason = error.args[0]
                continue
            if heap_map.knows_cached:
                return heap_map
    if heap_map is None:
        raise ProcessError(
            term(
                "the heap of process {pid} can't be read as glibc's: {reason}",
                pid=pid,
                reason=reason,
            ),
            term(
                "the lab's programs can be read; others may have another allocator, move the "
                "break by themselves, or allocate too fast"
            ),
        )
    return heap_map


class _NoChunksError(Exception):
    """What was read is not a heap of glibc's, or not one of a single moment."""


@dataclass(frozen=True)
class _Mapping:
    start: int
    end: int
    permissions: str
    path: str


@dataclass(frozen=True)
class _Memory:
    """A process's memory, by address: an open /proc/PID/mem."""

    _descriptor: int

    def read_words(self, address: int, count: int) -> memoryview[int]:
        """Return `count` words of 8 bytes; `_NoChunksError` where nothing is mapped."""
        try:
            content = os.pread(self._descriptor, 8 * count, address)
        except (OSError, OverflowError):
            content = b""
        if len(content) != 8 * count:
            raise _NoChunksError(term("nothing can be read at {address:#x}", address=address))
        return memoryview(content).cast("Q")


@contextlib.contextmanager
def _open_memory(pid: int) -> Iterator[_Memory]:
    """Yield the memory; what the kernel refuses meanwhile becomes a `ProcessError`."""
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
            yield _Memory(file.fileno())
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessError(
            term("process {pid} is gone, or has no memory of its own", pid=pid),
            term("see which ones run: ps -e"),
        ) from None
    except PermissionError:
        raise ProcessError(
            term("the memory of process {pid} is not yours to read", pid=pid),
            term(
                "start the program from the lab, as the same user, or start the lab with: sudo "
                "./lab"
            ),
        ) from None


def _read_once(pid: int, memory: _Memory) -> HeapMap:
    mappings = _read_mappings(pid)
    data = _find_library(pid, mappings)
    start, end = _find_heap(pid, mappings)
    heap = _walk(memory, start, end)
    arena = _find_main_arena(memory, heap, data)
    cached = _find_cached(memory, heap, arena)
    used, waiting, free, top = range(len(CHUNK_STATES))
    states = bytearray([used]) * len(heap.addresses)
    for index in heap.free:
        states[index] = free
    for index in cached or ():
        states[index] = waiting
    states[-1] = top
    sizes = array("Q", heap.sizes).tobytes()
    return HeapMap(start, end, sizes, bytes(states), knows_cached=cached is not None)


def _read_mappings(pid: int) -> list[_Mapping]:
    lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    if not lines:
        raise ProcessLookupError
    mappings = []
    for line in lines:
        bounds, permissions, _offset, _device, _inode, *path = line.split(maxsplit=5)
        start, _, end = bounds.partition("-")
        mappings.append(_Mapping(int(start, 16), int(end, 16), permissions, "".join(path)))
    return mappings


def _find_heap(pid: int, mappings: Sequence[_Mapping]) -> tuple[int, int]:
    """Return where the first chunk lies, and the end of [heap]."""
    parts = [mapping for mapping in mappings if mapping.path == "[heap]"]
    if not parts:
        raise ProcessError(
            term("process {pid} has no [heap]", pid=pid),
            term("it has not called malloc yet, or its allocator takes its memory from elsewhere"),
        )
    # Without randomisation an older kernel lets the heap begin inside the program's last page.
    begin = int(
        Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[44]
    )
    return -(-begin // _HEADER_BYTES) * _HEADER_BYTES, parts[-1].end


def _find_library(pid: int, mappings: Sequence[_Mapping]) -> list[_Mapping]:
    """Return where the data of glibc is."""
    data = [
        mapping
        for mapping in mappings
        if mapping.permissions == "rw-p" and Path(mapping.path).name.startswith(_LIBRARY)
    ]
    if not data:
        raise ProcessError(
            term("process {pid} doesn't use glibc's malloc as a shared library", pid=pid),
            term("to read its heap, link the program dynamically, with glibc"),
        )
    return data


@dataclass(frozen=True)
class _Heap:
    """What a walk has found: the chunks' addresses and sizes, and the indices of the free ones."""

    addresses: Sequence[int]
    sizes: Sequence[int]
    free: Sequence[int]

    def find(self, address: int) -> int | None:
        """Return the index of the chunk that begins at an address, None if none does."""
        index = bisect.bisect_left(self.addresses, address)
        is_one = index < len(self.addresses) and self.addresses[index] == address
        return index if is_one else None


def _walk(memory: _Memory, start: int, end: int) -> _Heap:
    addresses: list[int] = []
    sizes: list[int] = []
    free: list[int] = []
    address, size = start, 0
    while address < end:
        page = address & -_PAGE_BYTES
        words = memory.read_words(page, _PAGE_BYTES // _WORD_BYTES)
        stop = min(page + _PAGE_BYTES, end)
        while address < stop:
            place = (address - page) // _WORD_BYTES
            word = words[place + 1]
            if not word & _PREV_INUSE:
                if words[place] != size:
                    raise _NoChunksError(
                        term("no free chunk ends at {address:#x}", address=address)
                    )
                free.append(len(addresses) - 1)
            size = word & ~_FLAGS
            if size < _MIN_CHUNK_BYTES or word & _NEVER_IN_MAIN_HEAP:
                raise _NoChunksError(term("there is no chunk at {address:#x}", address=address))
            addresses.append(address)
            sizes.append(size)
            address += size
    if address != end:
        raise _NoChunksError(
            term(
                "the last chunk ends at {address:#x}, the heap at {end:#x}",
                address=address,
                end=end,
            )
        )
    return _Heap(addresses, sizes, free)


def _find_main_arena(memory: _Memory, heap: _Heap, data: Sequence[_Mapping]) -> int:
    """Return where the main arena keeps the address of top.

    The arena has no symbol. It is recognised by what it says: the word that is top's address is
    followed by the heads of 127 bins, each of which points to itself or to free chunks of the walk.
    """
    for mapping in data:
        for page in range(mapping.start, mapping.end, _PAGE_BYTES):
            words = memory.read_words(page, _PAGE_BYTES // _WORD_BYTES)
            for place, word in enumerate(words):
                at = page + place * _WORD_BYTES
                if word == heap.addresses[-1] and _are_bins(memory, heap, at):
                    return at
    raise _NoChunksError(term("the C library's bins don't fit its chunks"))


def _are_bins(memory: _Memory, heap: _Heap, at: int) -> bool:
    """Return whether the bins' heads follow behind the word of top and another."""
    free = {heap.addresses[index] for index in heap.free}
    heads = memory.read_words(at + 2 * _WORD_BYTES, 2 * _BINS)
    for number in range(_BINS):
        # A head is used as if it were a chunk's pointers, behind a header.
        itself = at + number * _HEADER_BYTES
        ends = {heads[2 * number], heads[2 * number + 1]}
        if ends != {itself} and not ends <= free:
            return False
    return True


def _find_cached(memory: _Memory, heap: _Heap, arena: int) -> set[int] | None:
    """Return the indices of the chunks that wait, None where their lists can't be read."""
    try:
        return {*_read_tcache(memory, heap), *_read_fastbins(memory, heap, arena)}
    except _NoChunksError:
        return None


def _follow(memory: _Memory, at: int) -> int:
    """Return the pointer that is kept at an address, which glibc has mixed with that address."""
    return memory.read_words(at, 1)[0] ^ (at >> 12)


def _read_tcache(memory: _Memory, heap: _Heap) -> Iterator[int]:
    """Yield the indices of the chunks in the first thread's tcache, which is the first chunk.

    Each of its lists must be as long as its count says, and hold chunks of its size only. Some may
    be of other threads' arenas.
    """
    if heap.sizes[0] != _TCACHE_CHUNK_BYTES:
        raise _NoChunksError(term("this glibc has another tcache"))
    books = memory.read_words(heap.addresses[0] + _HEADER_BYTES, _TCACHE_BINS // 4 + _TCACHE_BINS)
    counts = struct.unpack(f"{_TCACHE_BINS}H", books[: _TCACHE_BINS // 4])
    for number, count in enumerate(counts):
        pointer = books[_TCACHE_BINS // 4 + number]
        for _ in range(count):
            address = pointer - _HEADER_BYTES
            size = memory.read_words(address + _WORD_BYTES, 1)[0] & ~_FLAGS
            if size != _MIN_CHUNK_BYTES + number * _HEADER_BYTES:
                raise _NoChunksError(
                    term("no chunk of the tcache at {address:#x}", address=address)
                )
            index = heap.find(address)
            if index is not None:
                yield index
            pointer = _follow(memory, pointer)
        if pointer:
            raise _NoChunksError(term("the tcache has more chunks than it counts"))


def _read_fastbins(memory: _Memory, heap: _Heap, arena: int) -> Iterator[int]:
    """Yield the indices of the chunks in the fastbins, whose heads lie before top's address."""
    heads = memory.read_words(arena - _FASTBINS * _WORD_BYTES, _FASTBINS)
    for number, head in enumerate(heads):
        address, seen = head, set[int]()
        while address:
            index = heap.find(address)
            size = _MIN_CHUNK_BYTES + number * _HEADER_BYTES
            if index is None or index in seen or heap.sizes[index] != size:
                raise _NoChunksError(term("no chunk of a fastbin at {address:#x}", address=address))
            seen.add(index)
            yield index
            address = _follow(memory, address + _HEADER_BYTES)
