"""Trace a running process, or a command from its first instruction; watch it, and judge it.

What `./lab trace` does between its options and its output.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.text import Text

from lablib.analysis import judge_trace
from lablib.live import watch_live
from lablib.records import HeapSnapshot, HeapTrace, ProcessVerdict, TraceOptions
from lablib.report import describe_trace, render_trace
from lablib.scanning import refuse_scans, sample_and_scan
from lablib.sources import Source, choose_source, open_tracer
from lablib.startup import HeldProgram
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer
from lablib.windows import judge_windows
from lablib.wording import count_of, make_printable


@dataclass(frozen=True)
class Watch:
    """How to watch: for how long (None: to the end), how often, with which debug files."""

    seconds: float | None = None
    interval_s: float = 0.5
    debug_dirs: tuple[Path, ...] = ()
    options: TraceOptions = field(default_factory=TraceOptions)
    scans: bool = True
    """Whether to look, now and then, which blocks nothing points at any more."""
    source: Source = field(default_factory=choose_source)
    """What counts; a command only can be started so that it counts by itself."""


@dataclass(frozen=True)
class Watched:
    """What was seen: the target's trace, then its children's.

    `windows` are what each window left behind, empty where none were asked for. `exit_code` is a
    launched command's, None where it did not end by itself. `nameless` are the files without line
    numbers.
    """

    traces: tuple[HeapTrace, ...]
    windows: tuple[HeapSnapshot, ...] = ()
    exit_code: int | None = None
    nameless: tuple[str, ...] = ()


def watch_process(pid: int, watch: Watch, console: Console) -> Watched:
    """Trace a running process until its end, the time is over, or Ctrl-C; it runs on.

    Raises `TargetError` or `TracerError`.
    """
    with (
        closing(ProcessSymbols(pid, watch.debug_dirs)) as symbols,
        Tracer(pid, symbols, watch.options) as tracer,
    ):
        hint = "Ctrl-C to stop and judge" if watch.seconds is None else ""
        _sample(tracer, watch, console, hint)
        return Watched(tracer.traces, nameless=tuple(symbols.modules_without_lines()))


def watch_command(command: Sequence[str], watch: Watch, console: Console) -> Watched:
    """Start a command and trace it from its first instruction to its end.

    When the time is over it is ended. Where the console is standard error, the command's output
    goes there as well. Raises what `HeldProgram` and `Tracer` raise.
    """
    with ExitStack() as stack:
        instrument = watch.source.make_instrument(watch.options)
        environment = instrument.environment() if instrument else os.environ
        if instrument is not None:
            stack.enter_context(instrument)
        stack.enter_context(_output_to_stderr(console.stderr))
        program = stack.enter_context(HeldProgram(command, environment=environment))
        with (
            closing(ProcessSymbols(program.pid, watch.debug_dirs)) as symbols,
            open_tracer(program.pid, symbols, watch.options, instrument) as tracer,
        ):
            # Two can't draw on one terminal: a line now and then must do.
            lines = Console(stderr=True, force_terminal=False, highlight=False, markup=False)
            if program.is_late:
                lines.print(
                    "Its libraries' code began before it could be held: that part is missing."
                )
            program.release()
            _sample(tracer, watch, lines, "")
            traces, nameless = tracer.traces, tuple(symbols.modules_without_lines())
        return Watched(traces, (), program.poll(), nameless)


def watch_windows(pid: int, watch: Watch, console: Console, lines: TextIO) -> Watched:
    """Trace what single actions leave behind: each line read opens a window, or closes it.

    Ends with the lines, with Ctrl-C, or with the process.
    """
    say = console.print
    with (
        closing(ProcessSymbols(pid, watch.debug_dirs)) as symbols,
        Tracer(pid, symbols, watch.options) as tracer,
    ):
        refuse_scans(tracer, "what points at a block is not looked at where windows are opened")
        windows: list[HeapSnapshot] = []
        is_open = False
        say("Press Enter to open a window, let the program do one action, and press Enter again.")
        say("Repeat it: what an action leaves behind each time leaks. Ctrl-D to judge.")
        for _ in _read_lines(lines):
            if not is_open:
                if windows:
                    windows[-1] = tracer.snapshot()  # what was freed since it closed
                tracer.open_window()
                say(f"window {len(windows) + 1} is open; do it now, then press Enter")
            else:
                windows.append(tracer.close_window())
                left = windows[-1]
                say(
                    f"window {len(windows)} left behind {left.live_bytes:,} bytes "
                    f"in {count_of(left.live_blocks, 'block')}"
                )
            is_open = not is_open
        last = tracer.stop()
        if is_open:
            windows.append(last)
        elif windows:
            windows[-1] = last
        nameless = tuple(symbols.modules_without_lines())
        return Watched(tracer.traces, tuple(windows), nameless=nameless)


def judge_watched(watched: Watched) -> list[ProcessVerdict]:
    """Return the verdict on each trace; of windows, one on all of them."""
    if watched.windows:
        return [judge_windows(watched.windows)]
    return [judge_trace(trace) for trace in watched.traces]


def describe_watched(watched: Watched, verdicts: Sequence[ProcessVerdict]) -> dict[str, Any]:
    """Return the document of `./lab trace --json`: the target's, and in it its children's."""
    documents = [
        describe_trace(trace, verdict)
        for trace, verdict in zip(watched.traces, verdicts, strict=False)
    ]
    left = [{"live_bytes": w.live_bytes, "live_blocks": w.live_blocks} for w in watched.windows]
    return {
        **documents[0],
        "exit_code": watched.exit_code,
        "windows": left,
        "children": documents[1:],
    }


def render_watched(watched: Watched, verdicts: Sequence[ProcessVerdict]) -> RenderableType:
    """Return a page for people: each process's part, the target's first."""
    parts: list[RenderableType] = []
    for trace, verdict in zip(watched.traces, verdicts, strict=False):
        if len(watched.traces) > 1:
            command = make_printable(trace.target.command)
            parts.append(Text(f"process {trace.target.pid}: {command}", style="bold"))
        parts.append(render_trace(trace, verdict))
    if watched.exit_code:
        parts.append(Text(f"(the command ended with exit code {watched.exit_code})"))
    return Group(*parts)


def _sample(tracer: Tracer, watch: Watch, console: Console, hint: str) -> None:
    stopped: list[bool] = []
    with watch_live(console, hint) as show, _first_ctrl_c(stopped):
        sample = sample_and_scan if watch.scans else Tracer.sample
        for _ in sample(tracer, watch.seconds, watch.interval_s, lambda: bool(stopped)):
            show(tracer.trace)


def _read_lines(lines: TextIO) -> Iterator[str]:
    """Yield lines until there are no more, or Ctrl-C."""
    while True:
        try:
            line = lines.readline()
        except KeyboardInterrupt:
            return
        if not line:
            return
        yield line


@contextmanager
def _output_to_stderr(is_wanted: bool) -> Iterator[None]:
    """Within, what is started writes its standard output to standard error."""
    if not is_wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def _first_ctrl_c(stopped: list[bool]) -> Iterator[None]:
    """Within, a first Ctrl-C only asks to stop; a second one interrupts as usual."""

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(True)

    previous = signal.signal(signal.SIGINT, ask_to_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
