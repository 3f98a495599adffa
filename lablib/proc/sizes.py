"""How much memory a process has, and how often it faulted: once, or over time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from lablib.errors import ProcessError
from lablib.proc.errors import make_gone, refuses_in_words
from lablib.records import ProcessSizes

KIB = 1024

# The line of /proc/PID/status, in KiB -> the field of ProcessSizes.
_SIZES = {
    "VmSize": "vm_size_bytes",
    "VmRSS": "rss_bytes",
    "VmSwap": "swap_bytes",
    "RssAnon": "rss_anon_bytes",
    "RssFile": "rss_file_bytes",
    "RssShmem": "rss_shared_bytes",
    "VmStk": "stack_bytes",
    "VmPTE": "page_table_bytes",
}
# The place in /proc/PID/stat, counted from the state behind the command's name -> the field.
_FAULTS = {7: "minor_faults", 9: "major_faults"}

_LONGEST_SLEEP_S = 0.1
_PSS_SHARE = 0.005


@refuses_in_words
def read_sizes(pid: int, elapsed_s: float = 0.0, with_pss: bool = True) -> ProcessSizes:
    """Return the sizes of a process now, with `elapsed_s` as the caller's time.

    From /proc/PID/status in one read, so that they fit together; the faults from stat, the
    proportional set by psutil from smaps_rollup. That one takes the kernel longer the more pages
    are resident: some 1 ms for 75 MiB, and nothing without `with_pss`. Raises `ProcessError` when
    the process is gone or not yours.
    """
    folder = Path(f"/proc/{pid}")
    sizes = parse_status((folder / "status").read_text(errors="replace"))
    if not sizes:
        raise make_gone(pid)
    faults = parse_stat((folder / "stat").read_text(errors="replace"))
    pss_bytes = _read_pss_bytes(pid) if with_pss else None
    return ProcessSizes(elapsed_s=elapsed_s, pss_bytes=pss_bytes, **sizes, **faults)


def sample_sizes(
    pid: int,
    interval_s: float = 0.2,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    pss_interval_s: float = 1.0,
) -> Iterator[ProcessSizes]:
    """Yield the sizes of a process every `interval_s`, the first at once.

    The proportional set is read every `pss_interval_s` only, and not known between: the kernel has
    to look at each resident page for it. The first and the samples after that long have it. Where
    a process is so large that it would take more than a 200th of a processor's time, it is read
    less often.

    Ends after `seconds`, when told to stop (asked ten times a second), or with the process. Raises
    `ProcessError` if the process can't be read even once.
    """
    started_s = time.monotonic()
    yield read_sizes(pid)
    due_s, pss_due_s = interval_s, pss_interval_s
    while seconds is None or due_s <= seconds:
        while (left_s := started_s + due_s - time.monotonic()) > 0 and not stop():
            time.sleep(min(left_s, _LONGEST_SLEEP_S))
        if stop():
            return
        elapsed_s = time.monotonic() - started_s
        with_pss = elapsed_s >= pss_due_s
        began_s = time.thread_time()
        try:
            sizes = read_sizes(pid, elapsed_s, with_pss)
        except ProcessError:
            return
        if with_pss:
            took_s = time.thread_time() - began_s
            pss_due_s = elapsed_s + max(pss_interval_s, took_s / _PSS_SHARE)
        yield sizes
        due_s = max(due_s + interval_s, time.monotonic() - started_s)


def parse_status(text: str) -> dict[str, int]:
    """Return the sizes in a /proc/PID/status, in bytes; nothing for a process without memory."""
    sizes = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in _SIZES:
            sizes[_SIZES[name]] = int(value.split()[0]) * KIB
    return sizes


def parse_stat(text: str) -> dict[str, int]:
    """Return how many faults a /proc/PID/stat counts."""
    words = text.rpartition(")")[2].split()  # the command's name may hold spaces and brackets
    return {field: int(words[place]) for place, field in _FAULTS.items()}


def _read_pss_bytes(pid: int) -> int | None:
    with contextlib.suppress(psutil.AccessDenied):
        return int(psutil.Process(pid).memory_full_info().pss)
    return None
