"""A learner's command of a shell: for so long, and so much of what it prints, and nothing is left.

What it has started is in a session of its own, and ends with it: also what runs in a pipe of it,
or in a group of its own, as `timeout` does. What has begun another session, by `setsid`, goes on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from lablib.errors import AppError
from lablib.language import term

TIMEOUT_S = 300.0
MOST_BYTES = 1 << 20


def run_command(command: str, folder: Path, timeout_s: float = TIMEOUT_S) -> tuple[str, int]:
    """Return what a command printed, errors too, and its exit code; it runs in `folder`.

    Raises `AppError` where it takes longer, or prints more than `MOST_BYTES`.
    """
    with subprocess.Popen(
        command,
        shell=True,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        deadline_s = time.monotonic() + timeout_s
        try:
            said = _read(process, command, deadline_s)
            process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _too_long(command) from None
        finally:
            _end_session(process.pid)
    return said.decode(errors="replace"), process.returncode


def _read(process: subprocess.Popen[bytes], command: str, deadline_s: float) -> bytes:
    assert process.stdout is not None
    said = b""
    while True:
        if not select.select([process.stdout], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
            raise _too_long(command)
        chunk = os.read(process.stdout.fileno(), 1 << 16)
        if not chunk:
            return said
        said += chunk
        if len(said) > MOST_BYTES:
            raise AppError(
                term("{command} prints too much", command=command),
                term("pipe it into head or tail"),
            )


def _end_session(session: int) -> None:
    """Kill what is in a session, until nothing new is found: some of it may be about to fork."""
    ended: set[int] = set()
    while found := {pid for pid in psutil.pids() if _is_in(session, pid)} - ended:
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):  # root's, by sudo, are not ours
                os.kill(pid, signal.SIGKILL)
        ended |= found


def _is_in(session: int, pid: int) -> bool:
    try:
        return os.getsid(pid) == session
    except (ProcessLookupError, PermissionError):
        return False


def _too_long(command: str) -> AppError:
    return AppError(
        term("{command} took too long", command=command),
        term("limit it, as in: timeout 20 COMMAND"),
    )
