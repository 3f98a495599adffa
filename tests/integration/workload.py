"""Build a known workload, hold it at its start, trace it to its end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cases import PROGRAMS as PROGRAMS
from cases import Case
from checks import Outcome

from lablib.preload.interposer import Interposer
from lablib.records import HeapSnapshot, TraceOptions
from lablib.release import wait_until_held
from lablib.sources import Source, open_tracer
from lablib.startup import HeldProgram
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer

LEAKY_APPS = Path(__file__).parents[2] / "leaky_apps"
OPTIONS = ("-O1", "-g", "-fno-omit-frame-pointer", "-fno-builtin", "-pthread", "-Wl,--build-id")
TIMEOUT_S = 120
COUNT_ALL = TraceOptions()
EBPF, PRELOAD = Source("ebpf"), Source("preload")


@dataclass(frozen=True)
class Workload:
    """A program that is built: where it lies, its debug files, and what to start it with."""

    program: Path
    debug_dirs: tuple[Path, ...] = ()
    preload: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment to start it in."""
        return {**os.environ, **({"LD_PRELOAD": str(self.preload)} if self.preload else {})}


def build_workload(name: str, folder: Path, *flags: str) -> Path:
    """Compile programs/NAME.c and return the program."""
    return build_case(Case(name, name, name, flags=flags), folder).program


def build_case(case: Case, folder: Path) -> Workload:
    """Compile a case's program, its debug file put where the case says."""
    program = folder / case.program
    flags = (*OPTIONS, *case.allocator.flags, *case.flags)
    objects = [_compile(source, case.allocator.compiler, flags, folder) for source in case.sources]
    has_cxx = any(source.suffix == ".cpp" for source in case.sources)
    linker = "g++" if has_cxx else case.allocator.compiler
    subprocess.run([linker, *flags, "-o", program, *objects], check=True)
    debug_dirs = _strip(program, case.debug_file, folder) if case.debug_file else ()
    preload = case.allocator.find() if case.allocator.is_preloaded else None
    return Workload(program, debug_dirs, preload)


def _compile(source: Path, compiler: str, flags: Sequence[str], folder: Path) -> Path:
    made = folder / f"{source.name}.o"
    compiler = "g++" if source.suffix == ".cpp" else compiler
    subprocess.run([compiler, *flags, f"-I{LEAKY_APPS}", "-c", "-o", made, source], check=True)
    return made


def _strip(program: Path, debug_file: str, folder: Path) -> tuple[Path, ...]:
    """Take the symbols out of a program; return the folders to look for its debug file in."""
    kept = program.with_suffix(".debug")
    subprocess.run(["objcopy", "--only-keep-debug", program, kept], check=True)
    subprocess.run(["strip", program], check=True)
    if debug_file == "beside":
        subprocess.run(["objcopy", f"--add-gnu-debuglink={kept}", program], check=True)
        return ()
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True)
    build_id = notes.stdout.partition("Build ID: ")[2].split()[0]
    target = folder / "debug" / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    target.parent.mkdir(parents=True)
    kept.rename(target)
    return (folder / "debug",)


@contextmanager
def release_traced(
    program: Path | Workload, options: TraceOptions = COUNT_ALL, source: Source = EBPF
) -> Iterator[tuple[subprocess.Popen[bytes], Tracer]]:
    """Start a program that waits for release, attach, let it go; it is killed at the end."""
    workload = Workload(program) if isinstance(program, Path) else program
    with _equip(source, options, workload) as (instrument, environment):
        process = subprocess.Popen(
            [workload.program, "--wait"], stdout=subprocess.DEVNULL, env=environment
        )
        try:
            wait_until_held(process.pid)
            with (
                closing(ProcessSymbols(process.pid, workload.debug_dirs)) as symbols,
                open_tracer(process.pid, symbols, options, instrument) as tracer,
            ):
                process.send_signal(signal.SIGUSR1)
                yield process, tracer
        finally:
            process.kill()
            process.wait()


def trace_to_the_end(
    program: Path | Workload, options: TraceOptions = COUNT_ALL, source: Source = EBPF
) -> HeapSnapshot:
    """Run a program that waits for release, and return its heap after it has ended."""
    with release_traced(program, options, source) as (process, tracer):
        _sample_to_the_end(tracer)
        assert process.wait(TIMEOUT_S) == 0
        return tracer.trace.snapshots[-1]


def run_case(case: Case, workload: Workload, source: Source = EBPF) -> Outcome:
    """Trace a case's program, which has been built, to its end."""
    options = TraceOptions(sample_bytes=case.sample_bytes, follows_forks=case.follows_forks)
    if case.is_launched:
        return _run_launched(workload, options, source)
    with release_traced(workload, options, source) as (process, tracer):
        _sample_to_the_end(tracer)
        return Outcome(tracer.traces, process.wait(TIMEOUT_S))


def _run_launched(workload: Workload, options: TraceOptions, source: Source) -> Outcome:
    with (
        _equip(source, options, workload) as (instrument, environment),
        HeldProgram([str(workload.program)], environment=environment) as held,
        closing(ProcessSymbols(held.pid, workload.debug_dirs)) as symbols,
        open_tracer(held.pid, symbols, options, instrument) as tracer,
    ):
        held.release()
        _sample_to_the_end(tracer)
        return Outcome(tracer.traces, held.wait(TIMEOUT_S))


@contextmanager
def _equip(
    source: Source, options: TraceOptions, workload: Workload
) -> Iterator[tuple[Interposer | None, dict[str, str]]]:
    """Yield what a program is started with, and its environment."""
    instrument = source.make_instrument(options)
    if instrument is None:
        yield None, workload.environment
        return
    with instrument:
        yield instrument, instrument.environment(workload.environment)


def _sample_to_the_end(tracer: Tracer) -> None:
    for _ in tracer.sample(TIMEOUT_S, interval_s=0.2):
        pass
