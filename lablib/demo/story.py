"""The case study as a story in the terminal: what we do, what we see, what it means."""

from __future__ import annotations

import contextlib
import difflib
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from lablib.analysis import estimate_slope, judge_trace
from lablib.apps import APPS_DIR, find_source
from lablib.comparison import DEFAULT_TERMS, compare_builds, make_build, render_comparison
from lablib.demo.result import DemoResult, save_artefacts
from lablib.errors import LabError
from lablib.language import term
from lablib.plots import MIB
from lablib.privilege import ask_for_root
from lablib.records import Comparison, Frame, HeapSnapshot, MemleakReport, SymbolCures
from lablib.report import KIND_STYLES, render_stack
from lablib.study import (
    Observation,
    RunningApp,
    Runtime,
    choose_runtime,
    observe,
    read_symbol_cures,
    start_app,
)
from lablib.tracing.client import read_status, run_memleak
from lablib.tracing.control import start_service
from lablib.wording import wrap_command

LEAKY, FIXED = "fib_leak", "fib_fixed"
MEMLEAK_SECONDS = 2
RESULTS_DIR = APPS_DIR.parent / "results"


def run_demo(console: Console, wanted: str | None, seconds: float, rate: float) -> DemoResult:
    """Run the whole study, telling it on `console`; raises `LabError` for what can't be done."""
    with _only_one_demo():
        _say(console, "1", "Where we are", "")
        ask_for_root("the tracer service and Docker's engine")
        with console.status("starting the tracer service and looking for Docker ..."):
            start_service()
            runtime = choose_runtime(wanted)
        _introduce(console, runtime)
        with contextlib.ExitStack() as running:
            leaky = running.enter_context(_start(console, runtime, LEAKY, rate))
            leak = _watch_leak(console, leaky, seconds, rate)
            memleak = _compare_with_memleak(console, runtime, leaky, rate)
            _show_culprit(console, leaky, leak)
        with _start(console, runtime, FIXED, rate) as repaired:
            fixed, fix = _prove_fix(console, repaired, seconds)
        artefacts = save_artefacts(
            leak, fixed, RESULTS_DIR / f"{datetime.now():demo-%Y%m%d-%H%M%S}"
        )
    result = DemoResult(runtime, rate, leak, memleak, fixed, fix, artefacts)
    _conclude(console, result)
    return result


@contextlib.contextmanager
def _only_one_demo() -> Iterator[None]:
    """Hold a name that the kernel gives to one process at a time, and takes back at its end."""
    name = f"\0memory-leak-lab-demo-{os.getuid()}"
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(name)
        except OSError:
            raise LabError(
                term("another demo of yours is running"), term("wait for it, or end it with Ctrl-C")
            ) from None
        yield


def _say(console: Console, number: str, title: str, text: str) -> None:
    console.print()
    console.rule(Text(f"{number}. {title}", "bold"), align="left")
    if text:
        console.print(text)


def _command(console: Console, command: str) -> None:
    console.print(Text(f"$ {command}", "bold cyan"), soft_wrap=True)


def _introduce(console: Console, runtime: Runtime) -> None:
    console.print(
        f"This machine runs Linux {os.uname().release}. The tracer attaches to programs through "
        "eBPF, so nothing that follows is simulated."
    )
    if runtime.engine is None:
        console.print(
            f"The program will run as a local process, not in Docker: {runtime.reason}.",
            style="yellow",
        )
    elif runtime.engine.is_own:
        console.print("Docker's engine is the lab's own. To talk to it yourself:")
        _command(console, f"export DOCKER_HOST={runtime.engine.host}")
    else:
        console.print("Docker's engine was running already, and is used as it is.")


