"""The case study's experiment: one app, traced while vmstat watches the machine beside it.

The notebook and `./lab demo` both tell their story with these; neither has its own way.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lablib.analysis import judge_trace
from lablib.apps import DEBUG_DIR, LocalApp, build_app
from lablib.containers import ContainerApp, build_image, copy_from_image
from lablib.engine import Engine, find_engine
from lablib.errors import DockerError, LabError
from lablib.language import say, term
from lablib.records import (
    AppFiles,
    ContainerEnd,
    HeapSnapshot,
    HeapTrace,
    MemleakReport,
    ProcessVerdict,
    SymbolCures,
    VmstatSample,
)
from lablib.scanning import sample_and_scan
from lablib.scratch import make_scratch_folder
from lablib.sources import PRELOAD, choose_source, open_tracer
from lablib.symbols import ProcessSymbols
from lablib.system import sample_vmstat
from lablib.tracing.client import Tracer, run_memleak
from lablib.tracing.control import start_service

OUTGROW_TIMEOUT_S = 30.0

RunningApp = LocalApp | ContainerApp


@dataclass(frozen=True)
class Runtime:
    """Where the study's programs run: in `engine`'s containers, or locally for a `reason`."""

    engine: Engine | None
    reason: str = ""

    @property
    def name(self) -> str:
        """Return "docker" or "local"."""
        return "docker" if self.engine else "local"


@dataclass(frozen=True)
class Observation:
    """What was seen of one run: its heap, the machine beside it, and what that means."""

    trace: HeapTrace
    verdict: ProcessVerdict
    vmstat: tuple[VmstatSample, ...]


def choose_runtime(wanted: str | None = None) -> Runtime:
    """Return where to run: Docker if it can be had, else locally, saying why.

    `wanted` is "docker", "local" or None for the best; raises `DockerError` only for "docker".
    Without eBPF locally is best: what runs in a container can't count by itself.
    """
    if wanted == "local":
        return Runtime(None, say("asked for"))
    try:
        engine = find_engine()
    except DockerError as error:
        if wanted == "docker":
            raise
        return Runtime(None, error.sentence)
    source = choose_source()
    if wanted is None and source.name == PRELOAD:
        why = say("there is no eBPF to look into a container: {reason}", reason=source.reason)
        return Runtime(None, why)
    return Runtime(engine)


@contextmanager
def start_app(
    runtime: Runtime,
    app_name: str,
    rate: float = 1.0,
    stripped: bool = False,
    name: str = "app",
) -> Iterator[RunningApp]:
    """Build an app and start it, held before its first term; it ends with the `with` block.

    In Docker the container is called `name`. Raises `LabError`.
    """
    app = build_app(app_name, stripped=stripped)
    with start_built(runtime, app, rate, name, "stripped" if stripped else "latest") as running:
        yield running


@contextmanager
def start_built(
    runtime: Runtime, app: AppFiles, rate: float = 1.0, name: str = "app", tag: str = "latest"
) -> Iterator[RunningApp]:
    """Start an app that is built already, as `start_app` does; its image gets the `tag`."""
    if runtime.engine is None:
        instrument = choose_source().make_instrument()
        with LocalApp(app, rate, instrument=instrument) as local:
            yield local
        return
    image = build_image(runtime.engine, app, f"{app.name}:{tag}")
    with ContainerApp(runtime.engine, app, image, rate, name) as container:
        yield container


def outgrow_container(app_name: str, rate: float, memory_mib: int, name: str) -> ContainerEnd:
    """Run an app in a container with `docker run -m`, until it has outgrown that; return its end.

    Raises `DockerError` where there is no Docker, or it has not ended in time.
    """
    engine, app = find_engine(), build_app(app_name)
    image = build_image(engine, app, f"{app_name}:latest")
    with ContainerApp(engine, app, image, rate, name, memory_mib << 20) as container:
        container.release()
        return container.wait(OUTGROW_TIMEOUT_S)


def copy_unstripped(runtime: Runtime, stripped: RunningApp, folder: Path) -> Path:
    """Put the unstripped program into `folder`, at the path that the stripped process has it at.

    In Docker it comes out of the development image, as `docker cp` does it. Returns the folder.
    """
    name = stripped.app.name
    unstripped = build_app(name)
    if runtime.engine is not None:
        image = build_image(runtime.engine, unstripped, f"{name}:latest")
        copy_from_image(runtime.engine, image, "/app", folder)
    else:
        target = folder / str(stripped.app.executable).lstrip("/")
        target.parent.mkdir(parents=True)
        shutil.copy(unstripped.executable, target)
    return folder


def ask_memleak(app: RunningApp, seconds: int = 2) -> MemleakReport:
    """Return what bcc's memleak says of an app after `seconds`; starts the tracer service."""
    start_service()
    return run_memleak(app.pid, seconds)


