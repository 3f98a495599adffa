"""Pressure stall information (PSI): how long processes have stood still for want of memory.

The kernel's accounting/psi.rst. It can be left out of a kernel, or be switched off at its start;
then the files are missing, or can't be read.
"""

from __future__ import annotations

from pathlib import Path

from lablib.errors import LabError
from lablib.language import term
from lablib.records import MemoryPressure, PressureShare

ROOT = Path("/")

_MICROSECONDS = 1e6


def read_pressure(root: Path = ROOT) -> MemoryPressure:
    """Return the machine's memory pressure, from /proc/pressure/memory.

    Raises `LabError` where the kernel does not measure it.
    """
    return _read(root / "proc/pressure/memory")


def read_cgroup_pressure(folder: Path) -> MemoryPressure:
    """Return a cgroup's memory pressure, from its memory.pressure, which only version 2 has.

    Raises `LabError` where it is not measured.
    """
    return _read(folder / "memory.pressure")


def parse_pressure(text: str) -> MemoryPressure:
    """Return the record of a pressure file's text; its totals are in microseconds."""
    shares = {}
    for line in text.splitlines():
        name, *pairs = line.split()
        values = dict(pair.split("=") for pair in pairs)
        shares[name] = PressureShare(
            percent_10s=float(values["avg10"]),
            percent_60s=float(values["avg60"]),
            percent_300s=float(values["avg300"]),
            total_s=int(values["total"]) / _MICROSECONDS,
        )
    return MemoryPressure(some=shares["some"], full=shares["full"])


def _read(path: Path) -> MemoryPressure:
    try:
        return parse_pressure(path.read_text())
    except FileNotFoundError:
        why: str = term(
            "there is no such file: cgroups of version 1 have none, and some kernels none at all"
        )
    except (OSError, KeyError, ValueError) as error:
        why = str(error)
    raise LabError(
        term("memory pressure is not measured here ({path}: {why})", path=path, why=why),
        term("boot with psi=1, on a kernel with CONFIG_PSI and cgroups of version 2"),
    )
