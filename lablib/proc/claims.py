"""Who claims which addresses: ELF files by their headers, arenas and threads' stacks by shape.

A VMA can't tell: the kernel merges neighbours that have the same permissions, and .data and .bss
may share a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from lablib.language import term
from lablib.proc.images import Image, Load, Section
from lablib.records import Vma

ARENA_BYTES = 64 << 20
"""The size and the alignment of what glibc reserves for a thread's blocks (HEAP_MAX_SIZE)."""

MAX_GUARD_BYTES = 64 << 10
"""A larger reserved range below a stack is something else, of which the last page is the guard."""

NAMED_STACKS = ("[anon: glibc: pthread", "[anon: glibc: unused stack")
NAMED_ARENA = "[anon: glibc: malloc arena"
"""What glibc 2.39 and later call them when told to (glibc.mem.decorate_maps)."""

EXEC, LINKER = term("the kernel, at exec"), term("the dynamic linker")
ARENA, PTHREAD = term("malloc, for a thread"), "pthread_create"


class Claim(NamedTuple):
    """A range of addresses and what it is for; see `Segment`."""

    start: int
    end: int
    kind: str
    owner: str
    name: str = ""
    section: str = ""
    is_inferred: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of a process beside its VMAs.

    `images` are the ELF files that are mapped as code, by the path in the maps; `unread_code` are
    the paths of those that can't be read. `loader_base` is where the dynamic linker was put, 0
    without one. `thread_stack_bytes` is the size that pthread_create takes if it isn't told
    another.
    """

    program: str = ""
    loader_base: int = 0
    images: Mapping[str, Image] = field(default_factory=dict)
    unread_code: frozenset[str] = frozenset()
    thread_stack_bytes: int = 8 << 20
    has_threads: bool = False
    page_bytes: int = 4096

    def floor(self, address: int) -> int:
        """Return where the page of an address begins."""
        return address - address % self.page_bytes

    def ceil(self, address: int) -> int:
        """Return where the first page at or behind an address begins."""
        return address + -address % self.page_bytes


def find_claims(vmas: Sequence[Vma], facts: Facts) -> list[Claim]:
    """Return all claims by address; none overlaps another."""
    arenas = list(_claim_arenas(vmas))
    claims = [*_claim_images(vmas, facts), *arenas, *_claim_thread_stacks(vmas, arenas, facts)]
    return sorted(claims)


def is_anonymous(vma: Vma) -> bool:
    """Whether it is private memory from mmap, by whatever name."""
    return vma.permissions[3] == "p" and (not vma.path or vma.path.startswith("[anon:"))


def _claim_images(vmas: Sequence[Vma], facts: Facts) -> Iterator[Claim]:
    known_until: dict[str, int] = {}
    code_by_path: dict[str, list[int]] = {}
    for vma in vmas:
        if "x" in vma.permissions:
            code_by_path.setdefault(vma.path, []).append(vma.start)
    for vma in vmas:
        image = facts.images.get(vma.path)
        # The first page of a small file may be mapped twice: as its code, and before its data.
        if not image or vma.offset_bytes or vma.start < known_until.get(vma.path, 0):
            continue
        bias = vma.start - facts.floor(image.loads[0].start)
        end = bias + image.loads[-1].end
        if not any(vma.start <= code < end for code in code_by_path.get(vma.path, ())):
            continue  # read as a file, not loaded
        known_until[vma.path] = end
        name = base_name(vma.path)
        if vma.path == facts.program:
            for claim in _claim_program(image, name, facts):
                yield claim._replace(start=claim.start + bias, end=claim.end + bias)
            continue
        is_loader = vma.start == facts.loader_base
        kind, owner = ("loader", EXEC) if is_loader else ("library", LINKER)
        for load in image.loads:
            yield Claim(
                facts.floor(load.start) + bias, facts.ceil(load.end) + bias, kind, owner, name
            )


def _claim_program(image: Image, name: str, facts: Facts) -> Iterator[Claim]:
    """Yield what the program's own pages hold, at the file's addresses."""
    for load in image.loads:
        inside = [s for s in image.sections if load.start <= s.start < load.end]
        claim = _claim_writable if load.is_writable else _claim_constant
        parts = [part._replace(name=name) for part in claim(load, inside)]
        edges = Claim(facts.floor(load.start), facts.floor(load.start), "", "")
        behind = Claim(facts.ceil(load.end), facts.ceil(load.end), "", "")
        for before, after in pairwise([edges, *parts, behind]):
            if before.end < after.start:
                yield Claim(before.end, after.start, "padding", EXEC, name)
        yield from parts


def _claim_constant(load: Load, sections: Sequence[Section]) -> Iterator[Claim]:
    """Yield runs of code and of constants, which are in one load unless they were separated."""
    kinds = ["text" if section.is_code else "read_only" for section in sections]
    turns = [at for at, kind in enumerate(kinds) if at and kind != kinds[at - 1]]
    if not sections:
        yield Claim(load.start, load.file_end, "text" if load.is_code else "read_only", EXEC)
        return
    for first, last in pairwise([0, *turns, len(sections)]):
        start = sections[first].start if first else load.start
        end = sections[last].start if last < len(sections) else load.file_end
        section = sections[first].name if last - first == 1 else ""
        yield Claim(start, end, kinds[first], EXEC, section=section)


def _claim_writable(load: Load, sections: Sequence[Section]) -> Iterator[Claim]:
    """Yield .data and each zeroed section for itself, and the linker's tables as runs."""
    if not sections:
        yield Claim(load.start, load.file_end, "data", EXEC)
        if load.file_end < load.end:
            yield Claim(load.file_end, load.end, "bss", EXEC)
        return
    run: list[Section] = []
    for section in sections:
        if not section.is_zeroed and section.name != ".data":
            run.append(section)
            continue
        yield from _claim_tables(run)
        run = []
        kind = "bss" if section.is_zeroed else "data"
        yield Claim(section.start, section.end, kind, EXEC, section=section.name)
    yield from _claim_tables(run)


