"""The notebook's side of an experiment with little memory: a capped cgroup, and swap for it.

    with CappedGroup(64 << 20, swap_bytes=32 << 20) as group, SteeredApp(build_app("eater")) as app:
        group.take(app.pid)
        app.ask("grow", 8)
        for memory in group.sample(10, interval_s=0.5):
            ...

When the block is left, or this process ends however it does, what is in the group is killed, and
group and swap are removed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from lablib.errors import TracerError
from lablib.language import term
from lablib.records import CgroupMemory
from lablib.system import read_cgroup
from lablib.tracing.client import ask, connect

SWAP_SOURCES = {
    "none": term("no swap"),
    "machine": term("the machine's own swap"),
    "zram": term("a compressed disk in memory (zram)"),
    "file": term("a file on disk"),
}
"""What `CappedGroup.swap_source` may say, in words."""


class CappedGroup(AbstractContextManager["CappedGroup"]):
    """A memory cgroup with a limit, for processes of yours; a context manager that removes it.

    Several threads may use it. `path` is its folder, `swap_source` one of `SWAP_SOURCES`.
    """

    def __init__(self, limit_bytes: int, swap_bytes: int = 0) -> None:
        """Make a group that may have `limit_bytes` in memory, and `swap_bytes` more in swap.

        Limits are within `protocol.GROUP_LIMITS`. Raises `TracerError` where the service does not
        run or this machine has no room for it now: the sentence has the numbers.
        """
        self.limit_bytes = limit_bytes
        self.swap_bytes = swap_bytes
        self._turn = threading.Lock()
        self._connection = connect()
        try:
            description, _ = ask(
                self._connection,
                operation="make_group",
                limit_bytes=limit_bytes,
                swap_bytes=swap_bytes,
            )
        except BaseException:
            self._connection.close()
            raise
        self._started_s = time.monotonic()
        self.name = str(description["group"])
        self.path = Path(description["path"])
        self.swap_source = str(description["swap_source"])

    def __exit__(self, *_: object) -> None:
        """End what is in the group and remove it, and its swap."""
        self.close()

    def take(self, pid: int) -> None:
        """Put a process that you have started, and all that it will start, into the group.

        What it has already been charged for stays charged where it was: take it before it begins.
        Raises `TargetError` for a process that is gone, or that this process has not started.
        """
        self._ask("take", pid=pid)

    def set_limit(self, limit_bytes: int) -> None:
        """Change the limit of the memory; that of the swap stays. The kernel reclaims at once.

        Where it can't take back enough, cgroups of version 2 kill a process of the group, and those
        of version 1 refuse: `TracerError`.
        """
        self._ask("set_limit", limit_bytes=limit_bytes)
        self.limit_bytes = limit_bytes

    def kill(self) -> None:
        """End all processes in the group, and return when they have ended; the group stays."""
        self._ask("kill")

    def read(self) -> CgroupMemory:
        """Return what is charged to the group now, from its files; `ProcessError` when removed."""
        return read_cgroup(self.path, time.monotonic() - self._started_s)

    def sample(
        self,
        seconds: float,
        interval_s: float = 0.5,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[CgroupMemory]:
        """Yield what is charged to the group every `interval_s`, the first at once."""
        end_s = time.monotonic() + seconds
        next_s = time.monotonic()
        while next_s <= end_s and not should_stop():
            time.sleep(max(0.0, next_s - time.monotonic()))
            next_s += interval_s
            yield self.read()

    def close(self) -> None:
        """End what is in the group and remove it, and its swap; return when that is done."""
        with self._turn:
            if self._connection.fileno() < 0:
                return
            with contextlib.suppress(TracerError):  # the service has ended, and so has the group
                ask(self._connection, operation="close")
            self._connection.close()

    def _ask(self, operation: str, **values: int) -> None:
        with self._turn:
            ask(self._connection, b"", operation=operation, **values)