@contextlib.contextmanager
def _start(console: Console, runtime: Runtime, name: str, rate: float) -> Iterator[RunningApp]:
    if name == LEAKY:
        _say(
            console,
            "2",
            "A program that works",
            "It computes Fibonacci numbers in a thread and prints them. Nothing looks wrong. "
            f"The original prints one a second; here it is {rate:g}, so that nobody has to wait.",
        )
    else:
        _say(
            console,
            "6",
            "The fix, and the proof",
            "A fix is a claim. We run the fixed program the same way and trace it again.",
        )
    with console.status(f"building and starting {name} ..."), contextlib.ExitStack() as stack:
        app = stack.enter_context(start_app(runtime, name, rate))
        leave = stack.pop_all()
    with leave:
        _command(console, wrap_command(app.run_words))
        yield app


def _watch_leak(console: Console, app: RunningApp, seconds: float, rate: float) -> Observation:
    leak = _observe_with_progress(console, app, seconds)
    if app.runtime == "docker":
        _command(console, "docker logs app")
    console.print(Text("\n".join(app.read_logs().splitlines()[:6]) + "\n..."))
    _say(
        console,
        "3",
        "What the machine shows",
        "vmstat reports the whole machine; RSS is what this one process has in memory.",
    )
    _command(console, "vmstat 1")
    table = Table(box=None, pad_edge=False)
    for heading in ("second", "free MiB", "buff MiB", "cache MiB", "RSS of app MiB"):
        table.add_column(heading, justify="right")
    for sample in leak.vmstat:
        sizes = (sample.free_bytes, sample.buffer_bytes, sample.cache_bytes, sample.rss_bytes or 0)
        table.add_row(f"{sample.elapsed_s:.0f}", *(f"{size / MIB:,.1f}" for size in sizes))
    console.print(table)
    known = [(sample.elapsed_s, sample.rss_bytes) for sample in leak.vmstat if sample.rss_bytes]
    slope, _ = estimate_slope([at for at, _ in known], [float(rss) for _, rss in known])
    console.print(
        f"RSS climbs by {slope / MIB:.2f} MiB a second ({rate:g} terms of 8,192 bytes are "
        f"{rate * 8192 / MIB:.2f}). Beside what else the machine does that is hard to see in free. "
        "And neither proves a leak: a program's need may simply grow."
    )
    return leak


def _observe_with_progress(console: Console, app: RunningApp, seconds: float) -> Observation:
    with console.status("attaching the tracer ...") as status:

        def show(snapshot: HeapSnapshot) -> None:
            status.update(
                f"tracing: {snapshot.elapsed_s:.1f} of {seconds:g} s, "
                f"{snapshot.live_blocks:,} blocks live, {snapshot.live_bytes / MIB:.2f} MiB"
            )

        return observe(app, seconds, on_snapshot=show)


def _compare_with_memleak(
    console: Console, runtime: Runtime, app: RunningApp, rate: float
) -> tuple[MemleakReport, SymbolCures] | None:
    _say(
        console,
        "4",
        "What bcc's memleak says",
        "memleak lists the blocks that were allocated and not freed since it was attached, by call "
        "stack. In the case study's day it could not see into the container and printed [unknown] "
        "until the program was copied out. Today's bcc reads the container's own files. What still "
        "makes it say [unknown] is a program without symbols, as releases are shipped. We ask it "
        "about ours, and about a stripped copy: as it is, with the unstripped program at hand, and "
        "with a debug file found by build-id.",
    )
    if os.getuid() not in (0, read_status()["owner_uid"]):
        console.print(
            "Left out: memleak runs with root's rights, and only root and the user who started the "
            "tracer service may have that. Our own tracer needs no such trust.",
            style="yellow",
        )
        return None
    with (
        console.status("running memleak four times, and ours on the stripped program ..."),
        start_app(runtime, LEAKY, rate, stripped=True, name="app-release") as stripped,
        ThreadPoolExecutor(1) as pool,
    ):
        stripped.release()  # memleak takes seconds to attach: it then misses the thread's start
        whole = pool.submit(run_memleak, app.pid, MEMLEAK_SECONDS)
        cures = read_symbol_cures(runtime, stripped, MEMLEAK_SECONDS)
        report = whole.result()
    _show_memleak(console, "the program as built", report)
    _show_memleak(console, "the same, stripped", cures.bare)
    how = "docker cp" if runtime.engine else "cp"
    _show_memleak(console, f"stripped, with the unstripped program by {how}", cures.copied_binary)
    _show_memleak(console, "stripped, with the debug file by build-id", cures.debug_file)
    if top := judge_trace(cures.ours).stacks:
        console.print(Text("lablib, stripped, with the debug file by build-id", "bold"))
        console.print(Text("\n".join("    " + str(frame) for frame in top[0].usage.frames)))
    return report, cures


