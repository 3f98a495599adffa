"""Experiments that a notebook runs live where the machine can, and shows a recording of elsewhere.

    answer, trace = trace_during("02_first_touch", app.pid, lambda: app.ask("touch", 25))

LAB_SOURCE=recorded in the environment asks for the recording. LAB_SAVE_RECORDINGS=1 saves what was
run, for others to replay.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from lablib.errors import DockerError, PrivilegeError, RecordingError, ToolMissingError, TracerError
from lablib.language import say, term
from lablib.recording import load_recording, mark_as_recorded, save_recording
from lablib.records import MemoryTrace
from lablib.symbols import ProcessSymbols
from lablib.tracing.control import start_service
from lablib.tracing.memory import MemoryTracer

CHECKOUT = Path(__file__).resolve().parents[2]
RECORDINGS_DIR = CHECKOUT / "notebooks" / "recordings"

COUNTED_FROM_INSIDE = term(
    "LIVE, counted from inside the program (preload): eBPF can't be had here, or wasn't asked for."
)
"""What is said where a heap is traced without eBPF."""

Result = TypeVar("Result")


def run_or_replay(name: str, run: Callable[[], Result], folder: Path = RECORDINGS_DIR) -> Result:
    """Return what `run` returns, or what it returned where `folder`/`name`.json.gz was made.

    The recording is taken where the tracer or Docker can't be had (`TracerError`, `DockerError`,
    `ToolMissingError`, `PrivilegeError`), and where LAB_SOURCE is "recorded". One printed sentence
    says so, and so does the `source` of each trace in it. Any other error of `run` is raised, and
    so is this one where there is no recording. `run` returns a record, or a list, tuple or dict of
    records and numbers.
    """
    result, is_live = try_or_replay(name, run, folder)
    if is_live:
        keep_recording(name, result, folder)
    return result


def try_or_replay(
    name: str, run: Callable[[], Result], folder: Path = RECORDINGS_DIR
) -> tuple[Result, bool]:
    """Return what `run_or_replay` does, and whether it is live; nothing is saved."""
    path = folder / f"{name}.json.gz"
    if os.environ.get("LAB_SOURCE") == "recorded":
        if not path.exists():
            raise RecordingError(
                term("there is no recording of {name}", name=name),
                term("unset LAB_SOURCE to run it"),
            )
        return cast(Result, _replay(path, say("LAB_SOURCE asks for it"))), False
    try:
        return run(), True
    except (TracerError, DockerError, ToolMissingError, PrivilegeError) as error:
        if not path.exists():
            raise
        return cast(Result, _replay(path, str(error))), False


def keep_recording(name: str, result: object, folder: Path = RECORDINGS_DIR) -> None:
    """Save what was run for others to replay, if LAB_SAVE_RECORDINGS asks for it."""
    if os.environ.get("LAB_SAVE_RECORDINGS") == "1":
        save_recording(result, folder / f"{name}.json.gz", CHECKOUT)


def trace_during(
    name: str, pid: int, act: Callable[[], Result], folder: Path = RECORDINGS_DIR
) -> tuple[Result, MemoryTrace]:
    """Return what `act` returns, and the page faults and memory calls of process `pid` meanwhile.

    Where the tracer can't be had both come from the recording, as in `run_or_replay`. Then `act` is
    done too: the process is as far as the next cell of the notebook takes it to be.
    """
    is_done = False

    def run() -> tuple[Result, MemoryTrace]:
        nonlocal is_done
        start_service()
        with MemoryTracer(pid, ProcessSymbols(pid)) as tracer:
            answer = act()
            is_done = True
            return answer, tracer.stop()

    answer, trace = run_or_replay(name, run, folder)
    if not is_done:
        act()
    return answer, trace


def _replay(path: Path, reason: str) -> Any:
    recording = load_recording(path)
    print(
        say(
            "RECORDED, not live ({reason}): this was measured on {date} under Linux {kernel}.",
            reason=reason,
            date=recording.date,
            kernel=recording.kernel,
        )
    )
    return mark_as_recorded(recording)
