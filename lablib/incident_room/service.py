"""The program as it is in service: at its rate, in a container with its cap, sampled all the while.

Where Docker can't be had it is a process of this machine in a memory cgroup with the same cap; and
where that can't be had either, it has no cap, and `Service.cap` says so.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, suppress

from lablib.apps import LocalApp
from lablib.containers import ContainerApp, build_image
from lablib.errors import LabError, PrivilegeError, ProcessError, ToolMissingError, TracerError
from lablib.grading.labs import Service as ServiceTerms
from lablib.language import term
from lablib.records import AppFiles, ServiceEnd
from lablib.resources import read_rss_bytes
from lablib.sources import RECORDED, choose_source, open_tracer
from lablib.study import Runtime
from lablib.symbols import ProcessSymbols
from lablib.system.cgroups import find_cgroup, read_cgroup
from lablib.tracing.client import Tracer
from lablib.tracing.groups import CappedGroup

SAMPLE_S = 1.0
END_TIMEOUT_S = 20.0
MIB = 1 << 20

_NO_GROUP = (TracerError, PrivilegeError, ToolMissingError)


class Service(AbstractContextManager["Service"]):
    """The program at work; a context manager that ends it, and removes its container and image.

    `cap` says in a sentence what limits its memory, `is_capped` whether anything does. `end` is how
    it ended, None while it runs. `speed` times its rate it runs faster than in service.
    """

    def __init__(
        self,
        runtime: Runtime,
        app: AppFiles,
        terms: ServiceTerms,
        name: str,
        speed: float = 1.0,
        on_sample: Callable[[float, int, int | None], object] = lambda up_s, rss, charged: None,
        on_end: Callable[[ServiceEnd], object] = lambda end: None,
    ) -> None:
        """Start the program and let it work; raises `LabError`.

        `on_sample` is told, by a thread, how long it is up, its resident set and what its cgroup is
        charged; `on_end` how it ended, unless it was ended by `close`.
        """
        self.app, self.speed = app, speed
        self.end: ServiceEnd | None = None
        self.limit_bytes = terms.limit_bytes
        self._terms, self._on_sample, self._on_end = terms, on_sample, on_end
        self._group: CappedGroup | None = None
        self._closing = threading.Event()
        self.tracer: Tracer | None = None
        """What counts its heap from its first term on, None where nothing can: `untraced` why."""
        self.untraced = ""
        with ExitStack() as resources:
            self._running = self._start(runtime, app, name, resources)
            self.pid = self._running.pid
            self._attach(resources)
            self._watched = os.pidfd_open(self.pid)
            resources.callback(os.close, self._watched)
            self._started_s = time.monotonic()
            self._running.release()
            self._thread = threading.Thread(target=self._watch, name="service", daemon=True)
            self._thread.start()
            self._resources = resources.pop_all()

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    @property
    def is_running(self) -> bool:
        """Whether its process is there: `pid` is not another's then. It must not be closed."""
        return not select.select([self._watched], [], [], 0)[0]

    @property
    def up_s(self) -> float:
        """How long it is up, or was."""
        return self.end.up_s if self.end else time.monotonic() - self._started_s

    @property
    def run_words(self) -> tuple[str, ...]:
        """The command that starts it by hand."""
        return self._running.run_words

    @property
    def runtime(self) -> str:
        """Where it runs: "docker" or "local"."""
        return self._running.runtime

    def count_terms(self) -> int:
        """Return how many terms it has done: it prints a line for each."""
        return self.end.terms if self.end else self._running.read_logs().count("\n")

    def read_logs(self) -> str:
        """Return what it has printed so far."""
        return self._running.read_logs()

    def close(self) -> None:
        """End it if it runs, and remove what it ran in; safe more than once."""
        self._closing.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self.tracer = None
        self._resources.close()

    def _start(
        self, runtime: Runtime, app: AppFiles, name: str, resources: ExitStack
    ) -> ContainerApp | LocalApp:
        rate = self._terms.rate * self.speed
        limit_bytes, mib = self.limit_bytes, self.limit_bytes // MIB
        if runtime.engine is not None:
            engine = runtime.engine
            # An image for each start: whoever removes his own must not take another's.
            image = build_image(engine, app, f"{name}:{secrets.token_hex(8)}")
            container = ContainerApp(engine, app, image, rate, name, limit_bytes, False, True)
            self.cap = term(
                "It runs in the container {name}, which has {mib} MiB and no swap.",
                name=name,
                mib=mib,
            )
            self.is_capped = True
            return resources.enter_context(container)
        instrument = choose_source().make_instrument()
        local = resources.enter_context(LocalApp(app, rate, instrument=instrument))
        try:
            group = resources.enter_context(CappedGroup(limit_bytes))
            group.take(local.pid)
        except _NO_GROUP as error:
            self.is_capped = False
            self.cap = term(
                "It runs as a process of this machine WITHOUT the cap of {mib} MiB: this machine "
                "can't set one ({error}). Nothing will be killed at the cap; reckon when it would.",
                mib=mib,
                error=error.sentence,
            )
            return local
        self._group, self.is_capped = group, True
        self.cap = term(
            "It runs as a process of this machine, in a memory cgroup that has {mib} MiB and no "
            "swap, and not in a container ({reason}).",
            mib=mib,
            reason=runtime.reason or term("no Docker"),
        )
        return local

    def _attach(self, resources: ExitStack) -> None:
        """Have its heap counted from its first term on, if that can be done here."""
        instrument = self._running.instrument
        source = choose_source() if instrument is None else None
        if source is not None and source.name == RECORDED:
            self.untraced = source.reason
            return
        try:
            symbols = resources.enter_context(closing(ProcessSymbols(self.pid)))
            tracer = open_tracer(self.pid, symbols, instrument=instrument)
            self.tracer = resources.enter_context(tracer)
        except LabError as error:
            self.untraced = error.sentence

    def _watch(self) -> None:
        """Sample it until it ends or is ended; note how it ended."""
        pause_s = SAMPLE_S / max(1.0, min(self.speed, 10.0))
        while not self._closing.is_set():
            if select.select([self._watched], [], [], pause_s)[0]:
                with suppress(LabError):
                    self.end = self._read_end()
                    self._on_end(self.end)
                return
            rss_bytes = read_rss_bytes(self.pid)
            if rss_bytes:
                self._on_sample(self.up_s, rss_bytes, self.read_charged())

    def read_charged(self) -> int | None:
        """Return what its memory cgroup is charged with, None where it has none of its own."""
        if not self.is_capped:
            return None
        with contextlib.suppress(ProcessError):
            if self._group is not None:
                return self._group.read().usage_bytes
            return read_cgroup(find_cgroup(self.pid)).usage_bytes
        return None

    def _read_end(self) -> ServiceEnd:
        up_s = time.monotonic() - self._started_s
        logs = self._running.read_logs()
        if isinstance(self._running, ContainerApp):
            ended = self._running.wait(END_TIMEOUT_S)
            is_killed, exit_code = ended.is_oom_killed, ended.exit_code
            logs = self._running.read_logs()
        else:
            exit_code = self._running.wait(END_TIMEOUT_S)
            is_killed = self._group is not None and self._group.read().oom_kills > 0
        terms = logs.count("\n")
        last_line = (logs.splitlines() or [""])[-1]
        return ServiceEnd(is_killed, exit_code, up_s, terms, terms / self._terms.rate, last_line)
