"""The program that the benchmarks trace: pairs.c, built, started, and told what to do."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import lablib
from lablib.apps import APPS_DIR, BUILD_DIR
from lablib.errors import AppError, ToolMissingError
from lablib.release import MEMORY_CAP_BYTES, RELEASE_SIGNAL, wait_until_held

BENCHMARKS_DIR = Path(__file__).resolve().parent
LIFETIME_S = 600
"""After how long it ends by itself; the whole benchmark takes a third of it."""

TOOL_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Batch:
    """ns per pair: of processor time, and of the time that went by."""

    cpu_ns: float
    wall_ns: float


def build_program(name: str) -> Path:
    """Compile NAME.c as the leaky apps are compiled, if it has changed, and return the program.

    Raises `ToolMissingError` without a compiler and `AppError` when the build fails.
    """
    from_apps = os.path.relpath(BENCHMARKS_DIR, APPS_DIR)  # make takes no spaces in VPATH
    command = ["make", "-s", "-C", str(APPS_DIR), f"VPATH={from_apps}", "CC=gcc -I."]
    command.append(f"build/{name}")
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ToolMissingError(
            "building the benchmark's program needs make",
            "run: sudo apt-get install gcc libc6-dev make",
        ) from None
    if made.returncode != 0:
        raise AppError(f"building {name}.c failed: {made.stderr.strip()[-200:]}")
    return BUILD_DIR / name


class Pairs(AbstractContextManager["Pairs"]):
    """pairs.c as a running process, with a memory cap and a lifetime; a context manager."""

    def __init__(
        self,
        executable: Path,
        settings: Mapping[str, str] | None = None,
        below: Sequence[str] = (),
    ) -> None:
        """Start it and release it; it then waits for commands. Raises `AppError`.

        `settings` are variables of its environment. `below` is a tool's command, which starts it in
        turn: then `pid` is the tool's.
        """
        launcher = Path(lablib.__file__).with_name("launcher.py")
        limits = [str(MEMORY_CAP_BYTES), str(LIFETIME_S), str(os.getpid())]
        variables = [f"{name}={value}" for name, value in (settings or {}).items()]
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-B", str(launcher), *limits),
                *("/usr/bin/env", *variables, *below, str(executable)),
                *(*(() if below else ("--wait",)), "--lifetime", str(LIFETIME_S)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self._is_below = bool(below)
        try:
            if not below:
                wait_until_held(self.pid)
                self._process.send_signal(RELEASE_SIGNAL)
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def run(self, pairs: int, threads: int = 1) -> Batch:
        """Have `threads` threads make `pairs` pairs each, and return how long one pair took.

        The program takes the time itself, from the first call to the last. Raises `AppError`.
        """
        wall_ns, cpu_ns = self._command(f"run {pairs} {threads}")
        return Batch(cpu_ns / (pairs * threads), wall_ns / (pairs * threads))

    def hold(self, blocks: int) -> None:
        """Have it allocate `blocks` from 1,024 call stacks and keep them; raises `AppError`."""
        self._command(f"hold {blocks}")

    def drop(self) -> None:
        """Have it free the blocks that it holds."""
        self._command("drop")

    def close(self) -> None:
        """End the process if it runs; a tool above it ends with it."""
        assert self._process.stdin is not None
        if self._is_below:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._process.stdin.close()
                self._process.wait(TOOL_TIMEOUT_S)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _command(self, command: str) -> list[int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            name, durations_ns = "", []
            while name != command.split()[0]:  # what a tool above it says is passed over
                line = self._process.stdout.readline()
                if not line:
                    raise OSError
                name, *durations_ns = line.split() or [""]
        except OSError:
            raise AppError(f"the benchmark's program ended during: {command}") from None
        return [int(duration_ns) for duration_ns in durations_ns]
