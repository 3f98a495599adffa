"""What this machine can do: each capability tried, with its reason and what mends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lablib.apps import APPS_DIR, LocalApp, build_app
from lablib.engine import Engine, find_engine, stop_own_engine
from lablib.errors import LabError
from lablib.grading.sandbox import require_sandbox
from lablib.language import term
from lablib.records import Capability
from lablib.sources import EBPF, PRELOAD, Source, open_tracer
from lablib.steering import SteeredApp
from lablib.study import Runtime, start_app
from lablib.symbols import ProcessSymbols
from lablib.system import sample_vmstat
from lablib.tracing import client
from lablib.tracing.client import run_memleak
from lablib.tracing.control import start_service
from lablib.tracing.groups import SWAP_SOURCES, CappedGroup
from lablib.tracing.memory import MemoryTracer
from lablib.tracing.pressure import PressureTracer

CONTROL = "alloc_free"
CONTROL_TERMS = 1000
CONTROL_PAGES = 1000
CAP_BYTES, SWAP_BYTES = 32 << 20, 16 << 20
EATER_MIB_PER_S = 200
AWAIT_TIMEOUT_S = 20.0

Trial = Callable[[], str]
"""Tries a capability; returns what was seen, or raises `LabError` with the fix."""

PURPOSES = {
    "compiler": term("building the small C and C++ programs that we look at"),
    "vmstat": term("watching the memory of the whole machine"),
    "jupyterlab": term("the notebooks"),
    "tracer service": term("attaching to programs; it is the one part that runs as root"),
    "ebpf": term("counting a program's calls of malloc and free"),
    "preload": term(
        "counting them from inside a program that the lab starts, without any privilege"
    ),
    "page faults": term("counting the pages that a program touches for the first time"),
    "memleak": term("comparing with the tool of the original study"),
    "docker": term("running the case study's program in a container"),
    "sandbox": term("judging what is handed in for a lab, without harm"),
    "cgroup": term("giving a program a limit, and seeing what it is charged"),
    "swap": term("experiments about a machine that runs out of memory"),
}
"""What each capability is for, by its name, in the order in which they are tried."""


def examine(
    on_try: Callable[[str], None] = lambda name: None,
    on_found: Callable[[Capability], None] = lambda capability: None,
) -> list[Capability]:
    """Return a record per capability, each found by trying it.

    What had to be started for a trial is stopped again. `on_try` is called before each with its
    name, `on_found` after it.
    """
    with ExitStack() as after:
        trials: dict[str, Trial] = {
            "compiler": try_compiler,
            "vmstat": try_vmstat,
            "jupyterlab": try_jupyterlab,
            "tracer service": lambda: try_service(after),
            "ebpf": try_ebpf,
            "preload": try_preload,
            "page faults": try_page_faults,
            "memleak": try_memleak,
            "docker": lambda: try_docker(after),
            "sandbox": try_sandbox,
            "cgroup": try_cgroup,
            "swap": try_swap,
        }
        found = []
        for name in PURPOSES:
            on_try(name)
            found.append(attempt(name, trials[name]))
            on_found(found[-1])
        return found


def attempt(name: str, trial: Trial) -> Capability:
    """Return what one trial found."""
    try:
        return Capability(name, True, trial())
    except LabError as error:
        return Capability(name, False, error.message, error.fix)
    except (OSError, subprocess.SubprocessError) as error:
        return Capability(name, False, str(error), term("see the message"))


def render_capabilities(capabilities: list[Capability]) -> RenderableType:
    """Return a table with a row per capability."""
    table = Table(box=None, pad_edge=False)
    for heading in ("capability", "works", "what was tried", "to mend it"):
        table.add_column(heading, overflow="fold")
    for capability in capabilities:
        answer = Text("yes", "green") if capability.works else Text("NO", "bold red")
        table.add_row(capability.name, answer, capability.reason, Text(capability.fix))
    return table


def try_compiler() -> str:
    """Compile the control program from scratch, and a line of C++."""
    control = build_app(CONTROL).source.read_text()
    for compiler, language, text in (("gcc", "c", control), ("g++", "c++", "#include <vector>")):
        if shutil.which(compiler) is None:
            raise LabError(
                term("there is no {compiler}", compiler=compiler),
                term("run: sudo apt-get install {compiler}", compiler=compiler),
            )
        made = subprocess.run(
            [compiler, f"-I{APPS_DIR}", "-x", language, "-c", "-o", os.devnull, "-"],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        if made.returncode != 0:
            raise LabError(
                term("{compiler} did not compile a program", compiler=compiler),
                term("run: sudo apt-get install {compiler} libc6-dev", compiler=compiler),
            )
    return term("compiled a program, in C and in C++")


def try_vmstat() -> str:
    """Read one line of vmstat."""
    with closing(sample_vmstat()) as samples:
        sample = next(samples)
    return term("read one line: {free:,} MiB free", free=sample.free_bytes >> 20)


def try_jupyterlab() -> str:
    """Ask JupyterLab for its version."""
    asked = subprocess.run(
        [sys.executable, "-m", "jupyterlab", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        raise LabError(term("JupyterLab does not start"), term("run: rm -r .venv && ./lab doctor"))
    return term("started it: version {version}", version=asked.stdout.strip())


def try_service(after: ExitStack) -> str:
    """Reach the tracer service; one that is started for this is stopped at the end."""
    try:
        status = client.read_status()
    except LabError:
        status = start_service()
        after.callback(client.stop_service)
        return term("started it on Linux {kernel}, and stopped it again", kernel=status["kernel"])
    client.connect().close()
    return term("it runs, as process {pid}", pid=status["pid"])


def try_ebpf() -> str:
    """Attach to the control program and count its calls: each of them must be seen."""
    return _count_control(Source(EBPF))


def try_preload() -> str:
    """Have the control program count its own calls: each of them must be there."""
    return _count_control(Source(PRELOAD))


def _count_control(source: Source) -> str:
    instrument = source.make_instrument()
    with (
        LocalApp(build_app(CONTROL), 0, CONTROL_TERMS, instrument=instrument) as app,
        closing(ProcessSymbols(app.pid)) as symbols,
        open_tracer(app.pid, symbols, instrument=instrument) as tracer,
    ):
        app.release()
        app.wait(30)
        events = tracer.stop().events
    if (events.allocations, events.frees) != (CONTROL_TERMS, CONTROL_TERMS) or events.missed:
        raise LabError(
            term(
                "of {wanted} allocations and as many frees there were seen {allocations} and "
                "{frees}",
                wanted=CONTROL_TERMS,
                allocations=events.allocations,
                frees=events.frees,
            ),
            term("please report this with your kernel's version (uname -r)"),
        )
    how = term("attached" if instrument is None else "started it with the interposer")
    return term(
        "{how}, and counted {count} of {total} allocations",
        how=how,
        count=events.allocations,
        total=CONTROL_TERMS,
    )


def try_page_faults() -> str:
    """Have a program touch pages for the first time: each must be one fault, at its place."""
    with (
        SteeredApp(build_app("pages")) as app,
        closing(ProcessSymbols(app.pid)) as symbols,
        MemoryTracer(app.pid, symbols) as tracer,
    ):
        block = app.ask("reserve", CONTROL_PAGES * os.sysconf("SC_PAGE_SIZE"))
        app.ask("touch", 100)
        trace = tracer.stop()
    counted = trace.faults_in(block["address"], block["address"] + block["bytes"])
    if counted != block["pages"] or not trace.is_complete:
        raise LabError(
            term(
                "of {touched} pages that were touched the tracer saw {counted}",
                touched=block["pages"],
                counted=counted,
            ),
            term("please report this with your kernel's version (uname -r)"),
        )
    return term(
        "attached, and counted {count} of {total} page faults", count=counted, total=block["pages"]
    )


def try_memleak() -> str:
    """Run bcc's memleak on the control program."""
    with LocalApp(build_app(CONTROL), rate=100) as app:
        app.release()
        report = run_memleak(app.pid, seconds=1)
    if "Attaching to pid" not in report.output or "Traceback" in report.output:
        raise LabError(
            term("bcc's memleak did not attach"),
            term("run: sudo apt-get install --reinstall bpfcc-tools"),
        )
    return term("attached to a program")


