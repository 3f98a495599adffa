"""Programs under the tracer's probes: held at their start, and unharmed at their end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from census import read_changed_code

from lablib.release import wait_until_held

CLEAN_TIMEOUT_S = 120.0
"""How long the kernel may take for the last breakpoint, with other sessions in the queue."""


@contextlib.contextmanager
def held(program: Path, uid: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Start a program that waits for release; in the end it still runs its own code, untouched."""
    command = ["nice", str(program), "--wait"]  # so that it can be busy and the rest go on
    process = subprocess.Popen(
        command, user=uid, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_until_held(process.pid)
        yield process
        if process.poll() is None:
            assert await_clean_code(process.pid) == []
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def held_with_pid(program: Path, numbered: Path, pid: int) -> Iterator[psutil.Process]:
    """Start a program that waits for release as process `pid`, whose number is free again."""
    subprocess.run([numbered, str(pid), program, "--wait"], stdout=subprocess.DEVNULL, check=True)
    process = psutil.Process(pid)
    try:
        wait_until_held(pid)
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait()


def await_clean_code(pid: int) -> list[str]:
    """Wait until a process runs its own code again; return the files of which it does not."""
    deadline = time.monotonic() + CLEAN_TIMEOUT_S
    while (changed := read_changed_code(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return changed


def compute_round_sum() -> int:
    """Return the sum of one round of busy.c, worked out a second time."""
    total = 0
    for block in range(64):
        words = 2 * (1 + block * 37 % 200 if block else 32 * 1024)
        of_block = 0
        for i in range(words):
            of_block = (of_block ^ (block + i) * 0x9E3779B97F4A7C15) * 0x100000001B3 % (1 << 64)
        total += of_block
    return total


def end_busy(process: subprocess.Popen[str]) -> None:
    """End busy.c: it has computed what it should, untouched by what was done to it."""
    assert await_clean_code(process.pid) == []
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    rounds = int(said.split()[0])
    assert rounds > 0
    assert said == f"{rounds} rounds, sum {rounds * compute_round_sum() % (1 << 64):016x}\n"
    assert process.returncode == 0
