"""Memory cgroups, version 1 and 2: which one a process is in, and what is charged to it.

The two versions keep the same facts in other files (the kernel's admin-guide/cgroup-v1/memory.rst
and admin-guide/cgroup-v2.rst). A machine may have both: version 2 for the processes, and the memory
controller still in version 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import ProcessError
from lablib.language import term
from lablib.records import CgroupMemory
from lablib.wording import os_reason

ROOT = Path("/")

_NO_LIMIT = 1 << 62
"""Version 1 has no word for "no limit": it is the highest number of whole pages."""


@dataclass(frozen=True)
class Hierarchy:
    """The tree of cgroups that has the memory controller.

    `mount` is the folder where it is seen, and `top` the cgroup that this folder is: "/" but in a
    container. `own` is the folder of the process that was asked about.
    """

    version: int
    mount: Path
    top: str
    own: Path


def find_hierarchy(pid: int | str = "self", root: Path = ROOT) -> Hierarchy:
    """Return the memory controller's tree, and where in it a process is.

    From /proc/PID/cgroup and /proc/self/mountinfo. Raises `ProcessError` when the process is gone,
    or the machine shows no memory cgroups.
    """
    try:
        membership = (root / f"proc/{pid}/cgroup").read_text()
        mounts = (root / "proc/self/mountinfo").read_text()
    except OSError as error:
        raise ProcessError(
            term(
                "the cgroup of process {pid} can't be read ({reason})",
                pid=pid,
                reason=os_reason(error),
            )
        ) from None
    version, path = _parse_membership(membership)
    for kind, options, top, mount in _parse_mounts(mounts):
        if kind != ("cgroup" if version == 1 else "cgroup2"):
            continue
        folder = root / mount.lstrip("/")
        if version == 1 and "memory" not in options.split(","):
            continue
        if version == 2 and "memory" not in _read_words(folder / "cgroup.controllers"):
            continue
        below = path.removeprefix(top.rstrip("/")).lstrip("/")
        own = folder / below
        return Hierarchy(version, folder, top, own if own.is_dir() else folder)
    raise ProcessError(
        term("this machine shows no memory cgroup"),
        term("boot a kernel with the memory controller enabled (cgroup_enable=memory)"),
    )


def find_cgroup(pid: int | str = "self", root: Path = ROOT) -> Path:
    """Return the folder of the memory cgroup that a process is in; raises `ProcessError`."""
    return find_hierarchy(pid, root).own


def read_cgroup(folder: Path, elapsed_s: float = 0.0) -> CgroupMemory:
    """Return what is charged to a memory cgroup, given by its folder; raises `ProcessError`.

    The kernel's files are read one after the other: the numbers are not all of one moment.
    """

    def read(name: str) -> str | None:
        try:
            return (folder / name).read_text()
        except OSError:
            return None

    memory = parse_cgroup(str(folder), read, elapsed_s)
    if memory is None:
        raise ProcessError(
            term("{folder} is not a memory cgroup, or has been removed", folder=folder),
            term("look in /proc/PID/cgroup"),
        )
    return memory


def parse_cgroup(
    path: str, read: Callable[[str], str | None], elapsed_s: float = 0.0
) -> CgroupMemory | None:
    """Return the record of a cgroup, None if it is none; `read` gives the text of a file, or None.

    Pure but for `read`: tests give it captured files.
    """
    if read("memory.usage_in_bytes") is not None:
        return _parse_version_1(path, read, elapsed_s)
    if read("memory.current") is not None or read("memory.stat") is not None:
        return _parse_version_2(path, read, elapsed_s)
    return None


def _parse_version_1(
    path: str, read: Callable[[str], str | None], elapsed_s: float
) -> CgroupMemory:
    stat = _parse_table(read("memory.stat"))
    control = _parse_table(read("memory.oom_control"))
    usage, limit = (_parse_number(read(f"memory.{name}_in_bytes")) for name in ("usage", "limit"))
    both, both_limit = (
        _parse_number(read(f"memory.memsw.{name}_in_bytes")) for name in ("usage", "limit")
    )
    has_limit = limit is not None and limit < _NO_LIMIT
    has_swap_limit = has_limit and both_limit is not None and both_limit < _NO_LIMIT
    return CgroupMemory(
        elapsed_s=elapsed_s,
        path=path,
        version=1,
        process_count=len((read("cgroup.procs") or "").split()),
        usage_bytes=usage or 0,
        limit_bytes=limit if has_limit else None,
        peak_bytes=_parse_number(read("memory.max_usage_in_bytes")),
        swap_bytes=stat.get("total_swap", stat.get("swap")) if both is not None else None,
        swap_limit_bytes=(both_limit or 0) - (limit or 0) if has_swap_limit else None,
        limit_hits=sum(
            _parse_number(read(f"memory.{name}failcnt")) or 0 for name in ("", "memsw.")
        ),
        ooms=None,
        oom_kills=control.get("oom_kill", 0),
        anon_bytes=stat.get("total_rss", 0),
        file_bytes=stat.get("total_cache", 0),
        shmem_bytes=stat.get("total_shmem", 0),
        page_faults=stat.get("total_pgfault", 0),
        major_faults=stat.get("total_pgmajfault", 0),
        refaulted_anon_pages=stat.get("total_workingset_refault_anon"),
        refaulted_file_pages=stat.get("total_workingset_refault_file"),
    )


def _parse_version_2(
    path: str, read: Callable[[str], str | None], elapsed_s: float
) -> CgroupMemory:
    stat = _parse_table(read("memory.stat"))
    events = _parse_table(read("memory.events"))
    usage = _parse_number(read("memory.current"))
    return CgroupMemory(
        elapsed_s=elapsed_s,
        path=path,
        version=2,
        process_count=len((read("cgroup.procs") or "").split()),
        usage_bytes=stat.get("anon", 0) + stat.get("file", 0) if usage is None else usage,
        limit_bytes=_parse_number(read("memory.max")),
        peak_bytes=_parse_number(read("memory.peak")),
        swap_bytes=_parse_number(read("memory.swap.current")),
        swap_limit_bytes=_parse_number(read("memory.swap.max")),
        limit_hits=events.get("max", 0),
        ooms=events.get("oom"),
        oom_kills=events.get("oom_kill", 0),
        anon_bytes=stat.get("anon", 0),
        file_bytes=stat.get("file", 0),
        shmem_bytes=stat.get("shmem", 0),
        page_faults=stat.get("pgfault", 0),
        major_faults=stat.get("pgmajfault", 0),
        scanned_pages=stat.get("pgscan"),
        reclaimed_pages=stat.get("pgsteal"),
        swapped_out_pages=stat.get("pswpout"),
        swapped_in_pages=stat.get("pswpin"),
        refaulted_anon_pages=stat.get("workingset_refault_anon"),
        refaulted_file_pages=stat.get("workingset_refault_file"),
    )


def _parse_membership(text: str) -> tuple[int, str]:
    """Return the version that has the memory controller, and the path in its tree.

    The line of version 2 names no controllers; where version 1 has memory, its line names it.
    """
    path_of_2 = "/"
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return 1, path
        if controllers == "":
            path_of_2 = path
    return 2, path_of_2


def _parse_mounts(text: str) -> Iterable[tuple[str, str, str, str]]:
    """Yield kind, options, top and mount point of each line of mountinfo (proc(5))."""
    for line in text.splitlines():
        front, _, back = line.partition(" - ")
        fields, behind = front.split(), back.split()
        if len(fields) >= 5 and len(behind) >= 3:
            yield behind[0], behind[2], fields[3], fields[4]


def _parse_table(text: str | None) -> dict[str, int]:
    rows = (line.split() for line in (text or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}


def _parse_number(text: str | None) -> int | None:
    """A file's one number; None where there is no file, or it says "max"."""
    return int(text) if text is not None and text.strip().isdigit() else None


def _read_words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