def read_symbol_cures(runtime: Runtime, stripped: RunningApp, seconds: int = 2) -> SymbolCures:
    """Return what is seen of a stripped app without symbols, and with them from two places.

    All look at the same process at the same time, for `seconds`. memleak is given the unstripped
    program (out of its image, in Docker), and the debug file by build-id, which ours gets too.
    """
    start_service()
    with (
        make_scratch_folder("symbols") as folder,
        ThreadPoolExecutor(4) as pool,
    ):
        symfs = copy_unstripped(runtime, stripped, folder)
        ours = pool.submit(_trace_stripped, stripped.pid, seconds)
        bare = pool.submit(run_memleak, stripped.pid, seconds)
        copied = pool.submit(run_memleak, stripped.pid, seconds, symfs=symfs)
        by_id = pool.submit(run_memleak, stripped.pid, seconds, debug_root=DEBUG_DIR)
        return SymbolCures(bare.result(), copied.result(), by_id.result(), ours.result())


def _trace_stripped(pid: int, seconds: float) -> HeapTrace:
    with closing(ProcessSymbols(pid, (DEBUG_DIR,))) as symbols, Tracer(pid, symbols) as tracer:
        for _ in tracer.sample(seconds, 0.3):
            pass
        return tracer.trace


def observe(
    app: RunningApp,
    seconds: float,
    interval_s: float = 0.5,
    debug_dirs: tuple[Path, ...] = (),
    on_snapshot: Callable[[HeapSnapshot], None] = lambda snapshot: None,
) -> Observation:
    """Release an app and watch it for `seconds`: its heap by the tracer, the machine by vmstat.

    What still points at its blocks is looked at on the way (see `sample_and_scan`).

    `on_snapshot` is called every `interval_s`. The app runs on afterwards. Raises `LabError`.
    """
    with (
        closing(ProcessSymbols(app.pid, debug_dirs)) as symbols,
        open_tracer(app.pid, symbols, instrument=app.instrument) as tracer,
    ):
        tracer.snapshot()  # the first one costs memory; vmstat shall not see that as the app's
        with _VmstatThread(app.pid) as vmstat:
            app.release()
            for snapshot in sample_and_scan(tracer, seconds, interval_s):
                on_snapshot(snapshot)
        samples = tuple(sample for sample in vmstat.samples if sample.elapsed_s < seconds)
        return Observation(tracer.trace, judge_trace(tracer.trace), samples)


@dataclass
class _VmstatThread:
    """vmstat sampled beside the main thread, between enter and exit."""

    pid: int
    samples: list[VmstatSample] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _error: LabError | None = None

    def __enter__(self) -> _VmstatThread:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with closing(sample_vmstat(1, self.pid, self._stop.is_set)) as lines:
                self.samples.extend(lines)
        except LabError as error:
            self._error = error
        except subprocess.CalledProcessError as error:
            self._error = LabError(term("vmstat failed: {error}", error=error))
