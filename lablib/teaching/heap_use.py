"""The app `blocks`, led through some steps: what it uses after each, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lablib.apps import build_app
from lablib.proc import read_sizes
from lablib.records import HeapUse
from lablib.steering import SteeredApp


def follow_heap(steps: Iterable[Sequence[str | int]]) -> tuple[HeapUse, ...]:
    """Return the heap's use after each step, taken by a `blocks` of its own.

    A step is a command with its numbers: ("allocate", 1000, 100). The live bytes come from malloc
    (mallinfo2), the resident ones from /proc/PID/status. Raises `AppError` for what the app
    refuses, and where the C library is older than glibc 2.33.
    """
    used = []
    with SteeredApp(build_app("blocks")) as app:
        start_bytes = read_sizes(app.pid, with_pss=False).rss_bytes
        for command, *values in steps:
            app.ask(str(command), *values)
            live_bytes = app.ask("info")["used_bytes"]
            rss_bytes = read_sizes(app.pid, with_pss=False).rss_bytes - start_bytes
            used.append(HeapUse(" ".join(map(str, [command, *values])), live_bytes, rss_bytes))
    return tuple(used)
