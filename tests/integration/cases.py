"""Programs whose memory is known to the byte, and what a tool must answer about each.

The programs lie in programs/. They wait for release when started with --wait, so that a tool can
attach before their first allocation. The tests run all of them; benchmarks/exactness.py asks other
tools about them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from checks import (
    Live,
    Outcome,
    check_cut,
    check_ended,
    check_estimate,
    check_failed_realloc,
    check_from_before,
    check_inlined,
    check_killed,
    compare_heap,
    compare_mappings,
    compare_total,
)

PROGRAMS = Path(__file__).parent / "programs"

LIBC_THREAD_BYTES = 4096
"""More than the C library keeps on the heap for the threads it has started: 300 bytes each."""

THREAD_STACK_BYTES = (8 << 20) + 4096
"""A thread's stack in idle_threads.c, with its guard page."""

ARENA_BYTES = 64 << 20
"""What glibc reserves for an arena on 64 bits (HEAP_MAX_SIZE)."""


@dataclass(frozen=True)
class Allocator:
    """An allocator, and how a program comes by it.

    `file` is what has to be on the machine, as a glob below /, and `package` brings it;
    `is_preloaded` puts it before the program's own by LD_PRELOAD.
    """

    name: str
    package: str
    file: str
    compiler: str = "gcc"
    flags: tuple[str, ...] = ()
    is_preloaded: bool = False

    def find(self) -> Path | None:
        """Return the file, or None where it is not installed."""
        return next(Path("/").glob(self.file), None)


GLIBC = Allocator("glibc", "libc6-dev", "usr/include/malloc.h")
GLIBC_STATIC = Allocator("static", "libc6-dev", "usr/lib/*/libc.a", flags=("-static",))
JEMALLOC = Allocator("jemalloc", "libjemalloc2", "usr/lib/*/libjemalloc.so.2", is_preloaded=True)
TCMALLOC = Allocator(
    "tcmalloc", "libtcmalloc-minimal4", "usr/lib/*/libtcmalloc_minimal.so.4", is_preloaded=True
)
MUSL = Allocator("musl", "musl-tools", "usr/bin/musl-gcc", compiler="musl-gcc")


@dataclass(frozen=True)
class Case:
    """One program, how it is run, and the truth about it.

    `heap` is what is live at the end below each function that it names, `in_all` in the whole heap
    (None: not part of the case), give or take `slack_bytes`; `heap_in_child` is the heap of the one
    child that the program forks. `callers` are the functions of the whole stack, where the case is
    about them. `mappings` are the live bytes of the other kinds of memory; a kind that is not named
    must have none; None leaves them out. `truth` says in words what the numbers alone don't.
    """

    name: str
    title: str
    program: str
    heap: Mapping[str, Live] = field(default_factory=dict)
    in_all: Live | None = None
    slack_bytes: int = 0
    callers: tuple[str, ...] = ()
    heap_in_child: Mapping[str, Live] = field(default_factory=dict)
    mappings: Mapping[str, int] | None = None
    checks: tuple[Callable[[Outcome], list[str]], ...] = ()
    truth: str = ""
    allocator: Allocator = GLIBC
    flags: tuple[str, ...] = ()
    debug_file: str = ""
    """Where a stripped program's debug file lies: "beside" it, or by "build-id"; "": inside."""
    is_launched: bool = False
    """Traced from its first instruction on, not from its release."""
    sample_bytes: int = 0
    follows_forks: bool = False

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files to compile: the program's parts in C and in C++, and hold.c."""
        parts = (PROGRAMS / f"{self.program}{suffix}" for suffix in (".c", ".cpp"))
        return (*(path for path in parts if path.exists()), PROGRAMS / "hold.c")

    @property
    def leaking_lines(self) -> frozenset[tuple[str, int]]:
        """(file, line) of every call in the sources that is marked as one that leaks."""
        return frozenset(
            (path.name, number)
            for path in self.sources
            for number, text in enumerate(path.read_text().splitlines(), 1)
            if "/* leaks */" in text
        )

    @property
    def total(self) -> Live:
        """The truth in two numbers: of the whole heap, or of the functions that are named."""
        parts = {**self.heap, **self.heap_in_child}.values()
        sums = Live(sum(part.size_bytes for part in parts), sum(part.blocks for part in parts))
        return self.in_all or sums


def find_disagreements(case: Case, outcome: Outcome) -> list[str]:
    """Return in what lablib's answer differs from the truth; empty when it is right."""
    found = compare_heap(outcome.last, case.heap, case.leaking_lines)
    if case.in_all is not None and not case.sample_bytes:
        found += compare_total(outcome.last, case.in_all, case.slack_bytes)
    if case.mappings is not None:
        found += compare_mappings(outcome.last, case.mappings)
    children = outcome.last_of_children
    if len(children) != bool(case.heap_in_child):
        found.append(f"{len(children)} children were followed, not {bool(case.heap_in_child):d}")
    for child in children:
        found += compare_heap(child, case.heap_in_child, case.leaking_lines)
    for check in case.checks:
        found += check(outcome)
    return found


