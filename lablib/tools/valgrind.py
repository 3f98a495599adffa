"""valgrind's memcheck and massif: the program runs on a simulated processor."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lablib.language import term
from lablib.records import Frame, ToolFinding, ToolReport
from lablib.tools.trial import (
    NoReportError,
    Trial,
    find_tool,
    read_written,
    require_end,
    run_watched,
    shorten,
    spell,
)

MEMORY_BYTES = 1 << 30
"""For the program and valgrind's own notes."""

GROWTH_SHARE = 0.1

_MARK = re.compile(r"^==[\d:. ]+== ?")
"""At the start of each line: the process, and before it the time where --time-stamp asks for it."""

_END = re.compile(r"^ERROR SUMMARY: ", re.MULTILINE)

_LOSS = re.compile(
    r"^([\d,]+) (?:\([^)]*\) )?bytes in ([\d,]+) blocks are (definitely lost|indirectly lost|"
    r"possibly lost|still reachable) in loss record"
)
_OPEN_FILE = re.compile(r"^Open (?:file descriptor|AF_\w+ socket) (\d+)")
_FRAME = re.compile(r"^\s+(?:at|by) 0x[0-9A-F]+: (.+?)(?: \(((?:in )?/?[^()]*)\))?$")
_TREE = re.compile(r"^( *)n(\d+): (\d+) (?:0x[0-9A-F]+: (.+?)(?: \(([^()]*)\))?|.*)$")
_UNKNOWN = "???"


def run_memcheck(trial: Trial) -> ToolReport:
    """Return memcheck's report at the program's end: blocks that were not freed, and open files."""
    log = trial.folder / "memcheck.txt"
    options = ("--leak-check=full", "--show-leak-kinds=all", "--track-fds=yes", f"--log-file={log}")
    return _run(trial, "memcheck", options, log, parse_memcheck)


def run_massif(trial: Trial) -> ToolReport:
    """Return what massif's snapshots say is in use at the end, and whether it grew until then."""
    out = trial.folder / "massif.out"
    options = ("--detailed-freq=1", f"--massif-out-file={out}")
    return _run(trial, "massif", options, out, parse_massif)


def _run(
    trial: Trial,
    tool: str,
    options: Sequence[str],
    written: Path,
    parse: Callable[[str], Iterator[ToolFinding]],
) -> ToolReport:
    command = [find_tool(["valgrind"], "valgrind"), f"--tool={tool}", *options, *trial.command()]
    watched = run_watched(command, trial.app.executable, MEMORY_BYTES)
    require_end(watched, tool)
    text = read_written(written, tool)
    return ToolReport(
        command=spell(command, trial.folder),
        raw=shorten(text),
        findings=tuple(parse(text)),
        seconds=watched.seconds,
        work_seconds=watched.work_seconds,
        peak_rss_bytes=watched.peak_rss_bytes,
        exit_code=watched.exit_code,
    )


def parse_memcheck(text: str) -> Iterator[ToolFinding]:
    """Yield what a log of memcheck lists, in its order; open files of one call stack together.

    "still reachable" is listed, and not called an error by memcheck: no complaint. Raises
    `NoReportError` for a log that breaks off.
    """
    lines = [_MARK.sub("", line) for line in text.splitlines()]
    if not _END.search("\n".join(lines)):
        raise NoReportError(term("the report of {tool} breaks off", tool="memcheck"))
    files: dict[tuple[Frame, ...], int] = {}
    for place, line in enumerate(lines):
        if match := _LOSS.match(line):
            size_bytes, blocks = (int(number.replace(",", "")) for number in match.group(1, 2))
            frames = _read_frames(lines[place + 1 :])
            is_complaint = match[3] != "still reachable"
            yield ToolFinding(match[3], size_bytes, blocks, frames, is_complaint)
        elif _OPEN_FILE.match(line) and (frames := _read_frames(lines[place + 1 :])):
            files[frames] = files.get(frames, 0) + 1
    for frames, count in files.items():
        yield ToolFinding("open file descriptors", None, count, frames)


def _read_frames(lines: list[str]) -> tuple[Frame, ...]:
    frames = []
    for line in lines:
        match = _FRAME.match(line)
        if match is None:
            break
        frames.append(_read_place(match[1], match[2] or ""))
    return tuple(frames)


def parse_massif(text: str) -> Iterator[ToolFinding]:
    """Yield what is in use at the last snapshot of a massif file, by call stack.

    Massif draws a curve, and calls nothing a leak. Who reads it looks for what still grows: it is a
    complaint where there is more at the last snapshot than in the middle of the time, by
    `GROWTH_SHARE`. Massif gives the bytes of each call stack, and not the blocks. Raises
    `NoReportError` for a file that has no snapshots, or breaks off.
    """
    snapshots = [_read_snapshot(part) for part in text.split("#-----------\nsnapshot=")[1:]]
    until_middle = [each for each in snapshots if each[0] <= snapshots[-1][0] / 2]
    if not until_middle:
        raise NoReportError(term("the report of {tool} has no snapshots", tool="massif"))
    middle, last = max(until_middle, key=lambda each: each[0])[1], snapshots[-1][1]
    for frames, size_bytes in last.items():
        grows = size_bytes > (1 + GROWTH_SHARE) * middle.get(frames, 0)
        kind = term("in use at the end, and growing") if grows else term("in use at the end")
        yield ToolFinding(kind, size_bytes, None, frames, grows)


def _read_snapshot(text: str) -> tuple[int, dict[tuple[Frame, ...], int]]:
    """Return a snapshot's time and the leaves of its tree, whose sizes add up to its root's."""
    moment = re.search(r"^time=(\d+)$", text, re.MULTILINE)
    nodes = [match for line in text.splitlines() if (match := _TREE.match(line))]
    ends = sum(int(match[3]) for match in nodes if match[2] == "0")
    in_use = 0 if "heap_tree=empty" in text else int(nodes[0][3]) if nodes else None
    if moment is None or in_use != ends:
        raise NoReportError(term("the report of {tool} breaks off", tool="massif"))
    path: list[Frame] = []
    leaves: dict[tuple[Frame, ...], int] = {}
    for match in nodes:
        if match[4] is None:
            continue
        path[len(match[1]) - 1 :] = [_read_place(match[4], match[5] or "")]
        if match[2] == "0":
            leaves[tuple(path)] = leaves.get(tuple(path), 0) + int(match[3])
    return int(moment[1]), leaves


def _read_place(function: str, place: str) -> Frame:
    """Return a frame: "" or "in MODULE" or "FILE:LINE" is what valgrind knows of its place."""
    name = None if function == _UNKNOWN else function
    file, _, line = place.rpartition(":")
    if line.isdigit():
        return Frame(name, "", 0, file, int(line))
    return Frame(name, place.removeprefix("in ").rpartition("/")[2], 0)
