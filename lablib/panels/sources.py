"""Where a panel's records come from: read live, or a recording that is replayed at its own pace.

A panel may cost the notebook 2 % of a processor and no more, however large the process is: where
reading a record and drawing it take long, records come less often, and the panel says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias, TypeVar, cast

Record = TypeVar("Record")
Source: TypeAlias = "Iterable[Record] | Callable[[], Iterable[Record] | Record] | Record"
"""What a panel takes: a function that reads one record, and is asked again and again; a function
that starts to give records; records as they come; or a sequence of records, or one, at hand.
Only a function can be started twice, and what is at hand is a recording."""

MAX_SHARE = 0.014
"""Of a processor, for the thread that reads and draws: to send what it drew costs some more."""
_FRAMES_AVERAGED = 4


def is_recording(source: Source[Record]) -> bool:
    """Return whether the records are all at hand, so that they can't be live."""
    return isinstance(source, Sequence) or not (callable(source) or isinstance(source, Iterable))


class Pace:
    """When to read the next record: `interval_s` seconds after the last one, or later.

    Later where what the thread does between two calls of `wait` would take more than `MAX_SHARE` of
    a processor, which `is_slowed` says, or more than half of the time. It is for one thread.
    """

    def __init__(self, interval_s: float, stopping: threading.Event) -> None:
        self.stopping = stopping
        self.interval_s = interval_s
        self.is_slowed = False
        self._work_s = 0.0
        self._woke_s = time.monotonic()
        self._worked_s = time.thread_time()

    def wait(self) -> bool:
        """Wait until a record is due; return False at once when the panel stops."""
        work_s = time.thread_time() - self._worked_s
        self._work_s += (work_s - self._work_s) / _FRAMES_AVERAGED
        needed_s = self._work_s / MAX_SHARE
        self.is_slowed = needed_s > self.interval_s
        took_s = time.monotonic() - self._woke_s
        due_s = self._woke_s + max(self.interval_s, needed_s, 2 * took_s)
        is_stopped = self.stopping.wait(max(0.0, due_s - time.monotonic()))
        self._woke_s, self._worked_s = time.monotonic(), time.thread_time()
        return not is_stopped


def open_source(source: Source[Record], pace: Pace) -> Iterator[Record]:
    """Yield the records of a source until it ends or the pace is told to stop.

    Records that are read one by one are read as the pace says, those of a recording come as far
    apart as they were made; what gives records as they come has a pace of its own.
    """
    if callable(source):
        given = source()
        if not isinstance(given, Iterable):
            return poll(cast(Callable[[], Record], source), given, pace)
        source = given
    if isinstance(source, Sequence):
        return replay(source, pace.interval_s, pace.stopping)
    return iter(source) if isinstance(source, Iterable) else iter([source])


def poll(read: Callable[[], Record], first: Record, pace: Pace) -> Iterator[Record]:
    """Yield `first`, then what `read` returns whenever the pace says so."""
    yield first
    while pace.wait():
        yield read()


def replay(
    records: Sequence[Record], interval_s: float, stopping: threading.Event
) -> Iterator[Record]:
    """Yield records that are at hand as far apart as they were made, or `interval_s` seconds."""
    yield from records[:1]
    for before, record in pairwise(records):
        if stopping.wait(_find_pause(before, record, interval_s)):
            return
        yield record


def _find_pause(before: object, record: object, interval_s: float) -> float:
    times = getattr(before, "elapsed_s", None), getattr(record, "elapsed_s", None)
    if times[0] is None or times[1] is None:
        return interval_s
    return max(0.0, float(times[1] - times[0]))
