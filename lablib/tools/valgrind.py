"""valgrind's memcheck and massif: the program runs on a simulated processor."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lablib.records import Frame, ToolFinding, ToolReport
from lablib.tools.trial import Trial, find_tool, read_written, run_watched, shorten, spell

MEMORY_BYTES = 1 << 30
"""For the program and valgrind's own notes."""

GROWTH_SHARE = 0.1

_LOSS = re.compile(
    r"^([\d,]+) (?:\([^)]*\) )?bytes in ([\d,]+) blocks are (definitely lost|indirectly lost|"
    r"possibly lost|still reachable) in loss record"
)
_OPEN_FILE = re.compile(r"^Open (?:file descriptor|AF_\w+ socket) (\d+)")
_FRAME = re.compile(r"^\s+(?:at|by) 0x[0-9A-F]+: (.+?) \((?:in )?([^()]+?)(?::(\d+))?\)$")
_TREE = re.compile(r"^( *)n(\d+): (\d+) (?:0x[0-9A-F]+: (.+?) \(([^()]*)\)|.*)$")


def run_memcheck(trial: Trial) -> ToolReport:
    """Return memcheck's report at the program's end: blocks that were not freed, and open files."""
    log = trial.folder / "memcheck.txt"
    command = [
        *(find_tool(["valgrind"], "valgrind"), "--tool=memcheck", "--leak-check=full"),
        *("--show-leak-kinds=all", "--track-fds=yes", f"--log-file={log}", *trial.command()),
    ]
    watched = run_watched(command, trial.app.executable, MEMORY_BYTES)
    text = read_written(log, "memcheck")
    return ToolReport(
        command=spell(command, trial.folder),
        raw=shorten(text),
        findings=tuple(parse_memcheck(text)),
        seconds=watched.seconds,
        work_seconds=watched.work_seconds,
        peak_rss_bytes=watched.peak_rss_bytes,
        exit_code=watched.exit_code,
    )


def parse_memcheck(text: str) -> Iterator[ToolFinding]:
    """Yield what a log of memcheck lists, in its order; open files of one call stack together.

    "still reachable" is listed, and not called an error by memcheck: no complaint.
    """
    lines = [re.sub(r"^==\d+== ?", "", line) for line in text.splitlines()]
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
        is_file = match[3] is not None
        frames.append(
            Frame(
                function=match[1],
                module="" if is_file else match[2].rpartition("/")[2],
                offset=0,
                file=match[2] if is_file else None,
                line=int(match[3]) if is_file else None,
            )
        )
    return tuple(frames)


def run_massif(trial: Trial) -> ToolReport:
    """Return what massif's snapshots say is in use at the end, and whether it grew until then."""
    out = trial.folder / "massif.out"
    command = [
        *(find_tool(["valgrind"], "valgrind"), "--tool=massif", "--detailed-freq=1"),
        *(f"--massif-out-file={out}", *trial.command()),
    ]
    watched = run_watched(command, trial.app.executable, MEMORY_BYTES)
    text = read_written(out, "massif")
    return ToolReport(
        command=spell(command, trial.folder),
        raw=shorten(text),
        findings=tuple(parse_massif(text)),
        seconds=watched.seconds,
        work_seconds=watched.work_seconds,
        peak_rss_bytes=watched.peak_rss_bytes,
        exit_code=watched.exit_code,
    )


def parse_massif(text: str) -> Iterator[ToolFinding]:
    """Yield what is in use at the last snapshot of a massif file, by call stack.

    Massif draws a curve, and calls nothing a leak. Who reads it looks for what still grows: it is a
    complaint where there is more at the last snapshot than in the middle of the time, by
    `GROWTH_SHARE`. Massif gives the bytes of each call stack, and not the blocks.
    """
    snapshots = [_read_snapshot(part) for part in text.split("#-----------\nsnapshot=")[1:]]
    if not snapshots:
        return
    end, last = snapshots[-1]
    _, middle = max((each for each in snapshots if each[0] <= end / 2), key=lambda each: each[0])
    for frames, size_bytes in last.items():
        grows = size_bytes > (1 + GROWTH_SHARE) * middle.get(frames, 0)
        kind = "in use at the end, and growing" if grows else "in use at the end"
        yield ToolFinding(kind, size_bytes, None, frames, grows)


def _read_snapshot(text: str) -> tuple[int, dict[tuple[Frame, ...], int]]:
    """Return a snapshot's time and the leaves of its tree."""
    moment = re.search(r"^time=(\d+)$", text, re.MULTILINE)
    path: list[Frame] = []
    leaves: dict[tuple[Frame, ...], int] = {}
    for line in text.splitlines():
        match = _TREE.match(line)
        if match is None or match[4] is None:
            continue
        path[len(match[1]) - 1 :] = [_read_place(match[4], match[5])]
        if match[2] == "0":
            leaves[tuple(path)] = leaves.get(tuple(path), 0) + int(match[3])
    return int(moment[1]) if moment else 0, leaves


def _read_place(function: str, place: str) -> Frame:
    file, _, line = place.rpartition(":")
    if line.isdigit():
        return Frame(function, "", 0, file, int(line))
    return Frame(function, place.removeprefix("in ").rpartition("/")[2], 0)
