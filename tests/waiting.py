"""Waiting for what is going to be so: never for a time, which a busy machine may need longer."""

import time
from collections.abc import Callable
from pathlib import Path

TIMEOUT_S = 60.0
"""Longer than anything takes, on however busy a machine."""


def wait_until(is_so: Callable[[], object]) -> None:
    """Return once it is so; fail where it never is."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be so"
        time.sleep(0.02)


def read_signal_set(pid: int, name: str) -> set[int]:
    """Return a set of signals of /proc/PID/status: ShdPnd, SigCgt and their like."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    bits = int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")), 16)
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}
