"""What a program in the sandbox has left behind: shared memory and files, seen from outside."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lablib.errors import GradingError
from lablib.grading.limits import FILE_PLACES, Limits
from lablib.grading.sandbox import Run, Sandboxed
from lablib.language import term
from lablib.tracing.groups import CappedGroup
from lablib.wording import os_reason

_SYSTEM_V = Path(__file__).with_name("system_v.py")
_END_S = 10.0
_MOST_FILES = 1000

# The kernel's table -> what one of its lines is, and the columns of its id and of its bytes.
_SYSTEM_V_WORDS = {
    "shm": ("System V segment", "shmid", "size"),
    "sem": ("System V semaphore set", "semid", ""),
    "msg": ("System V message queue", "msqid", "cbytes"),
}


@dataclass(frozen=True)
class Leftover:
    """Something that outlives its processes; `name` is a path as in the sandbox, or its kind."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class Aftermath:
    """How a run ended, and what it has left behind, the largest first."""

    run: Run
    leftovers: tuple[Leftover, ...]


def run_and_look_back(
    folder: Path,
    command: Sequence[str],
    limits: Limits,
    group: CappedGroup | None = None,
    kill_at: int = 0,
) -> Aftermath:
    """Run a command in the sandbox with no tracer on it; return what is left when it has ended.

    Its memory is charged to `group`, where there is one.
    With `kill_at` all its processes are killed together, in the middle of its work: at the n-th
    time that it would be looked at (see `Sandboxed`). Raises `GradingError`.
    """
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == kill_at:
            remains.kill_all()

    with (
        Sandboxed(folder, command, limits, group, look=look) as program,
        Remains(program.pid) as remains,
    ):
        program.release()
        run = program.finish()
        return Aftermath(run, tuple(remains.list_leftovers()))


class Remains(AbstractContextManager["Remains"]):
    """The places of a sandbox where things survive, kept for a look when all in it have ended."""

    def __init__(self, pid: int) -> None:
        """Keep the places of the sandbox that process `pid` waits in: no other can be written to.

        Raises `GradingError` where they may not be seen.
        """
        self._open: list[int] = []
        try:
            self._places = [
                (place, self._keep(f"/proc/{pid}/root{place}", os.O_DIRECTORY))
                for place in FILE_PLACES
            ]
            self._ipc = self._keep(f"/proc/{pid}/ns/ipc")
            self._first = os.pidfd_open(_find_first(pid))
            self._open.append(self._first)
        except OSError as error:
            self.__exit__()
            raise GradingError(
                term("the sandbox can't be looked into ({reason})", reason=os_reason(error))
            ) from None

    def __exit__(self, *_: object) -> None:
        """Let go of the places, and of all that is left in them."""
        while self._open:
            os.close(self._open.pop())

    def kill_all(self) -> None:
        """Kill all processes of the sandbox together, as kill -9 does, and wait for their end."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first, signal.SIGKILL)
        self._wait_for_end()

    def list_leftovers(self) -> list[Leftover]:
        """Return what is left once the sandbox has ended; raises `GradingError` if it has not."""
        if not self._wait_for_end():
            raise GradingError(term("the sandbox did not come to its end"))
        files = [
            Leftover(f"{place}/{entry.relative_to(root)}", size)
            for place, descriptor in self._places
            for root in [Path(f"/proc/self/fd/{descriptor}")]
            for entry, size in _list_files(root).items()
        ]
        return sorted(files + self._list_system_v(), key=lambda left: -left.size_bytes)

    def _wait_for_end(self) -> bool:
        """Return whether all have ended: its first process is gone when all others are."""
        return bool(select.select([self._first], [], [], _END_S)[0])

    def _list_system_v(self) -> list[Leftover]:
        command = [sys.executable, "-I", "-S", str(_SYSTEM_V), str(self._ipc)]
        listed = subprocess.run(
            command, pass_fds=[self._ipc], capture_output=True, text=True, check=False
        )
        if listed.returncode != 0:
            said = (listed.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise GradingError(term("its System V segments can't be seen ({said})", said=said))
        return parse_system_v(json.loads(listed.stdout))

    def _keep(self, path: str, flags: int = 0) -> int:
        self._open.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags))
        return self._open[-1]


def parse_system_v(tables: dict[str, str]) -> list[Leftover]:
    """Return all that /proc/sysvipc/shm, sem and msg list; `tables` has their texts by name."""
    found = []
    for kind, text in tables.items():
        words, number, size = _SYSTEM_V_WORDS[kind]
        heading, *lines = text.splitlines()
        for line in lines:
            row = dict(zip(heading.split(), line.split(), strict=False))
            found.append(Leftover(f"{words} {row[number]}", int(row.get(size, 0))))
    return found


def _list_files(folder: Path) -> dict[Path, int]:
    """Return what lies in a folder and below, with its bytes; of very many only some."""
    files = {}
    for path in islice(folder.rglob("*"), _MOST_FILES):
        with contextlib.suppress(OSError):
            files[path] = 0 if path.is_dir() else path.lstat().st_size
    return files


def _find_first(pid: int) -> int:
    """Return the first process of the sandbox: the parent of the one that waits at the gate."""
    words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(words[1])
