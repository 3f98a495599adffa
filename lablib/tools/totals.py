"""What the kernel counts for a process as a whole: pmap, and the sizes that smem prints.

Each is read when the program has done its terms, and again when it has done as many once more. So
what it needs only once, a cache that fills for instance, is in both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from lablib.language import term
from lablib.records import ToolReport, ToolTotal
from lablib.tools.attached import do_terms, start_held
from lablib.tools.trial import NoReportError, Trial, find_tool, read_peak, run_reader, shorten
from lablib.wording import os_reason

KIB = 1024
_PMAP_TOTAL = re.compile(r"^total kB\s+(\d+)\s+(\d+)\s+(\d+)", re.MULTILINE)
_ROLLUP = re.compile(r"^(Rss|Pss|Private_Clean|Private_Dirty):\s+(\d+) kB$", re.MULTILINE)


def run_pmap(trial: Trial) -> ToolReport:
    """Return the last line of `pmap -x`: what is mapped, and what of it is resident and dirty."""
    tool = find_tool(["pmap"], "procps")
    return _compare(
        trial, "pmap -x PID", lambda pid: run_reader([tool, "-x", str(pid)]), parse_pmap
    )


def run_pss(trial: Trial) -> ToolReport:
    """Return the sizes that smem prints, from /proc/PID/smaps_rollup: RSS, PSS and USS."""
    return _compare(trial, "cat /proc/PID/smaps_rollup", _read_rollup, parse_rollup)


def parse_pmap(text: str) -> dict[str, int]:
    """Return the totals of `pmap -x`, in bytes; raises `NoReportError` for another output."""
    match = _PMAP_TOTAL.search(text)
    if match is None:
        raise NoReportError(term("{tool} printed no total", tool="pmap"))
    names = ("mapped (Kbytes)", "resident (RSS)", "dirty")
    return {name: int(size) * KIB for name, size in zip(names, match.groups(), strict=True)}


def parse_rollup(text: str) -> dict[str, int]:
    """Return RSS, PSS and USS in bytes; USS is what is mapped by this process only."""
    sizes = {name: int(size) * KIB for name, size in _ROLLUP.findall(text)}
    if len(sizes) < 4:
        raise NoReportError(term("this kernel's smaps_rollup has other lines"))
    unique = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return {"RSS": sizes["Rss"], "PSS": sizes["Pss"], "USS": unique}


def _read_rollup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as error:
        raise NoReportError(
            term("this kernel gives no smaps_rollup ({reason})", reason=os_reason(error))
        ) from None


def _compare(
    trial: Trial, command: str, look: Callable[[int], str], parse: Callable[[str], dict[str, int]]
) -> ToolReport:
    with start_held(trial) as app:
        work_s = do_terms(app)
        before = look(app.pid)
        work_s += do_terms(app, rounds=2)
        after = look(app.pid)
        peak_bytes = read_peak(app.pid)
    first, second = parse(before), parse(after)
    return ToolReport(
        command=f"{command}, twice",
        raw=shorten(f"after {trial.terms:,} terms\n{before}\nafter as many again\n{after}"),
        totals=tuple(ToolTotal(name, first[name], second[name]) for name in first),
        seconds=work_s,
        work_seconds=work_s / 2,
        peak_rss_bytes=peak_bytes,
    )
