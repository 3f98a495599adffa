"""What the service has put on the machine for an experiment, written down so that it goes again.

A cgroup and swap are the kernel's: they outlive the process that made them. So each session that
makes them keeps a file of facts in `STATE_DIR`, locked for as long as it lives, and writes each
fact down before it does the deed. A file that nobody holds is of one that was killed: whoever comes
next (`./lab clean`, the service's start, the service when a session of it has died) undoes what it
says.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lablib.tracing import capped_cgroup, swap_device

STATE_DIR = Path("/var/lib/memory-leak-lab/groups")
"""Root's; everybody may see what there is, and nobody else open it. Swap files lie there too."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Facts = dict[str, Any]


class Holding:
    """One session's file of facts, locked; made while the registry is held (`hold_registry`)."""

    def __init__(self, name: str, uid: int) -> None:
        """Make the file; raises `OSError`."""
        self.name = name
        self._path = STATE_DIR / f"{name}.facts"
        self._file: IO[str] = open(self._path, "x", opener=_open_private)  # noqa: SIM115  held
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.note(uid=uid, worker=os.getpid(), boot_id=read_boot_id())

    def note(self, **facts: Any) -> None:
        """Write facts down; a later one of the same name takes its place."""
        self._file.write(json.dumps(facts) + "\n")
        self._file.flush()

    def release(self) -> str:
        """Undo all that was noted, and forget it; return why not where that failed, or ""."""
        return _undo(self._path)


@contextlib.contextmanager
def hold_registry() -> Iterator[None]:
    """Be the only one that makes or sweeps holdings; raises `OSError`."""
    STATE_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    with open(STATE_DIR / ".lock", "w", opener=_open_private) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def list_holdings() -> list[Facts]:
    """Return the facts of all holdings, also of those that nobody holds any more."""
    return [_read_facts(path) for path in _list_paths()]


def has_holdings(uid: int) -> bool:
    """Return whether a user may have left something to sweep, and root anybody; all may ask."""
    return any(uid == 0 or f"-{uid}-" in path.name for path in _list_paths())


def sweep() -> list[str]:
    """Undo what sessions that were killed have left, and return a line for each; needs root.

    What a living session holds is left alone. Raises `OSError` where the folder can't be written.
    """
    if not STATE_DIR.exists():
        return []
    removed = []
    with hold_registry():
        for path in _list_paths():
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                problem = _undo(path)
                name = f"a memory cgroup ({path.stem})"
                removed.append(f"{name}: {problem}" if problem else name)
    return removed


def read_boot_id() -> str:
    """Return what tells this start of the machine from every other."""
    return _BOOT_ID.read_text().strip()


def _open_private(path: str, flags: int) -> int:
    """Who may open a file may lock it, and keep everybody waiting."""
    return os.open(path, flags, 0o600)


def _list_paths() -> list[Path]:
    return sorted(STATE_DIR.glob("*.facts"))


def _read_facts(path: Path) -> Facts:
    """The last line may be cut short: then the deed that it announces has not been done."""
    facts: Facts = {}
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            facts |= json.loads(line)
    return facts


def _undo(path: Path) -> str:
    """Processes first, so that the swap is empty; after a restart only files can be left."""
    facts = _read_facts(path)
    try:
        if facts.get("boot_id") == read_boot_id():
            if "group" in facts:
                capped_cgroup.remove_group(Path(facts["group"]))
            if facts.get("zram") is not None:
                swap_device.remove_zram(facts["zram"])
        if "swap_file" in facts:
            swap_device.remove_file(Path(facts["swap_file"]))
    except OSError as error:
        return str(error)
    path.unlink(missing_ok=True)
    return ""


def main() -> None:
    """Sweep, and print what was removed: what `./lab clean` runs as root."""
    for line in sweep():
        print(line)
