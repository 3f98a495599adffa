"""Where a panel's records come from: read live, or a recording that is replayed at its own pace."""

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


def is_recording(source: Source[Record]) -> bool:
    """Return whether the records are all at hand, so that they can't be live."""
    return isinstance(source, Sequence) or not (callable(source) or isinstance(source, Iterable))


def open_source(
    source: Source[Record], interval_s: float, stopping: threading.Event
) -> Iterator[Record]:
    """Yield the records of a source until it ends or `stopping` is set.

    Records that are read one by one are read `interval_s` seconds apart, those of a recording come
    as far apart as they were made; what gives records as they come has a pace of its own.
    """
    if callable(source):
        given = source()
        if not isinstance(given, Iterable):
            return poll(cast(Callable[[], Record], source), given, interval_s, stopping)
        source = given
    if isinstance(source, Sequence):
        return replay(source, interval_s, stopping)
    return iter(source) if isinstance(source, Iterable) else iter([source])


def poll(
    read: Callable[[], Record], first: Record, interval_s: float, stopping: threading.Event
) -> Iterator[Record]:
    """Yield `first`, then what `read` returns every `interval_s` seconds, until `stopping` is set.

    Where a read takes long it is asked less often, so that it never takes half of the time.
    """
    yield first
    pause_s = interval_s
    while not stopping.wait(pause_s):
        began = time.monotonic()
        yield read()
        took_s = time.monotonic() - began
        pause_s = max(interval_s - took_s, took_s)


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
