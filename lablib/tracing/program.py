"""The tracer's kernel side: programs/*.bpf.c, compiled once, given maps and probes by each session.

The service has it compiled when it starts. A session, which is a process of its own, makes new maps
and loads the code with them. So no session waits for the compiler, and none sees another's maps.
This is what all kinds of sessions share; heap_program.py and memory_program.py add their own.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import TracerError
from lablib.language import term
from lablib.tracing.attach import (
    UPROBE_MULTI,
    attach_raw_tracepoint,
    attach_tracepoint,
    has_uprobe_links,
)
from lablib.tracing.bytecode import KPROBE, CompiledProgram, load_code
from lablib.tracing.compiler import compile_program
from lablib.tracing.maps import (
    read_element,
    read_hash_map,
    read_per_cpu_element,
    write_array,
    write_element,
    write_entries,
)
from lablib.tracing.protocol import (
    COUNTERS,
    MAX_UNWIND_PAGES,
    MAX_UNWIND_ROWS,
    PAGE_BYTES,
    PAGE_KEY_BYTES,
    ROW_BYTES,
    STACK_FIELDS,
)
from lablib.wording import os_reason

PROGRAMS_DIR = Path(__file__).parent / "programs"
PARTS = (
    *("session", "stack", "blocks", "heap", "mappings"),
    *("faults", "memory_calls", "lifecycle", "pressure"),
)
"""The files that make up the program, in the order in which they are compiled as one."""

MAPS = (
    *("session", "fate", "processes", "counters"),
    *("unwind_pages", "unwind_rows", "unwind_cache"),
    *("stacks", "stacks_seen", "usages"),
    *("clock", "blank_call", "calls", "places", "blocks"),
    *("blank_mapping_call", "mapping_calls", "mapping_events"),
    *("thread_faults", "fault_walk", "faults"),
    *("memory_call_begins", "memory_call_walk", "last_break", "memory_calls"),
    *("pressure_roles", "pressure_members", "reclaims", "victims", "pressure_totals"),
)
"""All tables of the program, by name."""
MAX_FRAMES = 64
MAX_ALLOCATORS = 4
SIZES = {
    "MAX_FRAMES": MAX_FRAMES,
    "MAX_STACKS": 16 * 1024,
    "MAX_PLACES": 64 * 1024,  # a power of two
    "MAX_BLOCKS": 2 * 1024 * 1024,
    "MAX_THREADS": 8 * 1024,
    "MAX_PROCESSES": 4 * 1024,
    "MAX_MAPPING_EVENTS": 16 * 1024,
    "MAX_FAULTS": 256 * 1024,
    "MAX_MEMORY_CALLS": 256 * 1024,
    "MAX_MEMBERS": 1024,
    "MAX_UNWIND_PAGES": MAX_UNWIND_PAGES,
    "MAX_UNWIND_ROWS": MAX_UNWIND_ROWS,
    "MAX_ALLOCATORS": MAX_ALLOCATORS,
    "PAGE_BYTES": os.sysconf("SC_PAGE_SIZE"),
}

CLOSED, OPEN, FREES_ONLY = range(3)
"""States of a window, in the order of `enum window_state` in session.bpf.c."""

_SESSION = struct.Struct(f"=6IQ{2 * MAX_ALLOCATORS}Q")
_FATE = struct.Struct("=2I")
_MEMBARRIER_SYSCALL = {"x86_64": 324, "aarch64": 283}
_MEMBARRIER_CMD_GLOBAL = 1


@dataclass(frozen=True)
class Session:
    """`struct session` of session.bpf.c: what the kernel side has to know of a session."""

    target: int
    state: int = CLOSED
    window: int = 0
    follows_forks: bool = False
    frees_nest: bool = False
    sample_bytes: int = 0
    allocator_spans: tuple[tuple[int, int], ...] = ()

    def pack(self) -> bytes:
        """Return it as the kernel keeps it; spans beyond MAX_ALLOCATORS are left out."""
        spans = [edge for span in self.allocator_spans[:MAX_ALLOCATORS] for edge in span]
        spans += [0] * (2 * MAX_ALLOCATORS - len(spans))
        flags = (self.follows_forks, self.frees_nest, 0)
        return _SESSION.pack(
            self.state, self.target, self.window, *flags, self.sample_bytes, *spans
        )


@dataclass(frozen=True)
class TracerProgram:
    """The compiled programs of all kinds of sessions, and what this kernel can do for them."""

    compiled: CompiledProgram
    has_links: bool


def compile_tracer(functions: Iterable[str], offsets: Mapping[str, int]) -> TracerProgram:
    """Return the named functions, compiled: about two seconds of one core.

    `offsets` are where the fields of tracepoints lie, by the macros' names. Raises `TracerError`.
    """
    namespace = os.stat("/proc/self/ns/pid")
    flags = [
        f"-DPID_NAMESPACE_DEVICE={namespace.st_dev}",
        f"-DPID_NAMESPACE_INODE={namespace.st_ino}U",
        *(f"-D{name}={value}" for name, value in {**SIZES, **offsets}.items()),
    ]
    return TracerProgram(
        compile_program(_read_source(), flags, functions, MAPS), has_uprobe_links()
    )


class SessionProgram:
    """What a session has loaded: the functions of its kind, and the maps that they use."""

    def __init__(self, program: TracerProgram, functions: Mapping[str, int]) -> None:
        """Prepare to load the functions of these names and types."""
        self._compiled = program.compiled
        self._has_links = program.has_links
        self._functions = functions
        self._fds: dict[str, int] = {}
        self._programs: dict[str, int] = {}

    def make_maps(self, sizes: Mapping[str, int]) -> None:
        """Give this process, a session's, maps of its own; raises `TracerError`.

        `sizes` are the numbers of entries of those that shall have others than in `SIZES`.
        """
        try:
            self._fds = self._compiled.create_maps(self._functions, sizes)
        except OSError as error:
            raise TracerError(
                term(
                    "the kernel gave no memory for the tracer's tables ({reason})",
                    reason=os_reason(error),
                ),
                term("end other tracing sessions, or ask for smaller tables"),
            ) from None

    def load(self) -> None:
        """Have the kernel check and take the programs, two at a time: each may take 0.2 seconds.

        Raises `TracerError`.
        """
        with ThreadPoolExecutor(2) as pool:
            programs = pool.map(self._load, self._functions.keys(), self._functions.values())
            self._programs = dict(zip(self._functions, programs, strict=True))

    def _load(self, name: str, kind: int) -> int:
        attach_type = UPROBE_MULTI if kind == KPROBE and self._has_links else 0
        code = self._compiled.functions[name].link(self._fds)
        try:
            return load_code(name, code, kind, attach_type)
        except OSError as error:
            raise TracerError(
                term(
                    "this kernel did not take the tracer's program ({name}: {reason})",
                    name=name,
                    reason=os_reason(error),
                ),
                term("see ./lab doctor"),
            ) from None

    def attach_to_events(
        self, raw_tracepoints: Mapping[str, str], tracepoints: Mapping[str, str]
    ) -> None:
        """Put loaded functions on events, both by name; raises `TracerError`."""
        try:
            for event, program in raw_tracepoints.items():
                attach_raw_tracepoint(self._programs[program], event)
            for event, program in tracepoints.items():
                attach_tracepoint(self._programs[program], event)
        except OSError as error:
            raise TracerError(
                term("the kernel refused a tracepoint ({reason})", reason=os_reason(error)),
                term("if others trace on this machine as well, end some of them"),
            ) from None

    def write_unwind_tables(self, pages: int, rows: int, tables: bytes) -> None:
        """Tell the kernel side how the target's code is unwound (see UnwindTables).

        Raises `TracerError` where the tables are not of this many pages and rows.
        """
        if len(tables) != pages * (PAGE_KEY_BYTES + PAGE_BYTES) + rows * ROW_BYTES:
            raise TracerError(term("the request's unwind tables are not as long as it says"))
        keys_end = pages * PAGE_KEY_BYTES
        pages_end = keys_end + pages * PAGE_BYTES
        write_entries(
            self._fds["unwind_pages"], pages, tables[:keys_end], tables[keys_end:pages_end]
        )
        write_array(self._fds["unwind_rows"], ROW_BYTES, tables[pages_end:])

    def write_session(self, session: Session) -> None:
        """Set what the kernel side goes by from now on."""
        write_element(self._fds["session"], 0, session.pack())

    def read_fate(self) -> tuple[bool, bool]:
        """Return whether the target has become another program, and lost its first thread."""
        fate = _FATE.unpack(read_element(self._fds["fate"], 0, _FATE.size))
        return bool(fate[0]), bool(fate[1])

    def read_counters(self) -> dict[str, int]:
        """Return the event counters by name, summed over the processors."""
        table = self._fds["counters"]
        return {name: sum(read_per_cpu_element(table, i)) for i, name in enumerate(COUNTERS)}

    def read_stack_rows(self) -> tuple[bytes, bytes]:
        """Return the ids of the stacks that have been seen, and their rows; raises `TracerError`.

        All are 8-byte words: a row has STACK_FIELDS, then MAX_FRAMES return addresses.
        """
        row_bytes = 8 * (len(STACK_FIELDS) + MAX_FRAMES)
        try:
            return read_hash_map(self._fds["stacks"], 8, row_bytes)
        except OSError as error:
            raise TracerError(
                term("the kernel did not hand over its stacks ({error})", error=error)
            ) from None


def await_running_programs() -> None:
    """Return once no BPF program that began before is still running (a grace period of RCU)."""
    number = _MEMBARRIER_SYSCALL[os.uname().machine]
    ctypes.CDLL(None).syscall(ctypes.c_long(number), ctypes.c_int(_MEMBARRIER_CMD_GLOBAL), 0, 0)


def _read_source() -> str:
    paths = [PROGRAMS_DIR / f"{part}.bpf.c" for part in PARTS]
    return "".join(f'#line 1 "{path.name}"\n{path.read_text()}' for path in paths)
