"""The pressure tracer's kernel side: tracepoints of reclaim, of swapping and of OOM kills."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from lablib.tracing.attach import (
    MAJOR_FAULTS,
    attach_raw_tracepoint,
    attach_software_event,
    attach_tracepoint,
    read_processors,
)
from lablib.tracing.bytecode import PERF_EVENT, RAW_TRACEPOINT, TRACEPOINT
from lablib.tracing.formats import find_event, read_offsets
from lablib.tracing.maps import (
    delete_entry,
    read_hash_map,
    read_per_cpu_element,
    write_entries,
)
from lablib.tracing.program import SessionProgram, TracerProgram
from lablib.tracing.protocol import RECLAIM_FIELDS, RECLAIM_KINDS, VICTIM_FIELDS

MEMBER, LIMITER = 1, 2
"""How a process belongs to a session: `enum role` in pressure.bpf.c."""

VICTIM_EVENT = "oom:mark_victim"
WRITE_EVENTS = ("vmscan:mm_vmscan_write_folio", "vmscan:mm_vmscan_writepage")
"""A page goes to swap or to its file. It has the second name before Linux 6.0."""

_LIFECYCLE = {"sched_process_exit": "on_member_exit"}
_CHILDREN = {"task:task_newtask": "on_member_s_child"}
_MEMCG_RECLAIM = {
    "mm_vmscan_memcg_reclaim_begin": "on_memcg_reclaim_begin",
    "mm_vmscan_memcg_reclaim_end": "on_reclaim_end",
}
_DIRECT_RECLAIM = {
    "mm_vmscan_direct_reclaim_begin": "on_direct_reclaim_begin",
    "mm_vmscan_direct_reclaim_end": "on_reclaim_end",
}

PRESSURE_FUNCTIONS = {
    **dict.fromkeys(
        [*_LIFECYCLE.values(), *_MEMCG_RECLAIM.values(), *_DIRECT_RECLAIM.values()], RAW_TRACEPOINT
    ),
    **dict.fromkeys([*_CHILDREN.values(), "on_reclaim_write", "on_victim"], TRACEPOINT),
    "on_waiting_fault": PERF_EVENT,
}
"""What a pressure session loads, with the type of each program; its maps are those it uses."""

_VICTIM_OFFSETS = {
    "VICTIM_PID_OFFSET": "pid",
    "VICTIM_VM_OFFSET": "total_vm",
    "VICTIM_ANON_OFFSET": "anon_rss",
    "VICTIM_FILE_OFFSET": "file_rss",
    "VICTIM_SHARED_OFFSET": "shmem_rss",
}
_NUMBER, _MEMBER = struct.Struct("=I"), struct.Struct("=2I")
_VICTIM = struct.Struct(f"={len(VICTIM_FIELDS)}Q")
_UNTOLD = (1 << 64) - 1


def read_event_offsets() -> dict[str, int]:
    """Return where the fields that we need lie, by the macro's name; 0 for what is not there."""
    victim, write = read_offsets(VICTIM_EVENT), read_offsets(_find_write_event())
    offsets = {macro: victim.get(name, 0) for macro, name in _VICTIM_OFFSETS.items()}
    return {**offsets, "WRITE_FLAGS_OFFSET": write.get("reclaim_flags", 0)}


