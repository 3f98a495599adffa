"""The tracer's kernel side: programs/*.bpf.c, compiled once, given maps and probes by each session.

The service has it compiled when it starts. A session, which is a process of its own, makes new maps
and loads the code with them. So no session waits for the compiler, and none sees another's maps.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import TracerError
from lablib.tracing.attach import (
    UPROBE_MULTI,
    attach_raw_tracepoint,
    attach_tracepoint,
    attach_uprobes,
    has_uprobe_links,
)
from lablib.tracing.bytecode import KPROBE, RAW_TRACEPOINT, TRACEPOINT, load_code
from lablib.tracing.compiler import compile_program
from lablib.tracing.maps import (
    read_array,
    read_element,
    read_hash_map,
    read_per_cpu_element,
    write_array,
    write_element,
    write_entries,
)
from lablib.tracing.probes import Allocator
from lablib.tracing.protocol import (
    COUNTERS,
    MAX_UNWIND_PAGES,
    MAX_UNWIND_ROWS,
    PAGE_BYTES,
    PAGE_KEY_BYTES,
    ROW_BYTES,
    STACK_FIELDS,
    USAGE_FIELDS,
)

PROGRAMS_DIR = Path(__file__).parent / "programs"
PARTS = ("session", "stack", "blocks", "heap", "mappings", "lifecycle")
"""The files that make up the program, in the order in which they are compiled as one."""

MAPS = (
    *("session", "fate", "processes", "counters"),
    *("unwind_pages", "unwind_rows", "unwind_cache"),
    *("stacks", "stacks_seen", "usages"),
    *("clock", "blank_call", "calls", "places", "blocks"),
    *("blank_mapping_call", "mapping_calls", "mapping_events"),
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
    "MAX_UNWIND_PAGES": MAX_UNWIND_PAGES,
    "MAX_UNWIND_ROWS": MAX_UNWIND_ROWS,
    "MAX_ALLOCATORS": MAX_ALLOCATORS,
    "PAGE_BYTES": os.sysconf("SC_PAGE_SIZE"),
}

CLOSED, OPEN, FREES_ONLY = range(3)
"""States of a window, in the order of `enum window_state` in session.bpf.c."""

UPROBE_PROGRAMS = (
    *("on_malloc", "on_calloc", "on_aligned", "on_posix_memalign", "on_realloc"),
    *("on_return", "on_free", "on_unseen"),
)
RAW_TRACEPOINTS = {"sched_process_exec": "on_exec", "sched_process_exit": "on_thread_exit"}
FORK_TRACEPOINTS = {"task:task_newtask": "on_new_task"}

TRACEPOINTS = {
    "syscalls:sys_enter_mmap": "on_mmap_enter",
    "syscalls:sys_exit_mmap": "on_map_exit",
    "syscalls:sys_enter_mremap": "on_mremap_enter",
    "syscalls:sys_exit_mremap": "on_map_exit",
    "syscalls:sys_enter_munmap": "on_munmap_enter",
    "syscalls:sys_exit_munmap": "on_munmap_exit",
}

FUNCTIONS = {
    **dict.fromkeys([*TRACEPOINTS.values(), *FORK_TRACEPOINTS.values()], TRACEPOINT),
    **dict.fromkeys(UPROBE_PROGRAMS, KPROBE),
    **dict.fromkeys(RAW_TRACEPOINTS.values(), RAW_TRACEPOINT),
}
"""What a heap session loads, with the type of each program; its maps are those that they use."""

_SESSION = struct.Struct(f"=6IQ{2 * MAX_ALLOCATORS}Q")
_WORD = struct.Struct("=Q")
_FATE = struct.Struct("=2I")
_PROCESS = struct.Struct("=Q2I")
_EVENT_KEY_BYTES, _EVENT_BYTES = 2 * 8, 6 * 8


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
class FollowedProcess:
    """A process that the kernel side has followed: its number there, and its process id here."""

    number: int
    pid: int
    has_executed: bool


class TracerProgram:
    """The compiled programs, and in a session's process the maps and probes made from them."""

    def __init__(self) -> None:
        """Have it compiled; takes about two seconds of one core. Raises `TracerError`."""
        namespace = os.stat("/proc/self/ns/pid")
        flags = [
            f"-DPID_NAMESPACE_DEVICE={namespace.st_dev}",
            f"-DPID_NAMESPACE_INODE={namespace.st_ino}U",
            *(f"-D{name}={value}" for name, value in SIZES.items()),
        ]
        self._compiled = compile_program(_read_source(), flags, FUNCTIONS, MAPS)
        self._has_links = has_uprobe_links()
        self._fds: dict[str, int] = {}
        self._programs: dict[str, int] = {}

    def make_maps(self, max_blocks: int, max_stacks: int, pages: int, rows: int) -> None:
        """Give this process, a session's, maps of its own; raises `TracerError`."""
        sizes = {
            "blocks": max_blocks,
            "stacks": max_stacks,
            "usages": max_stacks,
            "unwind_pages": max(1, pages),
            "unwind_rows": max(1, rows),
        }
        try:
            self._fds = self._compiled.create_maps(FUNCTIONS, sizes)
        except OSError as error:
            raise TracerError(
                f"the kernel gave no memory for the tracer's tables ({error.strerror})",
                "end other tracing sessions, or ask for fewer blocks",
            ) from None

    def load(self) -> None:
        """Have the kernel check and take the programs, two at a time: each may take 0.2 seconds.

        Raises `TracerError`.
        """
        with ThreadPoolExecutor(2) as pool:
            programs = pool.map(self._load, FUNCTIONS.keys(), FUNCTIONS.values())
            self._programs = dict(zip(FUNCTIONS, programs, strict=True))

    def _load(self, name: str, kind: int) -> int:
        attach_type = UPROBE_MULTI if kind == KPROBE and self._has_links else 0
        code = self._compiled.functions[name].link(self._fds)
        try:
            return load_code(name, code, kind, attach_type)
        except OSError as error:
            raise TracerError(
                f"this kernel did not take the tracer's program ({name}: {error.strerror})",
                "see ./lab doctor",
            ) from None

    def write_unwind_tables(self, pages: int, tables: bytes) -> None:
        """Tell the kernel side how the target's code is unwound (see UnwindTables)."""
        keys_end = pages * PAGE_KEY_BYTES
        pages_end = keys_end + pages * PAGE_BYTES
        write_entries(
            self._fds["unwind_pages"], pages, tables[:keys_end], tables[keys_end:pages_end]
        )
        write_array(self._fds["unwind_rows"], ROW_BYTES, tables[pages_end:])

    def watch(self, follows_forks: bool) -> None:
        """Notice from now on what becomes of the target, and what it maps."""
        tracepoints = {**TRACEPOINTS, **(FORK_TRACEPOINTS if follows_forks else {})}
        try:
            for event, program in RAW_TRACEPOINTS.items():
                attach_raw_tracepoint(self._programs[program], event)
            for event, program in tracepoints.items():
                attach_tracepoint(self._programs[program], event)
        except OSError as error:
            raise TracerError(
                f"the kernel refused a tracepoint ({error.strerror})",
                "if others trace on this machine as well, end some of them",
            ) from None

    def attach(self, allocators: Iterable[Allocator], thread: int) -> None:
        """Put the probes into the process of a thread, or `ALL_PROCESSES`.

        They stay as long as this process. Events count only once the window is open. Raises
        `TracerError`.
        """
        for allocator in allocators:
            offsets: dict[tuple[str, bool], list[int]] = defaultdict(list)
            for site in allocator.sites:
                offsets[site.program, site.is_return].append(site.offset_bytes)
            try:
                for (name, is_return), places in offsets.items():
                    program = self._programs[name]
                    file = allocator.file_descriptor
                    attach_uprobes(program, file, places, is_return, thread, self._has_links)
            except OSError as error:
                raise TracerError(
                    f"the kernel refused a probe in {allocator.path} ({error.strerror})",
                    "if another bcc tool traces the same library, end it and try again; "
                    "else see ./lab doctor",
                ) from None

    def write_session(self, session: Session) -> None:
        """Set what the kernel side goes by from now on."""
        write_element(self._fds["session"], 0, session.pack())

    def write_clock(self, now_ns: int) -> None:
        """Set the time at which blocks are born from now on."""
        write_element(self._fds["clock"], 0, _WORD.pack(now_ns))

    def read_fate(self) -> tuple[bool, bool]:
        """Return whether the target has become another program, and lost its first thread."""
        fate = _FATE.unpack(read_element(self._fds["fate"], 0, _FATE.size))
        return bool(fate[0]), bool(fate[1])

    def read_processes(self) -> list[FollowedProcess]:
        """Return the processes that were followed, the target too, in no order."""
        _, values = read_hash_map(self._fds["processes"], 4, _PROCESS.size)
        return [
            FollowedProcess(number, pid, bool(has_executed))
            for number, pid, has_executed in _PROCESS.iter_unpack(values)
        ]

    def read_counters(self) -> dict[str, int]:
        """Return the event counters by name, summed over the processors."""
        table = self._fds["counters"]
        return {name: sum(read_per_cpu_element(table, i)) for i, name in enumerate(COUNTERS)}

    def read_stacks(self, max_stacks: int) -> tuple[bytes, bytes, bytes]:
        """Return the stacks that have been seen: their ids, their rows, and all totals by number.

        All are 8-byte words: a row has STACK_FIELDS, then MAX_FRAMES return addresses; totals are
        USAGE_FIELDS.
        """
        row_bytes = 8 * (len(STACK_FIELDS) + MAX_FRAMES)
        try:
            ids, rows = read_hash_map(self._fds["stacks"], 8, row_bytes)
            (seen,) = _WORD.unpack(read_element(self._fds["stacks_seen"], 0, _WORD.size))
            count = min(seen, max_stacks)
            totals = read_array(self._fds["usages"], 8 * len(USAGE_FIELDS), count)
        except OSError as error:
            raise TracerError(f"the kernel did not hand over its totals ({error})") from None
        return ids, rows, totals

    def take_mapping_events(self) -> tuple[bytes, bytes]:
        """Return the reports of mappings since the last time, and forget them: keys and values."""
        try:
            return read_hash_map(
                self._fds["mapping_events"], _EVENT_KEY_BYTES, _EVENT_BYTES, take=True
            )
        except OSError as error:
            raise TracerError(f"the kernel did not hand over its reports ({error})") from None


def _read_source() -> str:
    paths = [PROGRAMS_DIR / f"{part}.bpf.c" for part in PARTS]
    return "".join(f'#line 1 "{path.name}"\n{path.read_text()}' for path in paths)
