"""An experiment in a capped group: eaters that take memory, step by step, sampled all the while.

    with CappedExperiment(64 << 20, swap_bytes=32 << 20) as experiment:
        experiment.take_step("eater", "grow", 16)
        experiment.take_step("wait_for_kill", 20)
        run = experiment.stop()

Nothing outside of the group is touched: it has its own limit and its own swap, and goes with the
experiment.
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from lablib.apps import BUILD_DIR, build_app
from lablib.errors import AppError, LabError, ProcessError
from lablib.group_samples import read_group_sample
from lablib.language import term
from lablib.records import CappedRun, GroupEnd, GroupSample, GroupStep, PressureTrace
from lablib.steering import SteeredApp
from lablib.tracing.groups import SWAP_SOURCES, CappedGroup
from lablib.tracing.pressure import PressureTracer

INTERVAL_S = 0.2
MIB = 1 << 20
SIZE_TIMEOUT_S = 20.0
APP_TIMEOUT_S = 60.0
"""How long a walk through swapped pages may take."""

READER = "reader"
"""The name of the program that reads a file, in steps like ("reader", "read", 40)."""

_CHUNK = bytes(range(256)) * (MIB // 256)


class CappedExperiment(AbstractContextManager["CappedExperiment"]):
    """A capped group with eaters in it, and a thread that samples them; ended with its block.

    `samples`, `steps` and `ends` grow while it runs; all their times count from the same moment.
    """

    def __init__(
        self,
        limit_bytes: int,
        swap_bytes: int = 0,
        names: Sequence[str] = ("eater",),
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Make the group and start an app `eater` in it for each name.

        Raises `LabError` where the machine can't, or has no room for it now.
        """
        self.samples: list[GroupSample] = []
        self.steps: list[GroupStep] = []
        self.ends: list[GroupEnd] = []
        self._interval_s = interval_s
        self._trace: PressureTrace | None = None
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._files: dict[int, Path] = {}
        self._ends_awaited = 0
        self._apps: dict[str, SteeredApp] = {}
        self._resources = ExitStack()
        with self._resources:
            self._group = self._resources.enter_context(CappedGroup(limit_bytes, swap_bytes))
            self._tracer = self._resources.enter_context(PressureTracer(self._group))
            self._started_s = time.monotonic()
            for name in names:
                self.start_eater(name)
            self._sampler = self._start_thread(self._sample)
            self._resources = self._resources.pop_all()

    def __exit__(self, *_: object) -> None:
        """End the processes and the sampling, and remove the group and its swap."""
        self.close()

    @property
    def elapsed_s(self) -> float:
        """The seconds since the experiment began."""
        return time.monotonic() - self._started_s

    def start_eater(self, name: str = "eater") -> int:
        """Start an eater of that name, in the place of one that has ended; return its process id.

        Raises `AppError` while that one runs.
        """
        former = self._apps.get(name)
        if former is not None and former.is_running:
            raise AppError(term("{name} runs, as process {pid}", name=name, pid=former.pid))
        app = self._resources.enter_context(SteeredApp(build_app("eater"), APP_TIMEOUT_S))
        self._group.take(app.pid)
        self._apps[name] = app
        self._start_thread(self._await_end, name, app)
        return app.pid

    def take_step(self, *words: str | float) -> GroupStep:
        """Take a step, and return it with its answer when it is done; waiting is not in `steps`.

        ("wait", S) seconds; ("wait_for_size", MIB) until the group has so much anonymous memory,
        in RAM or swap; ("wait_for_kill", S) until a process has ended, that long at most;
        ("limit", MIB) sets the group's limit; ("reader", "read", MIB) reads a file of that size in
        the group; (NAME, "oom_score_adj", N) sets that of an eater; (NAME, COMMAND, ...) asks it.
        Raises `LabError` for what is refused. A kill is no error: it is in `ends`.
        """
        began_s = self.elapsed_s
        answer = self._do(*words)
        command = " ".join(map(str, words))
        step = GroupStep(began_s, self.elapsed_s - began_s, command, answer)
        if not command.startswith("wait"):
            self.steps.append(step)
        return step

    def ask(self, command: str, *values: int | str) -> dict[str, int]:
        """Do what a control of a panel asks for: "limit" of the group, or a command of the eater.

        "grow" starts another eater where the last one was killed.
        """
        if self._over.is_set():
            raise LabError(
                term("the experiment is over"), term("run its cell again to start another")
            )
        if command == "limit":
            return self._set_limit(int(values[0]))
        if command == "grow" and not self._apps["eater"].is_running:
            self.start_eater()
        return self._apps["eater"].ask(command, *values)

    def follow(self) -> Iterator[GroupSample]:
        """Yield the samples as they come, from the first on, until the experiment is over."""
        given, is_sampling = 0, True
        while is_sampling:
            is_sampling = self._sampler.is_alive()
            while given < len(self.samples):
                yield self.samples[given]
                given += 1
            self._sampler.join(self._interval_s / 4)

    def read(self) -> CappedRun:
        """Return all that was seen so far."""
        return CappedRun(
            source="live",
            kernel=os.uname().release,
            swap_source=SWAP_SOURCES[self._group.swap_source],
            samples=tuple(self.samples),
            steps=tuple(self.steps),
            ends=tuple(self.ends),
            trace=self._trace or self._tracer.read(),
        )

    def stop(self) -> CappedRun:
        """End it, and return all that was seen."""
        self.close()
        return self.read()

    def close(self) -> None:
        """End the processes and the sampling, and remove the group and its swap."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._trace is None:
            self._trace = self._tracer.stop()
        self._resources.close()

    def _do(self, *words: str | float) -> dict[str, int]:
        name, *rest = words
        if name == "wait":
            time.sleep(float(rest[0]))
            return {}
        if name == "wait_for_size":
            self._await_size(int(rest[0]) * MIB)
            return {}
        if name == "wait_for_kill":
            self._await_kill(float(rest[0]))
            return {}
        if name == "limit":
            return self._set_limit(int(rest[0]))
        command, *values = rest
        if name == READER:
            return self._read_file(int(values[0]))
        if command == "oom_score_adj":
            Path(f"/proc/{self._apps[str(name)].pid}/oom_score_adj").write_text(str(values[0]))
            return {}
        return self._ask_eater(str(name), str(command), *map(str, values))

    def _set_limit(self, limit_mib: int) -> dict[str, int]:
        self._group.set_limit(limit_mib * MIB)
        return {"limit_bytes": limit_mib * MIB}

    def _ask_eater(self, name: str, command: str, *values: str) -> dict[str, int]:
        kills = self._group.read().oom_kills
        try:
            return self._apps[name].ask(command, *values)
        except AppError:
            if self._group.read().oom_kills > kills:
                return {}  # killed on the way: that is in `ends`
            raise

    def _await_size(self, size_bytes: int) -> None:
        deadline = time.monotonic() + SIZE_TIMEOUT_S
        while (memory := self._group.read()).anon_bytes + (memory.swap_bytes or 0) < size_bytes:
            if time.monotonic() > deadline:
                raise LabError(
                    term("the group did not grow to {mib} MiB", mib=size_bytes // MIB),
                    term("grow faster"),
                )
            time.sleep(0.005)

    def _await_kill(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while len(self.ends) == self._ends_awaited:
            if time.monotonic() > deadline:
                raise LabError(
                    term("nothing was killed within {seconds:g} s", seconds=timeout_s),
                    term("grow faster"),
                )
            time.sleep(0.01)
        self._ends_awaited = len(self.ends)

    def _read_file(self, mib: int) -> dict[str, int]:
        """Have a program of the group read a file, which no other group has in its page cache."""
        if mib not in self._files:
            self._files[mib] = self._resources.enter_context(_make_file(mib))
        words = ["/bin/sh", "-c", 'read -r _; exec cksum <"$1"', "sh", str(self._files[mib])]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
            self._group.take(reader.pid)
            output, _ = reader.communicate(b"\n")
        if reader.returncode != 0:
            raise AppError(
                term("reading {mib} MiB failed: exit code {code}", mib=mib, code=reader.returncode)
            )
        checksum, size = output.split()
        return {"bytes": int(size), "checksum": int(checksum)}

    def _start_thread(self, run: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _sample(self) -> None:
        due_s = 0.0
        with suppress(ProcessError):  # the group has gone, and the service with it
            while not self._over.wait(max(0.0, due_s - self.elapsed_s)):
                self.samples.append(self._read_sample())
                due_s = max(due_s + self._interval_s, self.elapsed_s)
            self.samples.append(self._read_sample())

    def _read_sample(self) -> GroupSample:
        pids = {name: app.pid for name, app in list(self._apps.items())}
        return read_group_sample(self._group.path, pids, self.elapsed_s)

    def _await_end(self, name: str, app: SteeredApp) -> None:
        """Note when a process ends by itself or is killed, to a few milliseconds."""
        try:
            pidfd = os.pidfd_open(app.pid)
        except ProcessLookupError:
            return
        try:
            while not self._over.is_set():
                if select.select([pidfd], [], [], self._interval_s)[0]:
                    elapsed_s = self.elapsed_s
                    self.ends.append(GroupEnd(elapsed_s, name, app.pid, app.ended_by))
                    return
        finally:
            os.close(pidfd)


@contextmanager
def _make_file(mib: int) -> Iterator[Path]:
    """Make a file whose pages are on the disk and not in the page cache; it goes with the block."""
    BUILD_DIR.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=BUILD_DIR) as file:
        for _ in range(mib):
            file.write(_CHUNK)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        yield Path(file.name)
