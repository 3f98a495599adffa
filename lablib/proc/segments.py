"""From VMAs to segments: the claims on each VMA, and what a VMA is that nobody claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lablib.language import term
from lablib.proc.claims import (
    ARENA,
    EXEC,
    LINKER,
    NAMED_ARENA,
    NAMED_STACKS,
    PTHREAD,
    Claim,
    Facts,
    base_name,
    find_claims,
)
from lablib.records import Segment, Vma

MMAP = term("the program or a library, by mmap")

# The beginning of the name that the kernel shows -> kind and owner; the first that fits.
_BY_NAME = (
    ("[heap]", "heap", term("malloc, by brk")),
    ("[stack]", "stack", EXEC),
    ("[vdso]", "vdso", EXEC),
    ("[vvar", "kernel", EXEC),
    ("[vsyscall]", "kernel", term("the kernel, in every process")),
    *((name, "thread_stack", PTHREAD) for name in NAMED_STACKS),
    (NAMED_ARENA, "arena", ARENA),
    ("[anon: glibc: malloc", "anonymous", term("malloc, by mmap")),
    ("[anon: glibc: loader", "anonymous", LINKER),
    ("[anon:", "anonymous", MMAP),
    ("[anon_shmem:", "shared", MMAP),
    ("[", "kernel", term("the kernel")),
    ("anon_inode:", "kernel", MMAP),
    ("/SYSV", "shared", term("the program, by shmat")),
)
_SHARED_WITHOUT_A_DISK = ("/dev/shm/", "/memfd:")


def make_segments(vmas: Sequence[Vma], facts: Facts) -> tuple[Segment, ...]:
    """Return the segments by address: each byte of each VMA is in exactly one."""
    claims = find_claims(vmas, facts)
    found: list[Segment] = []
    first = 0
    covered = 0  # smaps is read in parts: a VMA that has grown meanwhile is told a second time
    for vma in vmas:
        while first < len(claims) and claims[first].end <= vma.start:
            first += 1
        last = first
        while last < len(claims) and claims[last].start < vma.end:
            last += 1
        found += _split(vma, covered, claims[first:last], facts)
        covered = max(covered, vma.end)
    return tuple(found)


def _split(vma: Vma, covered: int, claims: Sequence[Claim], facts: Facts) -> Iterator[Segment]:
    end = max(vma.start, covered)
    for claim in claims:
        start = max(claim.start, end)
        if end < start:
            yield _make_segment(vma, Claim(end, start, *_classify(vma, facts)))
        end = min(claim.end, vma.end)
        if start < end:
            yield _make_segment(vma, claim._replace(start=start, end=end))
    if end < vma.end:
        yield _make_segment(vma, Claim(end, vma.end, *_classify(vma, facts)))


def _make_segment(vma: Vma, claim: Claim) -> Segment:
    kind, owner = claim.kind, claim.owner
    if kind == "data" and "w" not in vma.permissions:
        kind, owner = (
            "read_only",
            term("{who}, and read-only since the program was linked", who=EXEC),
        )
    elif vma.permissions[:3] == "---" and kind in ("library", "loader"):
        kind = "reserved"
    return Segment(
        claim.start, claim.end, kind, owner, vma, claim.name, claim.section, claim.is_inferred
    )


def _classify(vma: Vma, facts: Facts) -> tuple[str, str, str]:
    """Return kind, owner and name of a VMA, or of what is left of it when all claims are served."""
    kind, owner, name = _classify_by_path(vma, facts)
    if vma.permissions[:3] != "---":
        return kind, owner, name
    return "reserved", LINKER if vma.path in facts.images else owner, name


def _classify_by_path(vma: Vma, facts: Facts) -> tuple[str, str, str]:
    path = vma.path
    is_private = vma.permissions[3] == "p"
    if not path or path.startswith("/dev/zero"):
        return ("anonymous" if is_private else "shared"), MMAP, ""
    for beginning, kind, owner in _BY_NAME:
        if path.startswith(beginning):
            return kind, owner, ""
    if path in facts.unread_code:
        kind, owner = ("text", EXEC) if path == facts.program else ("library", LINKER)
        return kind, owner, base_name(path)
    is_shared = not is_private and path.startswith(_SHARED_WITHOUT_A_DISK)
    return ("shared" if is_shared else "file"), MMAP, base_name(path)