class PressureProgram(SessionProgram):
    """What a pressure session has loaded: its maps, and programs on the kernel's tracepoints."""

    def __init__(self, program: TracerProgram) -> None:
        """Prepare to load the functions that a pressure session needs."""
        super().__init__(program, PRESSURE_FUNCTIONS)
        self._processors: frozenset[int] = frozenset()

    def watch(self) -> dict[str, str]:
        """Notice from now on what members do; return what this kernel can't tell, and why.

        The keys are fields of `PressureTrace`. Raises `TracerError` where not even processes can be
        told from each other.
        """
        self.attach_to_events(_LIFECYCLE, _CHILDREN)
        offsets = read_event_offsets()
        unavailable = {
            "memcg_reclaim": self._try_raw(_MEMCG_RECLAIM),
            "direct_reclaim": self._try_raw(_DIRECT_RECLAIM),
            "swapped_out_pages": self._try_record(
                _find_write_event(), "on_reclaim_write", offsets["WRITE_FLAGS_OFFSET"]
            ),
            "oom_kills": self._try_record(VICTIM_EVENT, "on_victim", offsets["VICTIM_PID_OFFSET"]),
            "major_faults": self._try_faults(),
        }
        return {field: why for field, why in unavailable.items() if why}

    def has_new_processor(self) -> bool:
        """Return whether a processor has come into use since: major faults there are not seen."""
        return not read_processors() <= self._processors

    def add_process(self, pid: int, role: int) -> None:
        """Have a process belong to the session; raises `OSError`."""
        write_entries(self._fds["pressure_roles"], 1, _NUMBER.pack(pid), _NUMBER.pack(role))

    def remove_process(self, pid: int) -> None:
        """Have a process that has ended belong to it no more; raises `OSError`."""
        delete_entry(self._fds["pressure_roles"], _NUMBER.pack(pid))

    def read_members(self) -> list[int]:
        """Return the ids of the members that have been seen, children too; raises `OSError`."""
        _, values = read_hash_map(self._fds["pressure_members"], _NUMBER.size, _MEMBER.size)
        return [tgid for tgid, role in _MEMBER.iter_unpack(values) if tgid and role == MEMBER]

    def read_victims(self) -> list[dict[str, int | None]]:
        """Return what is known of each process that was killed, in VICTIM_FIELDS; `OSError`."""
        _, values = read_hash_map(self._fds["victims"], _NUMBER.size, _VICTIM.size)
        rows = [dict(zip(VICTIM_FIELDS, row, strict=True)) for row in _VICTIM.iter_unpack(values)]
        return [
            {name: None if value == _UNTOLD else value for name, value in row.items()}
            for row in rows
        ]

    def read_reclaims(self) -> dict[str, dict[str, int]]:
        """Return the totals of each kind of reclaim, in RECLAIM_FIELDS; raises `OSError`."""
        return {
            kind: {
                field: self._read_total(number * len(RECLAIM_FIELDS) + place, field)
                for place, field in enumerate(RECLAIM_FIELDS)
            }
            for number, kind in enumerate(RECLAIM_KINDS)
        }

    def read_major_faults(self) -> int:
        """Return how often members have waited for a page to be read; raises `OSError`."""
        return self._read_total(len(RECLAIM_KINDS) * len(RECLAIM_FIELDS), "major_faults")

    def _read_total(self, place: int, field: str) -> int:
        values = read_per_cpu_element(self._fds["pressure_totals"], place)
        return max(values) if field == "longest_ns" else sum(values)

    def _try_raw(self, events: dict[str, str]) -> str:
        try:
            for event, program in events.items():
                attach_raw_tracepoint(self._programs[program], event)
        except OSError as error:
            return _explain(events, error)
        return ""

    def _try_record(self, event: str, program: str, offset: int) -> str:
        if not offset:
            return f"this kernel has no tracepoint {event}, or not with what we need"
        try:
            attach_tracepoint(self._programs[program], event)
        except OSError as error:
            return _explain([event], error)
        return ""

    def _try_faults(self) -> str:
        try:
            self._processors = read_processors()
            attach_software_event(
                self._programs["on_waiting_fault"], MAJOR_FAULTS, self._processors
            )
        except OSError as error:
            return f"the kernel refused to report major page faults ({error})"
        return ""


def _find_write_event() -> str:
    return next((event for event in WRITE_EVENTS if find_event(event)), WRITE_EVENTS[0])


def _explain(events: Iterable[str], error: OSError) -> str:
    names = " and ".join(events)
    if isinstance(error, FileNotFoundError):
        return f"this kernel has no tracepoint {names}"
    return f"the kernel refused the tracepoint {names} ({error.strerror})"
