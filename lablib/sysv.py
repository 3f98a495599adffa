"""The System V shared memory segments that the lab's programs have made and not removed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

KEY_PREFIX = 0x6D6C
"""The upper half of the keys of the lab's segments: "ml"."""

_TABLE = Path("/proc/sysvipc/shm")


def list_system_v_segments() -> list[int]:
    """Return the ids of this user's segments with the lab's keys, from /proc/sysvipc/shm."""
    try:
        return parse_segments(_TABLE.read_text(), os.getuid())
    except OSError:  # a kernel without System V's kind of sharing has none to remove
        return []


def parse_segments(text: str, uid: int) -> list[int]:
    """Return the ids of the lab's segments that belong to `uid`, from the kernel's table."""
    heading, *lines = text.splitlines()
    columns = heading.split()
    rows = [dict(zip(columns, line.split(), strict=True)) for line in lines]
    return [
        int(row["shmid"])
        for row in rows
        if int(row["key"]) >> 16 == KEY_PREFIX and int(row["uid"]) == uid
    ]


def remove_system_v_segment(segment: int) -> bool:
    """Remove a segment by its id; return whether it was still there."""
    removed = subprocess.run(["ipcrm", "-m", str(segment)], capture_output=True, check=False)
    return removed.returncode == 0
