"""The case study's program in a container, as a known workload: is its leak named?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.answers import DOES_NOT_APPLY, RIGHT, WRONG, Answer
from lablib import study
from lablib.apps import DEBUG_DIR, build_app
from lablib.engine import find_engine, stop_own_engine
from lablib.errors import DockerError
from lablib.records import HeapSnapshot, MemleakReport
from lablib.tracing.client import run_memleak

APP = "fib_leak"
SECONDS = 2
RATE = 100.0
_OUTSIDE = Answer(DOES_NOT_APPLY, "it is not in the container's image")


@contextmanager
def docker_runtime() -> Iterator[study.Runtime]:
    """Docker, its engine stopped again if it did not run before; raises `DockerError`."""
    try:
        find_engine(may_start=False)
        was_running = True
    except DockerError:
        was_running = False
    try:
        yield study.choose_runtime("docker")
    finally:
        if not was_running:
            stop_own_engine()


def describe_truth() -> str:
    """Return the truth about the program in words, from the truth that lies beside its source."""
    leak = build_app(APP).truth["leaks"][0]
    return (
        f"{leak['bytes_per_term']:,} bytes a block in {leak['function']}, "
        f"{leak['file']}:{leak['line']}"
    )


def ask_in_container(runtime: study.Runtime, is_stripped: bool) -> dict[str, Answer]:
    """Run the program in a container; return each tool's answer. Raises `LabError`."""
    with study.start_app(runtime, APP, RATE, stripped=is_stripped, name="lab-bench") as app:
        debug_dirs = (DEBUG_DIR,) if is_stripped else ()
        seen = study.observe(app, SECONDS, debug_dirs=debug_dirs)
        report = run_memleak(app.pid, SECONDS, debug_root=DEBUG_DIR if is_stripped else None)
    return {
        "lablib": _judge_snapshot(seen.trace.snapshots[-1], app.app.truth["leaks"][0]),
        "memleak": _judge_memleak(report, app.app.truth["leaks"][0], is_stripped),
        "memcheck": _OUTSIDE,
        "heaptrack": _OUTSIDE,
    }


def _judge_snapshot(last: HeapSnapshot, leak: dict[str, object]) -> Answer:
    if not last.stacks or last.events.missed:
        return Answer(WRONG, "no stack, or an incomplete one")
    usage = last.stacks[0]
    frame = usage.frames[0]
    is_named = (frame.function, frame.file, frame.line) == tuple(
        leak[key] for key in ("function", "file", "line")
    )
    is_exact = usage.live_bytes == usage.live_blocks * int(str(leak["bytes_per_term"])) > 0
    text = f"{usage.live_bytes:,} bytes in {usage.live_blocks:,}, {frame}"
    return Answer(RIGHT if is_named and is_exact else WRONG, text)


def _judge_memleak(report: MemleakReport, leak: dict[str, object], is_stripped: bool) -> Answer:
    if not report.stacks:
        return Answer(WRONG, "no stack")
    stack = report.stacks[0]
    is_named = any(text.split("+")[0] == leak["function"] for text in stack.frames)
    is_exact = stack.live_bytes == stack.live_blocks * int(str(leak["bytes_per_term"]))
    text = f"{stack.live_bytes:,} bytes in {stack.live_blocks:,}, {(*stack.frames, 'no frame')[0]}"
    given = "BCC_DEBUGINFO_ROOT" if is_stripped else ""
    return Answer(RIGHT if is_named and is_exact else WRONG, text, given)
