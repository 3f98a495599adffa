"""heaptrack: a library in the program writes down each call of the allocator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lablib.language import term
from lablib.records import Frame, ToolFinding, ToolReport
from lablib.tools.trial import (
    NoReportError,
    Trial,
    find_tool,
    require_end,
    run_reader,
    run_watched,
    shorten,
    spell,
)

MEMORY_BYTES = 1 << 30
_UNITS = {"B": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_LEAK = re.compile(r"^(-?[\d.]+)([BKMGT]) leaked over (\d+) calls? from:?$")
_PLACE = re.compile(r"^\s+at (.+):(\d+)$")
_RUNTIME = re.compile(r"^total runtime: ([\d.]+)s", re.MULTILINE)
_PEAK = re.compile(r"^peak RSS \(including heaptrack overhead\): ([\d.]+)([BKMGT])", re.MULTILINE)
_MODULE = re.compile(r"^\s+in (\S.*)$")
_REST = re.compile(r"^\s+and \S+ from \d+ other places$")


def run_heaptrack(trial: Trial) -> ToolReport:
    """Return what heaptrack found allocated and not freed at the program's end."""
    tool, printer = (find_tool([name], "heaptrack") for name in ("heaptrack", "heaptrack_print"))
    command = [tool, "-o", str(trial.folder / "heaptrack"), *trial.command()]
    watched = run_watched(command, trial.app.executable, MEMORY_BYTES)
    require_end(watched, "heaptrack")
    recordings = sorted(trial.folder.glob("heaptrack.*"))
    if not recordings:
        raise NoReportError(term("{tool} wrote no report", tool="heaptrack"))
    text = run_reader(
        [printer, "-f", str(recordings[0]), *("-p", "0", "-a", "0", "-T", "0", "-l", "1")]
    )
    return ToolReport(
        command=spell(command, trial.folder),
        raw=shorten(text),
        findings=tuple(parse_heaptrack(text)),
        seconds=watched.seconds,
        **parse_costs(text),
        exit_code=watched.exit_code,
    )


def parse_heaptrack(text: str) -> Iterator[ToolFinding]:
    """Yield the leaks that heaptrack_print lists; sizes have the three digits that it prints.

    Each entry begins with the place of the call, followed by the stacks that led there. Raises
    `NoReportError` where the list, or what ends it, is not there.
    """
    _, _, leaks = text.partition("MEMORY LEAKS\n")
    if not _RUNTIME.search(leaks):
        raise NoReportError(term("the report of {tool} breaks off", tool="heaptrack"))
    inner: list[Frame] = []
    entry: tuple[int, int] | None = None
    frames: list[Frame] = []
    for line in leaks.splitlines():
        if line.startswith("total runtime"):
            break
        if match := _LEAK.match(line):
            if line.endswith(":"):
                yield from _make(entry, frames)
                inner = inner or frames
                entry, frames = _read_sizes(match), list(inner)
            else:
                yield from _make(entry, frames)
                inner, entry, frames = [], None, []
        elif match := _PLACE.match(line):
            _amend(frames, file=match[1], line=int(match[2]))
        elif match := _MODULE.match(line):
            _amend(frames, module=match[1].rpartition("/")[2])
        elif line.strip() and not _REST.match(line):
            name = line.strip()
            frames.append(Frame(None if name.startswith(("0x", "??")) else name, "", 0))
    yield from _make(entry, frames)


def parse_costs(text: str) -> dict[str, Any]:
    """Return `work_seconds` and `peak_rss_bytes` of a `ToolReport`, as heaptrack measured them.

    It writes to the program's standard output itself, which so can't tell when the work began.
    """
    runtime, peak = _RUNTIME.search(text), _PEAK.search(text)
    return {
        "work_seconds": float(runtime[1]) if runtime else None,
        "peak_rss_bytes": round(float(peak[1]) * _UNITS[peak[2]]) if peak else None,
    }


def _read_sizes(match: re.Match[str]) -> tuple[int, int]:
    return round(float(match[1]) * _UNITS[match[2]]), int(match[3])


def _make(entry: tuple[int, int] | None, frames: list[Frame]) -> Iterator[ToolFinding]:
    if entry is not None:
        yield ToolFinding("leaked", *entry, tuple(frames))


def _amend(
    frames: list[Frame], module: str = "", file: str | None = None, line: int | None = None
) -> None:
    if frames:
        last = frames[-1]
        frames[-1] = Frame(
            last.function, module or last.module, 0, file or last.file, line or last.line
        )