def try_docker(after: ExitStack) -> str:
    """Build an image, start a container and read a file in it; a started engine is stopped."""
    engine = _find_engine(after)
    with start_app(Runtime(engine), CONTROL, name="lab-doctor") as app:
        is_whole = app.read_source() == build_app(CONTROL).source.read_text()
    if not is_whole:
        raise LabError(
            term("a container's files are not what was put in"), term("run: ./lab clean")
        )
    which = term("the lab's own engine") if engine.is_own else engine.host
    return term("built an image and ran it, with {engine}", engine=which)


def _find_engine(after: ExitStack) -> Engine:
    try:
        return find_engine(may_start=False)
    except LabError:
        engine = find_engine()
        after.callback(stop_own_engine)
        return engine


def try_sandbox() -> str:
    """Run a program in the sandbox that the labs are judged in."""
    require_sandbox()
    return term("ran a program in it, without network and without anybody's files")


def try_cgroup() -> str:
    """Cap a program and have it take more: it must be killed, and the kernel tell its number."""
    with (
        CappedGroup(CAP_BYTES) as group,
        SteeredApp(build_app("eater")) as app,
        PressureTracer(group) as tracer,
    ):
        group.take(app.pid)
        app.ask("grow", EATER_MIB_PER_S)
        if not _await(lambda: not app.is_running):
            raise LabError(
                term(
                    "a program outgrew its cap of {mib} MiB and was not killed", mib=CAP_BYTES >> 20
                )
            )
        memory, trace = group.read(), tracer.stop()
    victims = [kill.pid for kill in trace.oom_kills]
    if memory.oom_kills != 1 or (victims != [app.pid] and "oom_kills" not in trace.unavailable):
        raise LabError(
            term(
                "process {pid} outgrew its cap; the kernel counted {kills} OOM kills, and told of "
                "{victims}",
                pid=app.pid,
                kills=memory.oom_kills,
                victims=victims,
            ),
            term("please report this with your kernel's version (uname -r)"),
        )
    return term(
        "v{version}: capped a program at {cap} MiB, and saw it OOM-killed",
        version=memory.version,
        cap=CAP_BYTES >> 20,
    )


def try_swap() -> str:
    """Give a capped program a little swap: what is over its cap must go there."""
    with (
        CappedGroup(CAP_BYTES, swap_bytes=SWAP_BYTES) as group,
        SteeredApp(build_app("eater")) as app,
    ):
        group.take(app.pid)
        app.ask("grow", EATER_MIB_PER_S)
        if not _await(lambda: (group.read().swap_bytes or 0) >= SWAP_BYTES // 4):
            raise LabError(
                term(
                    "a program outgrew its cap, and nothing went to {swap}", swap=group.swap_source
                )
            )
    return term(
        "a capped program's pages went to {size} MiB of swap, {where}; removed it",
        size=SWAP_BYTES >> 20,
        where=SWAP_SOURCES[group.swap_source],
    )


def _await(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + AWAIT_TIMEOUT_S
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return condition()
