"""The tools of the matrix, and the programs that they are tried on: two tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lablib.language import term
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
    attaches: str = term("no")
    needs_root: bool = False


TOOLS = (
    Tool(
        "memcheck",
        valgrind.run_memcheck,
        "valgrind",
        term("blocks not freed at the end, open files"),
    ),
    Tool("massif", valgrind.run_massif, "valgrind", term("the heap in use, over time")),
    Tool(
        *("heaptrack", heaptrack.run_heaptrack, "heaptrack", term("each call of the allocator")),
        attaches=term("by gdb"),
    ),
    Tool(
        *("LeakSanitizer", sanitizers.run_leak_sanitizer, "gcc"),
        *(term("blocks that nothing points at, at the end"), "-fsanitize=leak"),
    ),
    Tool(
        *("AddressSanitizer", sanitizers.run_address_sanitizer, "gcc"),
        *(term("wrong accesses; and what LeakSanitizer looks at"), "-fsanitize=address"),
    ),
    Tool(
        "mtrace",
        glibc.run_mtrace,
        "libc-devtools",
        term("each call of the allocator"),
        term("a call"),
    ),
    Tool(
        "malloc_info",
        glibc.run_malloc_info,
        "libc6",
        term("the allocator's totals"),
        term("a call"),
    ),
    Tool(
        *("memleak", ebpf.run_memleak, "bpfcc-tools", term("blocks not freed yet")),
        attaches=term("yes"),
        needs_root=True,
    ),
    Tool(
        *("bpftrace", ebpf.run_bpftrace, "bpftrace", term("what your script asks for")),
        attaches=term("yes"),
        needs_root=True,
    ),
    Tool("pmap", totals.run_pmap, "procps", term("the mappings' totals"), attaches=term("yes")),
    Tool("smem", totals.run_pss, "", term("the resident pages' totals"), attaches=term("yes")),
    Tool(
        *(
            "lab: eBPF",
            lab.run_ebpf,
            "",
            term("blocks, mappings, files; what still points at them"),
        ),
        attaches=term("yes"),
        needs_root=True,
    ),
    Tool(
        "lab: preload",
        lab.run_preload,
        "",
        term("the same, counted from inside"),
        term("a library"),
    ),
)


@dataclass(frozen=True)
class Exhibit:
    """A program of the matrix: how many terms it does, and what it does, in two words and in more.

    One that `is_timed` does many terms at full speed: the costs come from it.
    """

    name: str
    terms: int
    label: str
    summary: str = ""
    is_timed: bool = False


EXHIBITS = (
    Exhibit(
        "fib_leak",
        400,
        term("lost blocks"),
        term("a thread computes Fibonacci numbers and never frees them"),
    ),
    Exhibit(
        "cache_and_leak",
        2000,
        term("small leak beside a cache"),
        term("a large cache hides a small leak beside it"),
    ),
    Exhibit(
        "session_registry",
        400,
        term("a table that only grows"),
        term("who logs out is marked, and stays in the table"),
    ),
    Exhibit("mmap_short", 400, term("mappings"), term("a printer unmaps less than it has mapped")),
    Exhibit(
        "thread_stacks",
        150,
        term("stacks of threads"),
        term("a mailer starts a thread for each mail, and joins none"),
    ),
    Exhibit(
        "open_files",
        100,
        term("open files"),
        term("a monitor forgets to close the file where nothing has changed"),
    ),
    Exhibit(
        "lru_cache",
        400,
        term("a full cache"),
        term("a cache of addresses fills, and then drops the oldest for each new one"),
    ),
    Exhibit(
        "fib_fixed",
        40_000,
        term("all freed"),
        term("the same Fibonacci numbers, each freed once it is printed"),
        is_timed=True,
    ),
)
"""Each leaks enough in so many terms for any total to show it, and is done in half a second."""
