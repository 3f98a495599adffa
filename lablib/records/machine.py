"""The machine, what it can do, and the programs that the lab has built on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class VmstatSample:
    """One line of procps' vmstat, in bytes and seconds.

    `elapsed_s` counts from the start of the sampling. `rss_bytes` is the resident set of the
    process that was watched beside it, None without one or after its end. `available_bytes` is what
    vmstat has no column for: MemAvailable of /proc/meminfo, None where it was not read.
    """

    elapsed_s: float
    runnable: int
    blocked: int
    swapped_bytes: int
    free_bytes: int
    buffer_bytes: int
    cache_bytes: int
    swap_in_bytes_per_s: int
    swap_out_bytes_per_s: int
    blocks_in_per_s: int
    blocks_out_per_s: int
    interrupts_per_s: int
    context_switches_per_s: int
    user_percent: int
    system_percent: int
    idle_percent: int
    wait_percent: int
    rss_bytes: int | None = None
    available_bytes: int | None = None


@dataclass(frozen=True)
class AppFiles:
    """One of the leaky apps, built: its program, its source and the truth about it.

    `truth` is what the JSON beside the source says of it (truth.py): `is_leak`, and under `leaks`
    function, file, line, bytes_per_term and blocks_per_term of each.
    """

    name: str
    executable: Path
    source: Path
    truth: Mapping[str, Any]

    @property
    def plugin(self) -> Path | None:
        """The shared library that the program loads from beside itself, None for most."""
        if not self.truth.get("has_plugin"):
            return None
        return self.executable.with_name(f"{self.executable.name}.so")


@dataclass(frozen=True)
class Capability:
    """Something that this machine can or can't do, found by trying it.

    `reason` says what was tried and seen, `fix` the command that mends it, "" where it works.
    """

    name: str
    works: bool
    reason: str
    fix: str = ""
