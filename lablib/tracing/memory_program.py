"""The memory tracer's kernel side: tracepoints of page faults and of brk, mmap, munmap, mremap."""

from __future__ import annotations

from lablib.errors import TracerError
from lablib.language import term
from lablib.tracing.attach import (
    MAJOR_FAULTS,
    MINOR_FAULTS,
    attach_raw_tracepoint,
    attach_software_event,
    read_processors,
)
from lablib.tracing.bytecode import PERF_EVENT, RAW_TRACEPOINT, TRACEPOINT
from lablib.tracing.maps import read_hash_map
from lablib.tracing.program import SessionProgram, TracerProgram
from lablib.tracing.protocol import CALL_FIELDS, FAULT_FIELDS

FAULT_BEGINS = {"page_fault_user": "on_user_fault", "page_fault_kernel": "on_kernel_fault"}
FAULT_ENDS = {MINOR_FAULTS: "on_minor_fault", MAJOR_FAULTS: "on_major_fault"}
RAW_TRACEPOINTS = {
    "sched_process_exec": "on_exec",
    "sched_process_exit": "on_memory_thread_exit",
    "signal_deliver": "on_signal",
}
TRACEPOINTS = {
    f"syscalls:{event}": program
    for name in ("brk", "mmap", "munmap", "mremap")
    for event, program in (
        (f"sys_enter_{name}", f"on_{name}_call"),
        (f"sys_exit_{name}", "on_memory_call_exit"),
    )
}

MEMORY_FUNCTIONS = {
    **dict.fromkeys([*FAULT_BEGINS.values(), *RAW_TRACEPOINTS.values()], RAW_TRACEPOINT),
    **dict.fromkeys(FAULT_ENDS.values(), PERF_EVENT),
    **dict.fromkeys(TRACEPOINTS.values(), TRACEPOINT),
}
"""What a memory session loads, with the type of each program; its maps are those that they use."""

_KEY_WORDS = 2


class MemoryProgram(SessionProgram):
    """What a memory session has loaded: its maps, and programs on the kernel's tracepoints."""

    def __init__(self, program: TracerProgram) -> None:
        """Prepare to load the functions that a memory session needs."""
        super().__init__(program, MEMORY_FUNCTIONS)
        self._processors: frozenset[int] = frozenset()

    def watch(self) -> None:
        """Notice from now on what the target does; raises `TracerError`.

        It counts only once the window is open.
        """
        self.attach_to_events(RAW_TRACEPOINTS, TRACEPOINTS)
        try:
            for event, name in FAULT_BEGINS.items():
                attach_raw_tracepoint(self._programs[name], event)
        except FileNotFoundError:
            raise TracerError(
                term(
                    "this kernel does not tell what faults on a page: it has no tracepoint "
                    "exceptions:page_fault_user, which Linux on x86-64 has"
                ),
                term("look at a recording instead"),
            ) from None
        try:
            self._processors = read_processors()
            for number, name in FAULT_ENDS.items():
                attach_software_event(self._programs[name], number, self._processors)
        except OSError as error:
            raise TracerError(
                term("the kernel refused to report page faults ({error})", error=error)
            ) from None

    def has_new_processor(self) -> bool:
        """Return whether a processor has come into use since: faults there are not seen."""
        return not read_processors() <= self._processors

    def read_faults(self) -> bytes:
        """Return what has been seen of faults, each in FAULT_FIELDS; raises `TracerError`."""
        return self._read("faults", len(FAULT_FIELDS))

    def read_calls(self) -> bytes:
        """Return the system calls so far, in no order, in CALL_FIELDS; raises `TracerError`."""
        return self._read("memory_calls", len(CALL_FIELDS))

    def _read(self, table: str, words: int) -> bytes:
        """Return a table's keys, packed, and behind them its values."""
        try:
            keys, values = read_hash_map(self._fds[table], 8 * _KEY_WORDS, 8 * (words - _KEY_WORDS))
        except OSError as error:
            raise TracerError(
                term("the kernel did not hand over its {table} ({error})", table=table, error=error)
            ) from None
        return keys + values
