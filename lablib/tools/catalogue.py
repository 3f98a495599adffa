"""The tools of the matrix, and the programs that they are tried on: two tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lablib.records import ToolReport
from lablib.tools import ebpf, glibc, heaptrack, lab, sanitizers, totals, valgrind
from lablib.tools.trial import Trial


@dataclass(frozen=True)
class Tool:
    """A tool: how it is run, which package has it, and what it asks of whoever uses it.

    `looks_at` says in words what it looks at. `needs` is "" or what the program has to be built or
    started with. `attaches` is "yes" for a tool that takes a process which runs already, or how it
    can; all others have to start the program. `needs_root`: an ordinary user may not.
    """

    name: str
    run: Callable[[Trial], ToolReport]
    package: str
    looks_at: str
    needs: str = ""
    attaches: str = "no"
    needs_root: bool = False


TOOLS = (
    Tool("memcheck", valgrind.run_memcheck, "valgrind", "blocks not freed at the end, open files"),
    Tool("massif", valgrind.run_massif, "valgrind", "the heap in use, over time"),
    Tool(
        *("heaptrack", heaptrack.run_heaptrack, "heaptrack", "each call of the allocator"),
        attaches="by gdb",
    ),
    Tool(
        *("LeakSanitizer", sanitizers.run_leak_sanitizer, "gcc"),
        *("blocks that nothing points at, at the end", "-fsanitize=leak"),
    ),
    Tool(
        *("AddressSanitizer", sanitizers.run_address_sanitizer, "gcc"),
        *("wrong accesses; and what LeakSanitizer looks at", "-fsanitize=address"),
    ),
    Tool("mtrace", glibc.run_mtrace, "libc-devtools", "each call of the allocator", "a call"),
    Tool("malloc_info", glibc.run_malloc_info, "libc6", "the allocator's totals", "a call"),
    Tool(
        *("memleak", ebpf.run_memleak, "bpfcc-tools", "blocks not freed yet"),
        attaches="yes",
        needs_root=True,
    ),
    Tool(
        *("bpftrace", ebpf.run_bpftrace, "bpftrace", "what your script asks for"),
        attaches="yes",
        needs_root=True,
    ),
    Tool("pmap", totals.run_pmap, "procps", "the mappings' totals", attaches="yes"),
    Tool("smem", totals.run_pss, "", "the resident pages' totals", attaches="yes"),
    Tool(
        *("lab: eBPF", lab.run_ebpf, "", "blocks, mappings, files; what still points at them"),
        attaches="yes",
        needs_root=True,
    ),
    Tool("lab: preload", lab.run_preload, "", "the same, counted from inside", "a library"),
)


@dataclass(frozen=True)
class Exhibit:
    """A program of the matrix: how many terms it does, and what it does in two words.

    One that `is_timed` does many terms at full speed: the costs come from it.
    """

    name: str
    terms: int
    label: str
    is_timed: bool = False


EXHIBITS = (
    Exhibit("fib_leak", 400, "lost blocks"),
    Exhibit("cache_and_leak", 2000, "small leak beside a cache"),
    Exhibit("session_registry", 400, "a table that only grows"),
    Exhibit("mmap_short", 400, "mappings"),
    Exhibit("thread_stacks", 150, "stacks of threads"),
    Exhibit("open_files", 100, "open files"),
    Exhibit("lru_cache", 400, "a full cache"),
    Exhibit("fib_fixed", 40_000, "all freed", is_timed=True),
)
"""Each leaks enough in so many terms for any total to show it, and is done in half a second."""
