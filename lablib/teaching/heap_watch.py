"""The heap of a running app, watched while the notebook goes on; recorded where that can't be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

from lablib.errors import LabError
from lablib.language import say
from lablib.records import HeapSnapshot, HeapTrace
from lablib.scanning import sample_and_scan
from lablib.sources import open_tracer
from lablib.study import RunningApp
from lablib.symbols import ProcessSymbols
from lablib.teaching.experiments import (
    COUNTED_FROM_INSIDE,
    RECORDINGS_DIR,
    keep_recording,
    try_or_replay,
)
from lablib.tracing.client import Tracer
from lablib.tracing.control import start_service


class HeapWatch(AbstractContextManager["HeapWatch"]):
    """An app's heap by call stack, from its release on, sampled by a thread of its own.

    What still points at its blocks is looked at on the way (see `sample_and_scan`).

    Without eBPF a local app counts by itself. Where neither can be had it is the recording `name`,
    as in `run_or_replay`. The app is
    released in any case, and runs on when the watch is over.
    """

    def __init__(
        self,
        name: str,
        app: RunningApp,
        seconds: float,
        interval_s: float = 0.5,
        folder: Path = RECORDINGS_DIR,
    ) -> None:
        """Attach, release the app, and watch it for `seconds`; raises `LabError`."""
        self._name, self._folder = name, folder
        self._seconds, self._interval_s = seconds, interval_s
        self._running = ExitStack()
        self._came = threading.Condition()
        self._stopping = threading.Event()
        self._snapshots: list[HeapSnapshot] = []
        self._error: LabError | None = None
        self._is_over = False
        attached, self.is_live = try_or_replay(name, lambda: self._attach(app), folder)
        app.release()
        self._recorded: HeapTrace | None = None
        if isinstance(attached, HeapTrace):
            self._recorded = attached
        else:
            self._tracer = attached
            self._thread = threading.Thread(target=self._run, name="heap watch", daemon=True)
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self.close()

    @property
    def source(self) -> Callable[[], Iterator[HeapSnapshot]] | Sequence[HeapSnapshot]:
        """What a panel draws: the snapshots as they come, or those of the recording."""
        return self._recorded.snapshots if self._recorded is not None else self.follow

    @property
    def latest(self) -> HeapSnapshot | None:
        """The snapshot that came last, None before the first one."""
        return self._snapshots[-1] if self._snapshots else None

    def follow(self) -> Iterator[HeapSnapshot]:
        """Yield the snapshots from the first on, each as soon as it is there."""
        place = 0
        while new := self._await_more(place):
            yield from new
            place += len(new)
        if self._error is not None:
            raise self._error

    def _await_more(self, place: int) -> list[HeapSnapshot]:
        """Return the snapshots from `place` on once there is one; none when there will be none."""
        with self._came:
            self._came.wait_for(lambda: self._is_over or len(self._snapshots) > place)
            return self._snapshots[place:]

    def finish(self) -> HeapTrace:
        """Wait until the time is over, and return the trace; raises `LabError` if it failed."""
        if self._recorded is not None:
            return self._recorded
        self._thread.join()
        self.close()
        if self._error is not None:
            raise self._error
        keep_recording(self._name, self._tracer.trace, self._folder)
        return self._tracer.trace

    def close(self) -> None:
        """Stop watching, and detach; safe at any time, and more than once."""
        self._stopping.set()
        if self.is_live:
            self._thread.join()
        self._running.close()

    def _attach(self, app: RunningApp) -> Tracer | HeapTrace:
        if app.instrument is None:
            start_service()
        else:
            print(say(COUNTED_FROM_INSIDE))
        with ExitStack() as opened:
            symbols = opened.enter_context(closing(ProcessSymbols(app.pid)))
            tracer = opened.enter_context(open_tracer(app.pid, symbols, instrument=app.instrument))
            # The first one costs memory: vmstat, beside it, shall not see that as the app's.
            self._snapshots.append(tracer.snapshot())
            self._running = opened.pop_all()
        return tracer

    def _run(self) -> None:
        sampled = sample_and_scan(
            self._tracer, self._seconds, self._interval_s, self._stopping.is_set
        )
        try:
            for snapshot in sampled:
                with self._came:
                    self._snapshots.append(snapshot)
                    self._came.notify_all()
        except LabError as error:
            self._error = error
        finally:
            with self._came:
                self._is_over = True
                self._came.notify_all()
