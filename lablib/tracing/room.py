"""Is there room for one more experiment? Looked at before it begins, and before its limit rises.

An experiment can never hurt the machine that it runs on: what every group may take is subtracted
from what is available, and a margin stays for all else.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from lablib.errors import LabError, TracerError
from lablib.language import term
from lablib.records import SwapArea
from lablib.system import read_cgroup, read_meminfo, read_swap_areas
from lablib.tracing import holdings
from lablib.tracing.protocol import MAX_SWAP_BYTES

MAX_GROUPS = 12
MAX_GROUPS_PER_USER = 8

MARGIN_BYTES = 256 << 20
"""How much memory must be left for all others when every group has taken what it may."""

_LEAST_FREE_SWAP = 0.1
_MIB = 1 << 20


def check_room(limit_bytes: int, swap_bytes: int, replacing: str = "") -> None:
    """Raise `TracerError` unless the machine can give a group so much and still have its margin.

    What the other groups may yet take counts as taken; `replacing` is the name of the one whose
    limit this is to be. Swap counts in full: a compressed disk lies in memory.
    """
    used_swap_bytes = reserved_bytes = 0
    for facts in holdings.list_holdings():
        folder = Path(facts.get("group", ""))
        used_swap_bytes += facts.get("swap_bytes", 0)
        if not facts.get("group"):
            continue
        with contextlib.suppress(LabError):
            usage = read_cgroup(folder).usage_bytes
            if folder.name == replacing:
                reserved_bytes -= usage
            else:
                reserved_bytes += max(0, facts.get("limit_bytes", 0) - usage)
    memory = read_meminfo()
    available, wanted = memory["MemAvailable"], limit_bytes + swap_bytes + reserved_bytes
    if available < wanted + MARGIN_BYTES:
        raise TracerError(
            term(
                "too little memory for this experiment: it and those under way may take "
                "{wanted:,} MiB, {available:,} are available, and {margin} shall stay free for "
                "all else",
                wanted=wanted // _MIB,
                available=available // _MIB,
                margin=MARGIN_BYTES // _MIB,
            ),
            term("end other programs, or choose a lower limit"),
        )
    if swap_bytes and used_swap_bytes + swap_bytes > MAX_SWAP_BYTES:
        raise TracerError(
            term(
                "the lab has {used} MiB of swap in use already, and at most {most} in all",
                used=used_swap_bytes // _MIB,
                most=MAX_SWAP_BYTES // _MIB,
            ),
            term("end the other experiment"),
        )
    _check_swap_of_machine(memory)


def _check_swap_of_machine(memory: dict[str, int]) -> None:
    total, free = memory.get("SwapTotal", 0), memory.get("SwapFree", 0)
    is_lab_s_alone = not _list_areas_of_machine()
    if total and not is_lab_s_alone and free < total * _LEAST_FREE_SWAP:
        raise TracerError(
            term(
                "this machine's swap is nearly full ({free:,} of {total:,} MiB are free): an "
                "experiment with memory would disturb it",
                free=free // _MIB,
                total=total // _MIB,
            ),
            term("end other programs first"),
        )


def read_free_swap() -> int:
    """Return how much the machine's own swap can still take, the lab's left out."""
    return sum(area.size_bytes - area.used_bytes for area in _list_areas_of_machine())


def _list_areas_of_machine() -> list[SwapArea]:
    """Return the swap areas that are not the lab's own, which have names of their own."""
    own = set()
    for facts in holdings.list_holdings():
        own |= {Path(facts.get("swap_file", "")).name, f"zram{facts.get('zram')}"}
    return [area for area in read_swap_areas() if Path(area.path).name not in own]


def check_count(uid: int) -> None:
    """Raise `TracerError` where a user, or all together, have as many groups as they may."""
    owners = [facts.get("uid") for facts in holdings.list_holdings()]
    if len(owners) >= MAX_GROUPS or owners.count(uid) >= MAX_GROUPS_PER_USER:
        raise TracerError(
            term(
                "there are {owners} experiments with capped groups, {count} of them yours; at "
                "most {most} of one user run at once",
                owners=len(owners),
                count=owners.count(uid),
                most=MAX_GROUPS_PER_USER,
            ),
            term("end one of them"),
        )
