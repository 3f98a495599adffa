"""A census of what the tracer service holds and left behind, and of the code in its targets.

All of it needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from lablib.tracing import holdings, maps

RETURN_TIMEOUT_S = 120.0
"""How long sessions may take to end, and the kernel to let go of what they held."""

MEMORY_SLACK_BYTES = 4 << 20
"""What the service's memory may vary by: arenas of malloc's and Python's that fill and empty."""

_NEXT_ID_COMMANDS = {"prog": 11, "map": 12}  # enum bpf_cmd, in the kernel's uapi/linux/bpf.h
_HELD_ID = re.compile(r"^(prog|map)_id:\s*(\d+)$", re.MULTILINE)
_EVENT_OWNER = re.compile(r"_bcc_(\d+)\b")

BpfId = tuple[str, int]
"""("prog" or "map", id): the kernel does not give an id again before it has gone through all."""


@dataclass(frozen=True)
class Census:
    """What a service has of the machine at one moment; two are equal if it holds the same.

    Left out of the comparison are the memory, which varies a little, and what has no owner, which
    may be the last of somebody else's.
    """

    descriptors: tuple[str, ...]
    children: tuple[int, ...]
    bpf_ids: frozenset[BpfId]
    resident_bytes: int = field(compare=False)
    anonymous_bytes: int = field(compare=False)
    ownerless: frozenset[Any] = field(compare=False)


def read_census(service_pid: int) -> Census:
    """Return what the service and its sessions hold now, from /proc and the bpf system call.

    Ownerless are the machine's BPF programs and maps that no process has a descriptor of: a probe
    that nothing would ever take out keeps its program there. And the lines of uprobe_events whose
    process is gone. Other tracers don't disturb this: they hold what is theirs.
    """
    service = psutil.Process(service_pid)
    family = [service_pid, *sorted(child.pid for child in service.children(recursive=True))]
    existing = frozenset({*_list_bpf_ids("prog"), *_list_bpf_ids("map")})
    memory = Path(f"/proc/{service_pid}/smaps_rollup").read_text()
    return Census(
        descriptors=_read_descriptors(service_pid),
        children=tuple(family[1:]),
        bpf_ids=read_bpf_ids(*family),
        resident_bytes=_parse_kilobytes(memory, "Rss"),
        anonymous_bytes=_parse_kilobytes(memory, "Anonymous"),
        ownerless=_read_ownerless_events(service_pid) | existing - read_bpf_ids(*psutil.pids()),
    )


def await_return(service_pid: int, before: Census) -> str:
    """Wait until the service holds what it held before; return what it still keeps, or ""."""
    deadline = time.monotonic() + RETURN_TIMEOUT_S
    after = read_census(service_pid)
    left = after.ownerless - before.ownerless
    while (after != before or left) and time.monotonic() < deadline:
        time.sleep(0.1)
        after = read_census(service_pid)
        left &= after.ownerless  # what is seen for a moment only was somebody's at his end
    kept = [f"{after} after {before}"] if after != before else []
    kept += [f"without an owner: {sorted(map(str, left))}"] if left else []
    for name in ("resident_bytes", "anonymous_bytes"):
        grown = getattr(after, name) - getattr(before, name)
        kept += [f"{name} grew by {grown}"] if grown > MEMORY_SLACK_BYTES else []
    return "; ".join(kept)


def read_bpf_ids(*pids: int) -> frozenset[BpfId]:
    """Return the BPF programs and maps that processes hold by descriptors (/proc/PID/fdinfo)."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fdinfo"):
                with contextlib.suppress(OSError):
                    text = Path(entry).read_text(errors="replace")
                    found |= {(kind, int(number)) for kind, number in _HELD_ID.findall(text)}
    return frozenset(found)


class _NextIdAttributes(ctypes.Structure):
    """The members of `union bpf_attr` for BPF_PROG_GET_NEXT_ID and BPF_MAP_GET_NEXT_ID."""

    _fields_ = (
        ("start_id", ctypes.c_uint32),
        ("next_id", ctypes.c_uint32),
        ("open_flags", ctypes.c_uint32),
    )


def _list_bpf_ids(kind: str) -> Iterator[BpfId]:
    attributes = _NextIdAttributes()
    with contextlib.suppress(FileNotFoundError):  # ENOENT: that was the last
        while True:
            maps.bpf(_NEXT_ID_COMMANDS[kind], attributes)
            yield kind, attributes.next_id
            attributes.start_id = attributes.next_id


def _read_descriptors(pid: int) -> tuple[str, ...]:
    found = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(f"{entry.name} -> {os.readlink(entry)}")
    return tuple(sorted(found))


def _parse_kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None, name
    return int(found[1]) << 10


def _read_ownerless_events(service_pid: int) -> frozenset[str]:
    """Read tracefs as the service sees it: it may be mounted for it alone."""
    try:
        lines = Path(f"/proc/{service_pid}/root/sys/kernel/tracing/uprobe_events").read_text()
    except FileNotFoundError:
        return frozenset()
    owned = ((line, _EVENT_OWNER.search(line)) for line in lines.splitlines())
    return frozenset(line for line, pid in owned if pid and not psutil.pid_exists(int(pid[1])))


def read_changed_code(pid: int) -> list[str]:
    """Return the mapped files whose code is not, in this process, what it is on the disk.

    A breakpoint is one byte of difference: with no probe left there is none.
    """
    changed = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, permissions, offset, _, inode, *path = line.split(None, 5)
            if "x" not in permissions or inode == "0":
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            with open(f"/proc/{pid}/map_files/{start:x}-{end:x}", "rb") as file:
                file.seek(int(offset, 16))
                on_disk = file.read(end - start)
            memory.seek(start)
            if memory.read(len(on_disk)) != on_disk:
                changed.append(path[0])
    return changed


def read_groups(service_pid: int) -> list[dict[str, Any]]:
    """Return the facts of the capped groups that a service's sessions hold."""
    family = {service_pid, *(child.pid for child in psutil.Process(service_pid).children())}
    return [facts for facts in holdings.list_holdings() if facts.get("worker") in family]
