"""Run both builds under the tracer, with N terms and with 2N."""

from __future__ import annotations

import os
import resource
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from fcntl import F_SETPIPE_SZ, fcntl
from typing import BinaryIO

from lablib.comparison.builds import TERMS, Build
from lablib.comparison.verdict import Run, RunPair, judge_runs
from lablib.errors import AppError
from lablib.language import term
from lablib.preload.interposer import Interposer
from lablib.records import Comparison
from lablib.sources import Source, choose_source, open_tracer
from lablib.startup import HeldProgram
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer
from lablib.wording import make_printable

DEFAULT_TERMS = 200
TIME_LIMIT_S = 20.0
"""How long one run may take before it is ended."""

MEMORY_CAP_BYTES = 1 << 30
"""How much private writable memory a run may have."""

MAX_OUTPUT_BYTES = 64 << 20
"""How much a run may print before it is ended."""

_ENVIRONMENT = {**os.environ, "MALLOC_PERTURB_": "165"}
"""Has glibc overwrite what is freed: who reads it afterwards prints something else."""

_PIPE_BYTES = 4096
_LOOK_AGAIN = 1.5


def compare_builds(
    before: Build,
    after: Build,
    terms: int = DEFAULT_TERMS,
    time_limit_s: float = TIME_LIMIT_S,
    source: Source | None = None,
) -> Comparison:
    """Return whether `after` no longer leaks what `before` does; each runs twice.

    The `source` is by default what `choose_source` gives. Raises `AppError` where `before` itself
    doesn't do its work, and what `HeldProgram` and `Tracer` raise.
    """
    return judge_runs(*run_builds(before, after, terms, time_limit_s, source))


def run_builds(
    before: Build,
    after: Build,
    terms: int = DEFAULT_TERMS,
    time_limit_s: float = TIME_LIMIT_S,
    source: Source | None = None,
) -> tuple[RunPair, RunPair]:
    """Return the runs of both builds, for `judge_runs`; raises what `compare_builds` raises."""
    if before.name == after.name:
        before, after = (Build(build.words[0], build.words) for build in (before, after))
    stopping = threading.Event()
    limits = _Limits(time_limit_s, stopping, source or choose_source())
    with ThreadPoolExecutor(2, "comparison") as pool:
        waiting = [pool.submit(_run_twice, build, terms, limits) for build in (before, after)]
        try:
            first, second = (each.result() for each in waiting)
        finally:
            stopping.set()
    _check_first(first)
    return first, second


@dataclass(frozen=True)
class _Limits:
    seconds: float
    stopping: threading.Event
    source: Source


def _run_twice(build: Build, terms: int, limits: _Limits) -> RunPair:
    first = _run(build, terms, limits)
    is_over = first.exit_code != 0  # more terms would not end better
    return RunPair(build.name, terms, first, first if is_over else _run(build, 2 * terms, limits))


def _check_first(pair: RunPair) -> None:
    """Raise `AppError` where the build that all is measured by doesn't do its work."""
    failed = next((run for run in (pair.first, pair.second) if run.exit_code != 0), None)
    if failed is not None:
        raise AppError(
            term(
                "{name} can't be compared with: it {end}", name=pair.name, end=failed.describe_end()
            ),
            term(
                "give a command that ends by itself, with {terms} where its number of terms goes",
                terms=TERMS,
            ),
        )


def _run(build: Build, terms: int, limits: _Limits) -> Run:
    """Trace one run from its first instruction to its end, or to one of its limits."""
    command = build.make_command(terms)
    began_s = time.monotonic()
    with (
        _equip(limits.source) as instrument,
        tempfile.TemporaryFile() as errors,
        _open_pipe() as (reading, writing),
        open(os.devnull, "rb") as nothing,
        _hold(command, instrument, nothing, writing, errors) as program,
    ):
        writing.close()
        with (
            closing(ProcessSymbols(program.pid)) as symbols,
            open_tracer(program.pid, symbols, instrument=instrument) as tracer,
        ):
            program.release()
            deadline_s = time.monotonic() + limits.seconds
            output, is_over = _read_output(reading, tracer, deadline_s, limits.stopping)
            exit_code = _await_end(program, deadline_s) if is_over else None
            program.close()
            tracer.stop()
            trace = tracer.trace
        return Run(
            command, trace, output, exit_code, time.monotonic() - began_s, _read_last(errors)
        )


@contextmanager
def _equip(source: Source) -> Iterator[Interposer | None]:
    """Yield what a program is started with so that it counts by itself, if it is to."""
    instrument = source.make_instrument()
    with instrument or nullcontext():
        yield instrument


def _hold(
    command: tuple[str, ...], instrument: Interposer | None, *streams: BinaryIO
) -> HeldProgram:
    """Start a command within its limits: standard input, output and error are `streams`."""
    stdin, stdout, stderr = (stream.fileno() for stream in streams)
    environment = instrument.environment(_ENVIRONMENT) if instrument else _ENVIRONMENT
    program = HeldProgram(command, (stdin, stdout, stderr), environment)
    resource.prlimit(program.pid, resource.RLIMIT_DATA, (MEMORY_CAP_BYTES, MEMORY_CAP_BYTES))
    resource.prlimit(program.pid, resource.RLIMIT_CORE, (0, 0))
    return program


@contextmanager
def _open_pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Yield both ends of a pipe with little room: who writes to it must wait for its reader."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as reading, open(write_end, "wb") as writing:
        fcntl(read_end, F_SETPIPE_SZ, _PIPE_BYTES)
        yield reading, writing


def _read_output(
    reading: BinaryIO, tracer: Tracer, deadline_s: float, stopping: threading.Event
) -> tuple[bytes, bool]:
    """Return what a program prints, and whether that is all; look at its heap now and then.

    The pipe is small, so that a program that prints is held in the middle of its work while we
    look. What it frees at its very end only is seen to be live until then.
    """
    output = bytearray()
    look_at_bytes = 1.0
    while time.monotonic() < deadline_s and not stopping.is_set():
        if not select.select([reading], [], [], 0.05)[0]:
            continue
        chunk = reading.read(_PIPE_BYTES)
        if not chunk:
            return bytes(output), True
        output += chunk
        if len(output) > MAX_OUTPUT_BYTES:
            break
        if len(output) >= look_at_bytes:
            tracer.snapshot()
            look_at_bytes = _LOOK_AGAIN * len(output)
    return bytes(output), False


def _await_end(program: HeldProgram, deadline_s: float) -> int | None:
    try:
        return program.wait(max(0.01, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def _read_last(errors: BinaryIO) -> str:
    """Return the last line that a program has printed to its standard error."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - 1000))
    lines = errors.read().decode(errors="replace").split("\n")
    return make_printable(next((line.strip() for line in reversed(lines) if line.strip()), ""))
