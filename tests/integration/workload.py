"""Build a small C program, hold it at its start, trace it to its end: the known workloads."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lablib.records import HeapSnapshot
from lablib.release import wait_until_held
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer

PROGRAMS = Path(__file__).parent / "programs"
LEAKY_APPS = Path(__file__).parents[2] / "leaky_apps"


def build_workload(name: str, folder: Path, *flags: str) -> Path:
    """Compile programs/NAME.c and return the program."""
    program = folder / name
    options = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-builtin", "-pthread", *flags]
    command = ["gcc", *options, f"-I{LEAKY_APPS}", "-o", program, PROGRAMS / f"{name}.c"]
    subprocess.run(command, check=True)
    return program


@contextmanager
def release_traced(program: Path) -> Iterator[tuple[subprocess.Popen[bytes], Tracer]]:
    """Start a program that waits for release, attach, let it go; it is killed at the end."""
    process = subprocess.Popen([program, "--wait"], stdout=subprocess.DEVNULL)
    try:
        wait_until_held(process.pid)
        with (
            closing(ProcessSymbols(process.pid)) as symbols,
            Tracer(process.pid, symbols) as tracer,
        ):
            process.send_signal(signal.SIGUSR1)
            yield process, tracer
    finally:
        process.kill()
        process.wait()


def trace_to_the_end(program: Path) -> HeapSnapshot:
    """Run a program that waits for release, and return its heap after it has ended."""
    with release_traced(program) as (process, tracer):
        for _ in tracer.sample(60, interval_s=0.2):
            pass
        assert process.wait(60) == 0
        return tracer.trace.snapshots[-1]


def from_function(snapshot: HeapSnapshot, name: str) -> tuple[int, int]:
    """Live (bytes, blocks) whose call stack has the function in it."""
    usages = [s for s in snapshot.stacks if any(frame.function == name for frame in s.frames)]
    return sum(u.live_bytes for u in usages), sum(u.live_blocks for u in usages)