def _claim_tables(run: Sequence[Section]) -> Iterator[Claim]:
    if run:
        section = run[0].name if len(run) == 1 else ""
        yield Claim(run[0].start, run[-1].end, "data", EXEC, section=section)


def _claim_arenas(vmas: Sequence[Vma]) -> Iterator[Claim]:
    """Yield the arenas: the part in use, and the rest that is reserved."""
    full = []
    has_arena = False
    for start, usable_end in _find_arena_shapes(vmas):
        claim = Claim(start, usable_end, "arena", ARENA, is_inferred=True)
        if usable_end == start + ARENA_BYTES:
            full.append(claim)
            continue
        has_arena = True
        yield claim
        yield Claim(usable_end, start + ARENA_BYTES, "reserved", ARENA, is_inferred=True)
    if has_arena:
        yield from full


def _find_arena_shapes(vmas: Sequence[Vma]) -> Iterator[tuple[int, int]]:
    """Yield (start, end of the usable part) of ranges that look like an arena.

    They begin at a multiple of their size with memory that can be used, and the rest is reserved.
    One without a rest looks like any other memory, but for that glibc maps it without a claim on
    swap space ("nr").
    """
    for number, vma in enumerate(vmas):
        if vma.permissions[:2] != "rw" or not is_anonymous(vma):
            continue
        for start in range(vma.start + -vma.start % ARENA_BYTES, vma.end, ARENA_BYTES):
            end = start + ARENA_BYTES
            if vma.end >= end:
                if "nr" in vma.flags.split() and vma.start % ARENA_BYTES == 0:
                    yield start, end
            elif number + 1 < len(vmas):
                rest = vmas[number + 1]
                is_reserved = rest.permissions[:3] == "---" and is_anonymous(rest)
                if is_reserved and rest.start == vma.end and rest.end >= end:
                    yield start, vma.end


def _claim_thread_stacks(
    vmas: Sequence[Vma], arenas: Iterable[Claim], facts: Facts
) -> Iterator[Claim]:
    """Yield threads' stacks and the guard below each of them.

    A stack of another size than the usual one can't be told from a mapping right above it that the
    kernel has merged with it: all of it counts as the stack then.
    """
    found = list(_find_stack_shapes(vmas, [arena.end for arena in arenas]))
    # Kernels since 6.7 keep huge pages out of what is mapped as a stack ("nh").
    marked = [shape for shape in found if "nh" in shape[2].flags.split()]
    for guard_start, guard_end, vma in marked or found:
        size_bytes = facts.thread_stack_bytes
        is_named = vma.path.startswith(NAMED_STACKS)
        has_usual_size = vma.size_bytes in (size_bytes, size_bytes - (guard_end - guard_start))
        if is_named or has_usual_size:
            end = vma.end
        elif vma.size_bytes > size_bytes:
            end = vma.start + size_bytes  # the kernel has merged it with what lies above
        elif facts.has_threads and guard_end - guard_start <= MAX_GUARD_BYTES:
            end = vma.end
        else:
            continue
        if guard_end - guard_start > MAX_GUARD_BYTES:
            guard_start = guard_end - facts.page_bytes
        yield Claim(guard_start, guard_end, "guard", PTHREAD, is_inferred=not is_named)
        yield Claim(vma.start, end, "thread_stack", PTHREAD, is_inferred=not is_named)


def _find_stack_shapes(
    vmas: Sequence[Vma], arena_ends: Sequence[int]
) -> Iterator[tuple[int, int, Vma]]:
    """Yield (start and end of what is reserved, the VMA right above it that can be used)."""
    for below, vma in pairwise(vmas):
        if (
            below.end == vma.start
            and below.permissions[:3] == "---"
            and vma.permissions[:2] == "rw"
            and is_anonymous(below)
            and is_anonymous(vma)
        ):
            start = max([below.start, *(end for end in arena_ends if end <= below.end)])
            if start < below.end:
                yield start, below.end, vma


def base_name(path: str) -> str:
    """Return a mapped file's name without its folder and without the kernel's " (deleted)"."""
    return path.removesuffix(" (deleted)").rpartition("/")[2]
