"""Tools that attach by eBPF while the program runs: bcc's memleak, and a few lines of bpftrace."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from lablib.apps import LocalApp
from lablib.language import term
from lablib.privilege import root_prefix
from lablib.records import Frame, MemleakReport, ToolFinding, ToolReport
from lablib.tools.attached import await_probes, do_terms, find_libc, start_held
from lablib.tools.trial import (
    MAX_OUTPUT_BYTES,
    NoReportError,
    Trial,
    await_condition,
    find_tool,
    read_peak,
    shorten,
)
from lablib.tracing.client import run_memleak as ask_for_memleak
from lablib.tracing.control import start_service

WINDOWS_S, TIMED_WINDOWS_S = (2, 8, 30), (5, 15, 30)
"""How long memleak looks once it is attached, in seconds; the next where the terms took longer."""

ATTACH_TIMEOUT_S = 30.0
MEMLEAK_HEADING = "stacks with outstanding allocations"
MEMLEAK_LAST = ("free", "munmap")
"""Where memleak puts its last probes."""

_MEMLEAK_FRAME = re.compile(r"^(\S+?)(?:\+0x([0-9a-f]+))? \[(.+)\]$")
_LIVE = re.compile(r"^@live\[\n(.*?)\]: (-?\d+)$", re.MULTILINE | re.DOTALL)
_BPFTRACE_FRAME = re.compile(
    r"^\s*(?:\[inlined\] )?(.+?)(?:\+(\d+))?(?: \((.+)\))?(?:@([^@]+):(\d+))?$"
)
_NO_NAME = re.compile(r"^\s*(0x[0-9a-f]|<)")

# What was allocated and not freed, by call stack. The stack of a block is remembered with it, so
# that its free is taken off where it was put down. It is printed while the program goes on: of a
# thread that has ended bpftrace can't name the functions. $1 is the process, LIBC its C library.
# The sizes are cast: newer versions refuse a map that adds up signed and unsigned numbers.
SCRIPT = """
uprobe:LIBC:malloc /pid == $1/ { @size[tid] = arg0; }
uprobe:LIBC:calloc /pid == $1/ { @size[tid] = arg0 * arg1; }
uretprobe:LIBC:malloc, uretprobe:LIBC:calloc /@size[tid]/ {
  @bytes[retval] = @size[tid]; @stack[retval] = ustack(6);
  @live[ustack(6)] = sum((int64)@size[tid]); delete(@size[tid]);
}
uprobe:LIBC:free /@bytes[arg0]/ {
  @live[@stack[arg0]] = sum(-(int64)@bytes[arg0]); delete(@bytes[arg0]); delete(@stack[arg0]);
}
interval:s:1 { printf("live now:\\n"); print(@live); printf("that is all\\n"); }
END { clear(@size); clear(@bytes); clear(@stack); clear(@live); }
"""
_PRINTED = re.compile(r"^live now:\n(.*?)^that is all$", re.MULTILINE | re.DOTALL)

PACED_S, LOOKS = 12.0, 2
"""The terms would take so many seconds, and so many times is printed what is live."""


def run_memleak(trial: Trial) -> ToolReport:
    """Return what bcc's memleak says is outstanding; the tracer service runs it.

    It prints once, when its time is over. Where the terms were not done by then it is run anew, for
    longer; `NoReportError` is raised where the longest is not enough.
    """
    start_service()
    for window_s in TIMED_WINDOWS_S if trial.is_timed else WINDOWS_S:
        report = _look_once(trial, window_s)
        if report is not None:
            return report
    raise NoReportError(term("the terms were not done while memleak looked"))


def _look_once(trial: Trial, window_s: int) -> ToolReport | None:
    """Return memleak's report, None where it may have printed it before the terms were done."""
    began_s = time.monotonic()
    with start_held(trial) as app, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask_for_memleak, app.pid, window_s)
        attached_s = await_probes(app.pid, MEMLEAK_LAST, asked.done, ATTACH_TIMEOUT_S)
        work_s = do_terms(app) if not asked.done() else None
        done_s = time.monotonic()
        report = asked.result()
        peak_bytes = read_peak(app.pid)
    if MEMLEAK_HEADING not in report.output:
        said = [line.strip() for line in report.output.splitlines() if line.strip()]
        raise _make_refusal("memleak", said[-1:])
    if work_s is None or done_s - attached_s >= window_s:
        return None
    return ToolReport(
        command=f"memleak -a -p PID {window_s} 1",
        raw=shorten(report.output),
        findings=tuple(read_memleak(report)),
        seconds=time.monotonic() - began_s,
        work_seconds=work_s,
        peak_rss_bytes=peak_bytes,
    )


def read_memleak(report: MemleakReport) -> Iterator[ToolFinding]:
    """Yield the stacks of a report of memleak's."""
    for stack in report.stacks:
        frames = tuple(map(_read_memleak_frame, stack.frames))
        yield ToolFinding("outstanding", stack.live_bytes, stack.live_blocks, frames)