NOTHING = Live(0, 0)
TEN_MIB = Live(10 << 20, 10)
DEEP = Live(8_192_000, 8192)
STARTUP = Live(100_000, 1000)
MANY = Live(24_000_000, 1_500_000)
HIDDEN = Live(43_210, 10)
MILLION = Live(1_000_000, 1000)
PLAIN = {"leak": MILLION}

CASES = (
    Case(
        "big_malloc",
        "big malloc",
        "big_malloc",
        heap={"leak": TEN_MIB},
        in_all=TEN_MIB,
        mappings={},
    ),
    Case("realloc_of_null", "realloc of NULL", "realloc_null", in_all=NOTHING),
    Case("aligned_alloc", "aligned_alloc", "aligned_freed", in_all=NOTHING),
    Case("growing_realloc", "growing realloc", "realloc_growing", in_all=NOTHING, mappings={}),
    Case("failed_mmap", "failed mmap", "mmap_failing", in_all=NOTHING, mappings={}),
    Case(
        "failed_realloc",
        "failed realloc",
        "realloc_failing",
        heap={"work": Live(5000, 1)},
        in_all=Live(5000, 1),
        checks=(check_failed_realloc,),
    ),
    Case(
        "partial_munmap",
        "partial munmap",
        "munmap_part",
        in_all=NOTHING,
        mappings={"mapping": 15 * 4096},
        truth="15 pages: 61,440 bytes mapped",
    ),
    Case(
        "idle_threads",
        "idle threads",
        "idle_threads",
        heap={"work": NOTHING},
        in_all=NOTHING,
        slack_bytes=LIBC_THREAD_BYTES,
        mappings={"thread_stack": 2 * THREAD_STACK_BYTES, "arena": 2 * ARENA_BYTES},
        truth="nothing leaked; 2 stacks, 16,785,408 bytes, and 2 arenas, 134,217,728, reserved",
    ),
    Case("many_stacks", "many stacks", "many_stacks", heap={"descend": DEEP}, in_all=DEEP),
    Case(
        "sampling",
        "sampling",
        "exact_million",
        in_all=Live(1_000_000, 10_000),
        sample_bytes=4096,
        checks=(check_estimate,),
        truth="1,000,000 bytes, or an estimate with its error bar",
    ),
    Case(
        "startup_leak",
        "start-up leak",
        "startup",
        heap={"leak": STARTUP},
        in_all=STARTUP,
        is_launched=True,
    ),
    Case("free_elsewhere", "free elsewhere", "free_elsewhere", heap={"produce": NOTHING}),
    Case("contended", "contended stack", "contended", heap={"allocate": Live(64_000, 1000)}),
    Case("million_live", "more than a million live", "million_live", {"leak": MANY}, in_all=MANY),
    Case(
        "hidden_caller",
        "hidden caller",
        "hidden_caller",
        heap={"leak": HIDDEN},
        in_all=HIDDEN,
        callers=("leak", "middle", "outer", "main"),
        checks=(check_cut,),
        flags=("-O2", "-fomit-frame-pointer"),
    ),
    Case(
        "inlined",
        "inlined",
        "inlined",
        heap={"helper": Live(4321, 1)},
        in_all=Live(4321, 1),
        checks=(check_inlined,),
        flags=("-O2",),
    ),
    *(
        Case(name, title, "plain_leak", PLAIN, in_all=MILLION, debug_file=place)
        for name, title, place in (
            ("stripped_beside", "stripped, its debug file beside it", "beside"),
            ("stripped_by_id", "stripped, its debug file by build-id", "build-id"),
        )
    ),
    *(
        Case(name, f"other allocators: {name}", "plain_leak", PLAIN, allocator=allocator)
        for name, allocator in (
            ("jemalloc", JEMALLOC),
            ("tcmalloc", TCMALLOC),
            ("static", GLIBC_STATIC),
            ("musl", MUSL),
        )
    ),
    Case(
        "cxx",
        "C++",
        "cxx",
        heap={
            "leak_new": Live(1000, 10),
            "leak_array": Live(10_000, 10),
            "leak_nothrow": Live(500, 10),
            "leak_aligned": Live(1920, 10),
            "all_deleted": NOTHING,
        },
        in_all=Live(13_420, 40),
    ),
    Case(
        "fork",
        "fork",
        "fork_child",
        heap={"leak_in_child": NOTHING, "allocate": NOTHING},
        heap_in_child={"leak_in_child": Live(100_000, 1000)},
        follows_forks=True,
        truth="the child 100,000 bytes in 1,000, the parent nothing",
    ),
    Case(
        "exec",
        "exec",
        "exec_self",
        in_all=Live(100, 10),
        checks=(check_ended,),
        truth="100 bytes in 10, then it became another program",
    ),
    Case("short_life", "short life", "plain_leak", PLAIN, in_all=MILLION),
    Case(
        "before_attach",
        "before attach",
        "from_before",
        heap={"main": Live(2000, 1)},
        in_all=Live(2000, 1),
        checks=(check_from_before,),
    ),
    Case(
        "killed",
        "killed",
        "killed",
        heap={"leak": Live(640_000, 20_000)},
        checks=(check_ended, check_killed),
    ),
)
