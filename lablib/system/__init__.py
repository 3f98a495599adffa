"""The machine's memory: vmstat's columns, memory cgroups, swap, and pressure.

vmstat.py    procps' vmstat, line by line
cgroups.py   which memory cgroup a process is in, and what is charged to it
swap.py      what the machine swaps to
pressure.py  how long processes have waited for memory (PSI)

Needs nothing but the standard library, because the tracer service reads cgroups with it too. What
takes a `root` reads files below that folder, which is "/" but in tests.
"""

from __future__ import annotations

from lablib.system.cgroups import find_cgroup, parse_cgroup, read_cgroup
from lablib.system.pressure import parse_pressure, read_cgroup_pressure, read_pressure
from lablib.system.swap import parse_swaps, read_meminfo, read_swap_areas
from lablib.system.vmstat import parse_vmstat_line, sample_vmstat

__all__ = [
    "find_cgroup",
    "parse_cgroup",
    "parse_pressure",
    "parse_swaps",
    "parse_vmstat_line",
    "read_cgroup",
    "read_cgroup_pressure",
    "read_meminfo",
    "read_pressure",
    "read_swap_areas",
    "sample_vmstat",
]
