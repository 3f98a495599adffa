"""Run notebooks for the site, on recordings; what was run before and hasn't changed is kept."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from lablib.errors import LabError

TIMEOUT_S = 600
"""How long a cell may take, on a machine that is busy with something else."""

RAN = "lab_site"
"""The metadata of a notebook that was run here: its date, its kernel, and what it was run from."""

ALONE = ("07_vmstat_and_its_friends",)
"""The notebooks that measure the whole machine: no other one runs beside them."""

USE_DOCKER = ("00_start_here", "11_incident_room")
"""The notebooks that start containers also when they replay recordings: one of them at a time."""

MOST_AT_ONCE = 4
_Task = tuple[asyncio.AbstractEventLoop, "asyncio.Task[None]"]


@dataclass(frozen=True)
class Job:
    """A notebook to be run in a language; `kept` is the file for it with its outputs."""

    path: Path
    kept: Path
    language: str


def run_for_site(path: Path, kept: Path, checkout: Path, language: str) -> NotebookNode:
    """Return a notebook with outputs, its metadata `RAN` saying when and where they were made.

    It is taken from the file `kept` if nothing that it comes from has changed since, and else run
    (`run_notebooks`) and written there. Raises `LabError` where a cell fails.
    """
    run_notebooks([Job(path, kept, language)], checkout)
    notebook: NotebookNode = nbformat.read(kept, as_version=4)
    return notebook


def run_notebooks(
    jobs: Sequence[Job], checkout: Path, tell: Callable[[Job, int], None] = lambda _, __: None
) -> None:
    """Run notebooks, one on each processor, unless that was done and nothing has changed since.

    Experiments are replayed from their recordings (LAB_SOURCE=recorded), and say so; what needs
    none is run on this machine. Each is written when it has run: whoever breaks off with Ctrl-C
    goes on there the next time. `tell` is told of each when it has run, and how many are left.
    Raises `LabError` for the first that fails; the others are ended then.
    """
    inputs = {language: _list_inputs(checkout, language) for language in {j.language for j in jobs}}
    marks = {job: _take_fingerprint([job.path, *inputs[job.language]]) for job in jobs}
    undone = [job for job in jobs if _read_fingerprint(job.kept) != marks[job]]
    left = len(undone)

    async def run(unit: Sequence[Job], room: asyncio.Semaphore) -> None:
        nonlocal left
        async with room:
            for job in unit:
                notebook = await _run_notebook(job, checkout)
                notebook.metadata[RAN]["fingerprint"] = marks[job]
                _write(notebook, job.kept)
                left -= 1
                tell(job, left)

    async def run_all() -> None:
        beside = asyncio.Semaphore(min(MOST_AT_ONCE, len(os.sched_getaffinity(0))))
        alone, in_turn, others = _split(undone)
        await _gather([run(unit, beside) for unit in (in_turn, *([job] for job in others))])
        await _gather([run(alone, beside)])

    if undone:
        _run_apart(run_all)


def _split(jobs: Sequence[Job]) -> tuple[list[Job], list[Job], list[Job]]:
    """Return the notebooks of `ALONE`, those of `USE_DOCKER`, and the others."""
    alone = [job for job in jobs if job.path.stem in ALONE]
    in_turn = [job for job in jobs if job.path.stem in USE_DOCKER]
    return alone, in_turn, [job for job in jobs if job not in alone + in_turn]


async def _gather(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all of it; end it, kernels and all, where a part fails or this task is ended."""
    tasks = [asyncio.create_task(part) for part in work]
    done: set[asyncio.Task[None]] = set()
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _run_apart(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine in another thread; a signal that is raised here ends it first.

    In the main thread nbclient would handle signals, and knows of one notebook only.
    """
    started: Future[_Task] = Future()

    async def run() -> None:
        task = asyncio.create_task(work())
        started.set_result((asyncio.get_running_loop(), task))
        await task

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, run())
        try:
            running.result()
        finally:
            if not running.done():  # a signal has come
                loop, task = started.result()
                loop.call_soon_threadsafe(task.cancel)


async def _run_notebook(job: Job, checkout: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(job.path, as_version=4)
    environment = {
        **os.environ,
        "LAB_SOURCE": "recorded",
        "LAB_LANG": job.language,
        "LAB_INCIDENTS": str(job.kept.parent / "incidents"),  # a learner's own is left alone
    }
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        resources={"metadata": {"path": str(checkout / "notebooks")}},
    )
    job.kept.parent.mkdir(parents=True, exist_ok=True)
    log = job.kept.with_suffix(".log")
    try:
        with log.open("w") as kernels:
            await client.async_execute(env=environment, stderr=kernels)
    except CellExecutionError as error:
        raise _make_refusal(job, f"{error.ename}: {error.evalue}") from None
    except CellTimeoutError:
        raise _make_refusal(job, f"a cell took longer than {TIMEOUT_S} s") from None
    except DeadKernelError:
        raise _make_refusal(job, f"its kernel died, see {log}") from None
    notebook.metadata[RAN] = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "kernel": os.uname().release,
    }
    return notebook


def _make_refusal(job: Job, reason: str) -> LabError:
    return LabError(
        f"{job.path.name} ({job.language}) could not be run: {reason}",
        "see it in ./lab, or build with --no-run",
    )


def _write(notebook: NotebookNode, kept: Path) -> None:
    draft = kept.with_suffix(".draft")
    nbformat.write(notebook, draft)
    draft.replace(kept)


def _list_inputs(checkout: Path, language: str) -> list[Path]:
    """Return what an output may depend on: the library but this package, programs, recordings."""
    patterns = ("lablib/**/*.*", "leaky_apps/**/*.*", "notebooks/recordings/*.gz")
    found = {path for pattern in patterns for path in checkout.glob(pattern) if path.is_file()}
    left_out = {"build", "__pycache__", "site"} | ({"translations"} if language == "en" else set())
    return sorted(path for path in found if not left_out & set(path.relative_to(checkout).parts))


def _take_fingerprint(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _read_fingerprint(kept: Path) -> str | None:
    """Return what a kept notebook was run from; None where there is none."""
    if not kept.exists():
        return None
    told: str = nbformat.read(kept, as_version=4).metadata[RAN]["fingerprint"]
    return told
