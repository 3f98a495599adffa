"""An incident on call: its clock, what was done in it, and how its service fared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lablib.records.heap import HeapTrace

ENTRY_KINDS = (
    "page",
    "service",
    "kill",
    "look",
    "command",
    "note",
    "answer",
    "change",
    "fix",
    "proof",
    "check",
)
"""What an entry of a timeline is about."""


@dataclass(frozen=True)
class TimelineEntry:
    """What happened in an incident, `elapsed_s` seconds after its page.

    `at_s` is the same moment in seconds since 1970 (UTC), `kind` one of `ENTRY_KINDS`. `details`
    are numbers and words for a reader that is a program.
    """

    elapsed_s: float
    at_s: float
    kind: str
    text: str
    details: Mapping[str, float | str | bool | None] = field(
        default_factory=lambda: MappingProxyType({})
    )


@dataclass(frozen=True)
class ServiceSample:
    """What the service held, `elapsed_s` after the page and `up_s` after its own start.

    `rss_bytes` is its resident set (VmRSS of /proc/PID/status). `charged_bytes` is what its memory
    cgroup counts, None where it has none of its own.
    """

    elapsed_s: float
    up_s: float
    rss_bytes: int
    charged_bytes: int | None


@dataclass(frozen=True)
class ServiceEnd:
    """How a run of the service ended: killed for want of memory, or by itself.

    It had run for `up_s` seconds and done `terms` terms, which at the rate of the service are
    `service_s` seconds.
    """

    is_oom_killed: bool
    exit_code: int
    up_s: float
    terms: int
    service_s: float
    last_line: str


@dataclass(frozen=True)
class RehearsalRound:
    """What the program held after `terms` terms, as the kernel counts it.

    From /proc/PID/status: the resident set, its largest so far (VmHWM), its anonymous part, and the
    address space; `mappings` are the lines of /proc/PID/maps.
    """

    terms: int
    rss_bytes: int
    peak_rss_bytes: int
    rss_anon_bytes: int
    vm_size_bytes: int
    mappings: int
    threads: int


@dataclass(frozen=True)
class Rehearsal:
    """A program run ahead of time: as fast as it goes, without a limit, looked at every N terms.

    `rounds` are of a run that nobody traced, `trace` of another one: its snapshot of index i is of
    the moment at which `traced_terms[i]` terms were done. `source` says what counted. `ended_early`
    is what the program said when it ended before its last round, "" if it did not.
    """

    source: str
    rounds: tuple[RehearsalRound, ...]
    trace: HeapTrace
    traced_terms: tuple[int, ...]
    ended_early: str = ""
