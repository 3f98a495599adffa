"""Make a memory cgroup with a limit, put processes into it, end them, and remove it; as root.

Where a group may be made can't be told beforehand. In version 2 a cgroup that has processes gives
its children no controllers, what systemd has not delegated it may look after itself, and in a
container the tree may be read-only. So the places are tried, the top of the tree first.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from lablib.errors import LabError, TracerError
from lablib.language import term
from lablib.system.cgroups import Hierarchy, find_hierarchy, read_cgroup
from lablib.wording import os_reason

KILL_TIMEOUT_S = 10.0

_LIMIT_1, _BOTH_1 = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
_LIMIT_2, _SWAP_2 = "memory.max", "memory.swap.max"


def find_place() -> Path:
    """Return a folder in which groups that can be limited may be made; raises `TracerError`.

    In version 2 that may switch the memory controller on for the children of that folder; it stays
    on, which changes nothing for anybody.
    """
    try:
        hierarchy = find_hierarchy()
    except LabError as error:
        raise TracerError(error.message, error.fix) from None
    reasons = []
    for place in _list_places(hierarchy):
        try:
            _try_place(place, hierarchy.version)
            return place
        except OSError as error:
            reasons.append(f"{place}: {error.strerror}")
    raise TracerError(
        term("no memory cgroup can be made here ({reasons})", reasons="; ".join(reasons)),
        term("in a container this needs a cgroup tree that can be written: use the machine itself"),
    )


def make_group(folder: Path, limit_bytes: int, swap_bytes: int) -> None:
    """Make a group with its limits; raises `TracerError` where the kernel has none for swap."""
    folder.mkdir()
    if not any((folder / name).exists() for name in (_BOTH_1, _SWAP_2)):
        raise TracerError(
            term("this kernel does not limit the swap of a cgroup"),
            term("boot it with swapaccount=1"),
        )
    set_limits(folder, limit_bytes, swap_bytes)


def set_limits(folder: Path, limit_bytes: int, swap_bytes: int) -> None:
    """Set what a group may have in memory, and beyond that in swap.

    Below what it has, the kernel first takes pages back. Where that does not suffice, version 2
    kills a process of the group, and version 1 refuses: then this raises `TracerError` and the
    limits stay as they were.
    """
    if (folder / _LIMIT_2).exists():
        (folder / _SWAP_2).write_text(str(swap_bytes))
        (folder / _LIMIT_2).write_text(str(limit_bytes))
        return
    steps = [(_LIMIT_1, limit_bytes), (_BOTH_1, limit_bytes + swap_bytes)]
    if limit_bytes + swap_bytes > int((folder / _BOTH_1).read_text()):
        steps.reverse()  # the kernel wants the sum's limit never below that of the memory
    former = [(name, (folder / name).read_text()) for name, _ in reversed(steps)]
    try:
        for name, size in steps:
            (folder / name).write_text(str(size))
    except OSError as error:
        for name, text in former:
            with contextlib.suppress(OSError):
                (folder / name).write_text(text)
        usage = read_cgroup(folder).usage_bytes
        raise TracerError(
            term(
                "a limit of {limit:,} bytes is not possible: {usage:,} are in use, and the "
                "kernel could not take that many back ({reason})",
                limit=limit_bytes,
                usage=usage,
                reason=os_reason(error),
            ),
            term("choose a higher limit, or one with swap"),
        ) from None


def take_process(folder: Path, pid: int) -> None:
    """Move a process with all its threads into a group; raises `OSError`.

    What it has been charged for so far stays charged where it was.
    """
    (folder / "cgroup.procs").write_text(str(pid))


def list_processes(folder: Path) -> list[int]:
    """Return the ids of the processes in a group; none where it has gone."""
    try:
        return [int(word) for word in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def kill_processes(folder: Path) -> None:
    """End all processes of a group, and none else, and return when it is empty.

    Raises `TimeoutError` where one does not end.
    """
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while pids := list_processes(folder):
        for pid in pids:
            if _hold_and_kill(pid, folder) and time.monotonic() > deadline:
                raise TimeoutError(f"process {pid} of {folder} does not end")
        time.sleep(0.01)


def remove_group(folder: Path) -> None:
    """End all that is in a group and remove it, if it is there; raises `OSError`."""
    if not folder.is_dir():
        return
    kill_processes(folder)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while True:
        try:
            folder.rmdir()
            return
        except OSError:  # the last process is not quite gone
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _list_places(hierarchy: Hierarchy) -> Iterator[Path]:
    yield hierarchy.mount
    place = hierarchy.own
    while place != hierarchy.mount:
        yield place
        place = place.parent


def _try_place(place: Path, version: int) -> None:
    """Raises `OSError` where a group made here has no limits."""
    folder = place / f"memory-leak-lab-trial-{os.getpid()}"
    if version == 2 and "memory" not in (place / "cgroup.subtree_control").read_text().split():
        (place / "cgroup.subtree_control").write_text("+memory")
    folder.mkdir()
    try:
        (folder / (_LIMIT_1 if version == 1 else _LIMIT_2)).read_text()
    finally:
        folder.rmdir()


def _hold_and_kill(pid: int, folder: Path) -> bool:
    """Kill a process that is in the group now; return whether it was one.

    The descriptor is of one process for ever: if it is alive after its number was found in the
    group, then it was it that is in the group.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        is_ours = pid in list_processes(folder) and not select.select([pidfd], [], [], 0)[0]
        if is_ours:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return is_ours
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
