"""The heap tracer's kernel side: probes on allocators, tracepoints of mmap, and their tables."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from lablib.errors import TracerError
from lablib.language import term
from lablib.tracing.attach import attach_uprobes
from lablib.tracing.bytecode import KPROBE, RAW_TRACEPOINT, TRACEPOINT
from lablib.tracing.maps import read_array, read_element, read_hash_map, write_element
from lablib.tracing.probes import Allocator
from lablib.tracing.program import SIZES, SessionProgram, TracerProgram
from lablib.tracing.protocol import BLOCK_FIELDS, BLOCK_KEY_FIELDS, PLACE_FIELDS, USAGE_FIELDS
from lablib.wording import os_reason

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

HEAP_FUNCTIONS = {
    **dict.fromkeys([*TRACEPOINTS.values(), *FORK_TRACEPOINTS.values()], TRACEPOINT),
    **dict.fromkeys(UPROBE_PROGRAMS, KPROBE),
    **dict.fromkeys(RAW_TRACEPOINTS.values(), RAW_TRACEPOINT),
}
"""What a heap session loads, with the type of each program; its maps are those that they use."""

_WORD = struct.Struct("=Q")
_PROCESS = struct.Struct("=Q2I")
_EVENT_KEY_BYTES, _EVENT_BYTES = 2 * 8, 6 * 8


@dataclass(frozen=True)
class FollowedProcess:
    """A process that the kernel side has followed: its number there, and its process id here."""

    number: int
    pid: int
    has_executed: bool


class HeapProgram(SessionProgram):
    """What a heap session has loaded: its maps and probes."""

    def __init__(self, program: TracerProgram) -> None:
        """Prepare to load the functions that a heap session needs."""
        super().__init__(program, HEAP_FUNCTIONS)

    def watch(self, follows_forks: bool) -> None:
        """Notice from now on what becomes of the target, and what it maps; raises `TracerError`."""
        self.attach_to_events(
            RAW_TRACEPOINTS, {**TRACEPOINTS, **(FORK_TRACEPOINTS if follows_forks else {})}
        )

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
                    term(
                        "the kernel refused a probe in {path} ({reason})",
                        path=allocator.path,
                        reason=os_reason(error),
                    ),
                    term(
                        "if another bcc tool traces the same library, end it and try again; else "
                        "see ./lab doctor"
                    ),
                ) from None

    def write_clock(self, now_ns: int) -> None:
        """Set the time at which blocks are born from now on."""
        write_element(self._fds["clock"], 0, _WORD.pack(now_ns))

    def read_processes(self) -> list[FollowedProcess]:
        """Return the processes that were followed, the target too, in no order."""
        _, values = read_hash_map(self._fds["processes"], 4, _PROCESS.size)
        return [
            FollowedProcess(number, pid, bool(has_executed))
            for number, pid, has_executed in _PROCESS.iter_unpack(values)
        ]

    def read_totals(self, max_stacks: int) -> bytes:
        """Return the totals of the stacks that have been seen, by number, in USAGE_FIELDS.

        Raises `TracerError`.
        """
        try:
            (seen,) = _WORD.unpack(read_element(self._fds["stacks_seen"], 0, _WORD.size))
            count = min(seen, max_stacks)
            return read_array(self._fds["usages"], 8 * len(USAGE_FIELDS), count)
        except OSError as error:
            raise TracerError(
                term("the kernel did not hand over its totals ({error})", error=error)
            ) from None

    def read_blocks(self) -> tuple[bytes, bytes, bytes]:
        """Return the record of the live blocks: its places, and the others' keys and values.

        They are of PLACE_FIELDS, BLOCK_KEY_FIELDS and BLOCK_FIELDS. The places come first: a block
        that is freed and allocated again meanwhile may be in both, never in none. Raises
        `TracerError`.
        """
        try:
            places = read_array(self._fds["places"], 8 * len(PLACE_FIELDS), SIZES["MAX_PLACES"])
            keys, values = read_hash_map(
                self._fds["blocks"], 8 * len(BLOCK_KEY_FIELDS), 8 * len(BLOCK_FIELDS)
            )
        except OSError as error:
            raise TracerError(
                term("the kernel did not hand over its blocks ({error})", error=error)
            ) from None
        return places, keys, values

    def take_mapping_events(self) -> tuple[bytes, bytes]:
        """Return the reports of mappings since the last time, and forget them: keys and values."""
        try:
            return read_hash_map(
                self._fds["mapping_events"], _EVENT_KEY_BYTES, _EVENT_BYTES, take=True
            )
        except OSError as error:
            raise TracerError(
                term("the kernel did not hand over its reports ({error})", error=error)
            ) from None