def _show_memleak(console: Console, title: str, report: MemleakReport) -> None:
    console.print(Text(title, "bold"))
    _command(console, report.command)
    if not report.stacks:
        console.print("    it reported no outstanding allocations")
        return
    top = report.stacks[0]
    console.print(f"    {top.live_bytes:,} bytes in {top.live_blocks:,} allocations from stack")
    console.print(Text("\n".join(f"        {frame}" for frame in top.frames)), soft_wrap=True)


def _show_culprit(console: Console, app: RunningApp, leak: Observation) -> None:
    _say(
        console,
        "5",
        "The call stack, and the line",
        "Our tracer counts every allocation and every free, by call stack, and judges the trend.",
    )
    if not leak.verdict.stacks:
        console.print("Nothing was allocated while we traced.")
        return
    top = leak.verdict.stacks[0]
    console.print(render_stack(top.usage))
    console.print(Text(top.sentence, KIND_STYLES[top.kind]))
    if app.runtime == "docker":
        _command(console, "docker exec app cat /app.c")
    _show_source(console, app.read_source(), top.usage.frames)


def _show_source(console: Console, source: str, frames: tuple[Frame, ...]) -> None:
    for frame in [f for f in frames if f.line and f.file == f"{LEAKY}.c"][:2]:
        assert frame.line is not None
        console.print(Text(f"{frame.function}, line {frame.line}:", "bold"))
        console.print(
            Syntax(
                source,
                "c",
                line_numbers=True,
                line_range=(max(1, frame.line - 4), frame.line + 6),
                highlight_lines={frame.line},
                word_wrap=True,
                theme="ansi_dark",
                background_color="default",
            )
        )


def _prove_fix(console: Console, app: RunningApp, seconds: float) -> tuple[Observation, Comparison]:
    before = find_source(LEAKY).read_text().splitlines()
    after = app.read_source().splitlines()
    changes = [
        line
        for line in difflib.unified_diff(before, after, n=3, lineterm="")
        if not line.startswith(("---", "+++"))
    ]
    start = next((i for i, line in enumerate(changes) if "free(v)" in line), 0)
    console.print(Text("The fix: child() gives back what fibonacci() handed to it.", "bold"))
    console.print(
        Syntax("\n".join(changes[max(0, start - 3) : start + 4]), "diff", theme="ansi_dark")
    )
    console.print(
        "While it runs, both programs do the same work once more, as fast as they can, each traced "
        "from its first instruction to its own end:"
    )
    _command(console, f"./lab compare {LEAKY} {FIXED}")
    with ThreadPoolExecutor(1) as pool:
        comparing = pool.submit(compare_builds, make_build(LEAKY), make_build(FIXED), DEFAULT_TERMS)
        fixed = _observe_with_progress(console, app, seconds)
        fix = comparing.result()
    console.print(render_comparison(fix))
    return fixed, fix


def _conclude(console: Console, result: DemoResult) -> None:
    lines = [
        Text(f"before  {result.leak.verdict.sentence}", KIND_STYLES[result.leak.verdict.kind]),
        Text(f"after   {result.fixed.verdict.sentence}", KIND_STYLES[result.fixed.verdict.kind]),
        Text(""),
        Text("Saved: " + ", ".join(str(path.name) for path in result.artefacts)),
        Text(f"       in {result.artefacts[0].parent}"),
        Text("Still running for the next time: the tracer service"
             + (" and the lab's Docker engine" if result.runtime.engine
                and result.runtime.engine.is_own else "") + ". ./lab clean stops all of it."),
    ]  # fmt: skip
    body = Text("\n").join(lines)
    console.print()
    console.print(Panel(body, title="The evidence", title_align="left"))