def _read_memleak_frame(text: str) -> Frame:
    match = _MEMLEAK_FRAME.match(text)
    if match is None:
        return Frame(None, text, 0)
    function = None if match[1] == "[unknown]" else match[1]
    return Frame(function, match[3], int(match[2] or "0", 16))


def run_bpftrace(trial: Trial) -> ToolReport:
    """Return what a short script finds live; bpftrace runs as root, and attaches."""
    tool = find_tool(["bpftrace"], "bpftrace")
    prefix = root_prefix("bpftrace")
    began_s = time.monotonic()
    rate = 0.0 if trial.is_timed else trial.terms / PACED_S
    with LocalApp(trial.app, rate, trial.terms, stays=True) as app:
        script = SCRIPT.replace("LIBC", find_libc(app.pid).path)
        # As root it can't be ended by who started it: `timeout` sees to it that it ends.
        limit = ["timeout", "--kill-after=2", str(int(2 * ATTACH_TIMEOUT_S))]
        command = [*prefix, *limit, tool, "-B", "none", "-p", str(app.pid)]
        command += ["-e", script, str(app.pid)]
        with tempfile.TemporaryFile() as output:
            tracer = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                work_s = _work_under(app, tracer, output, trial.is_timed)
                has_given_up = tracer.poll() is not None
            finally:
                _end(tracer, prefix)
            text = _read(output)
        if has_given_up:
            said = [line for line in text.splitlines() if "RLIMIT_MEMLOCK" not in line and line]
            raise _make_refusal("bpftrace", said[:1])
        peak_bytes = read_peak(app.pid)
    return ToolReport(
        command=f"bpftrace -p PID -e SCRIPT PID, where SCRIPT is{script}",
        raw=shorten(text),
        findings=tuple(parse_bpftrace(text)),
        seconds=time.monotonic() - began_s,
        work_seconds=work_s,
        peak_rss_bytes=peak_bytes,
        is_early=not trial.is_timed,
    )


def _work_under(
    app: LocalApp, tracer: subprocess.Popen[bytes], output: IO[bytes], is_timed: bool
) -> float | None:
    """Let the program work once it is probed, until bpftrace has printed twice what is live then.

    Return how long all terms took, None where they were only begun. bpftrace that has ended by
    itself has given up.
    """

    def is_over() -> bool:
        return tracer.poll() is not None

    await_probes(app.pid, ("malloc", "calloc", "free"), is_over, ATTACH_TIMEOUT_S)
    if is_over():
        return None
    work_s = None
    if is_timed:
        work_s = do_terms(app)
    else:
        app.release()
    count = len(_PRINTED.findall(_read(output))) + LOOKS
    await_condition(
        lambda: is_over() or len(_PRINTED.findall(_read(output))) >= count,
        ATTACH_TIMEOUT_S,
        term("the printing"),
    )
    return work_s


def _read(output: IO[bytes]) -> str:
    """Return what was written to a file so far; whoever writes goes on where it was."""
    return os.pread(output.fileno(), MAX_OUTPUT_BYTES, 0).decode(errors="replace")


def parse_bpftrace(text: str) -> Iterator[ToolFinding]:
    """Yield what `SCRIPT` printed last of its map @live, largest first."""
    printed = _PRINTED.findall(text)
    found = []
    for stack, size in _LIVE.findall(printed[-1] if printed else ""):
        if int(size) > 0:
            frames = tuple(_read_frame(line) for line in stack.splitlines() if line.strip())
            found.append(ToolFinding("live", int(size), None, frames))
    yield from sorted(found, key=lambda each: each.size_bytes or 0, reverse=True)


def _read_frame(line: str) -> Frame:
    match = _BPFTRACE_FRAME.match(line)
    if match is None or _NO_NAME.match(line):
        return Frame(None, line.strip(), 0)
    name, offset, module, file, number = match.groups()
    module = (module or "").rpartition("/")[2]
    return Frame(name, module, int(offset or 0), file, int(number) if number else None)


def _make_refusal(tool: str, said: list[str]) -> NoReportError:
    """Return the error of a tool that has given up, with what it said."""
    if not said:
        return NoReportError(term("{tool} gave up, and gave no reason", tool=tool))
    return NoReportError(term("{tool} gave up: {said}", tool=tool, said=said[0]))


def _end(process: subprocess.Popen[bytes], prefix: list[str]) -> None:
    """Have bpftrace print what it has and end: by SIGINT, which `timeout` and sudo hand on."""
    if process.poll() is None:
        subprocess.run([*prefix, "kill", "-INT", str(process.pid)], check=False)
    try:
        process.wait(ATTACH_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NoReportError(term("bpftrace did not end")) from None
