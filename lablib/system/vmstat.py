"""The machine's memory over time: procps' vmstat, line by line."""

from __future__ import annotations

import dataclasses
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import IO

from lablib.errors import LabError, ToolMissingError
from lablib.language import term
from lablib.records import VmstatSample
from lablib.resources import read_rss_bytes
from lablib.system.swap import read_meminfo

KIB = 1024

# vmstat's column -> (field of VmstatSample, what one unit of the column is). Sizes and swap traffic
# are in KiB; bi and bo count blocks, which Linux reports as KiB (vmstat(8)).
_COLUMNS = {
    "r": ("runnable", 1),
    "b": ("blocked", 1),
    "swpd": ("swapped_bytes", KIB),
    "free": ("free_bytes", KIB),
    "buff": ("buffer_bytes", KIB),
    "cache": ("cache_bytes", KIB),
    "si": ("swap_in_bytes_per_s", KIB),
    "so": ("swap_out_bytes_per_s", KIB),
    "bi": ("blocks_in_per_s", 1),
    "bo": ("blocks_out_per_s", 1),
    "in": ("interrupts_per_s", 1),
    "cs": ("context_switches_per_s", 1),
    "us": ("user_percent", 1),
    "sy": ("system_percent", 1),
    "id": ("idle_percent", 1),
    "wa": ("wait_percent", 1),
}

_SIZES = ("swapped_bytes", "free_bytes", "buffer_bytes", "cache_bytes")
_ENVIRONMENT = {**os.environ, "LC_ALL": "C"}


def parse_vmstat_line(
    columns: Sequence[str], line: str, elapsed_s: float, rss_bytes: int | None = None
) -> VmstatSample:
    """Return one line of vmstat as a record; `columns` are the names in its second header line.

    Columns that we don't know (st, gu) are passed over. Raises `LabError` where one is missing.
    """
    by_name = dict(zip(columns, line.split(), strict=False))
    try:
        fields = {field: int(by_name[name]) * unit for name, (field, unit) in _COLUMNS.items()}
    except (KeyError, ValueError):
        raise LabError(
            term("this vmstat prints something else than we know: {said}", said=line.strip())
        ) from None
    return VmstatSample(elapsed_s=elapsed_s, rss_bytes=rss_bytes, **fields)


def sample_vmstat(
    interval_s: int = 1,
    pid: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[VmstatSample, None, None]:
    """Yield what `vmstat` prints every `interval_s` seconds, until closed or told to stop.

    With `pid`, each sample also has that process's resident set at that moment. The first sample
    comes at once; its rates (per second, per cent) are averages since the machine was started.
    Raises `ToolMissingError` without vmstat.

    The rates come from one vmstat that runs on; the sizes from a new one for each sample, because
    the vmstat of procps 4.0.2 (Debian 12) reads the sizes once and repeats them for ever.
    """
    if shutil.which("vmstat") is None:
        raise ToolMissingError(
            term("vmstat is not installed"), term("run: sudo apt-get install procps")
        )
    process = subprocess.Popen(
        ["vmstat", "-n", str(interval_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
    )
    assert process.stdout is not None
    started_s = time.monotonic()
    columns: list[str] = []
    try:
        for line in _read_lines(process.stdout, should_stop):
            if line.split()[:2] == ["r", "b"]:
                columns = line.split()
            elif columns:
                elapsed_s = time.monotonic() - started_s
                rss_bytes = None if pid is None else read_rss_bytes(pid)
                rates = parse_vmstat_line(columns, line, elapsed_s, rss_bytes)
                sizes = _read_vmstat_once(elapsed_s)
                yield dataclasses.replace(
                    rates,
                    available_bytes=read_meminfo()["MemAvailable"],
                    **{name: getattr(sizes, name) for name in _SIZES},
                )
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _read_vmstat_once(elapsed_s: float) -> VmstatSample:
    printed = subprocess.run(
        ["vmstat", "-n"], capture_output=True, text=True, check=True, env=_ENVIRONMENT
    ).stdout.splitlines()
    return parse_vmstat_line(printed[-2].split(), printed[-1], elapsed_s)


def _read_lines(stream: IO[bytes], should_stop: Callable[[], bool]) -> Iterator[str]:
    """Yield the lines of a pipe as they come, looking ten times a second whether to stop."""
    pending = b""
    while not should_stop():
        if not select.select([stream], [], [], 0.1)[0]:
            continue
        chunk = os.read(stream.fileno(), 1 << 16)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        yield from (line.decode() for line in lines)
