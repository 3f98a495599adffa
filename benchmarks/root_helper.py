"""What the benchmark needs root for: empty probes, bcc's memleak, and how much memory is in use.

Runs as root in the system's Python with the distribution's bcc, started by overhead.py. Reads
requests from standard input and answers on standard output, one JSON object a line each; ends with
its standard input.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.empty_probes import EmptyProbes
from benchmarks.pause import PAUSE, WAITING
from lablib.errors import LabError, ToolMissingError, TracerError
from lablib.tracing import memleak
from lablib.tracing.kernel import enter_private_mounts

_FOREVER_S = "3600"


class Memleak:
    """bcc's memleak as it is, attached to one process."""

    def __init__(self, pid: int) -> None:
        """Start it and return once its probes are in; raises `ToolMissingError`, `TracerError`."""
        tool = next(filter(None, map(shutil.which, memleak.COMMAND_NAMES)), None)
        if tool is None:
            raise ToolMissingError(
                "bcc's memleak is not installed", "run: sudo apt-get install bpfcc-tools"
            )
        script = PAUSE + memleak.BOOTSTRAP
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", script, tool, "-p", str(pid), _FOREVER_S],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._read_until_it_waits()

    def report(self) -> str:
        """Have it report now, and return the report."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read_until_it_waits()

    def stop(self) -> None:
        """Have it take its probes out and end."""
        self._process.communicate()

    def _read_until_it_waits(self) -> str:
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            if line == WAITING:
                return "".join(lines)
            lines.append(line)
        raise TracerError(f"bcc's memleak ended: {''.join(lines)[-200:].strip()}")


def read_memory(service_pid: int) -> dict[str, int]:
    """Return what the tracer service has in use, in bytes: `processes` and `maps`.

    `processes` is the sum of the proportional set sizes (PSS) of the service and its sessions, from
    /proc/PID/smaps_rollup. `maps` is the kernel memory of their BPF maps, each counted once, from
    the `memlock` lines of /proc/PID/fdinfo: since Linux 6.4 what is allocated, before that what the
    map's size would take. Raises `OSError` when the service is gone.
    """
    pss_bytes = 0
    bytes_by_map: dict[str, int] = {}
    for pid in [service_pid, *_read_children(service_pid)]:
        with contextlib.suppress(ProcessLookupError):  # a session that has just ended
            pss_bytes += _read_pss_bytes(pid)
            bytes_by_map |= _read_map_bytes(pid)
    return {"processes": pss_bytes, "maps": sum(bytes_by_map.values())}


def _read_pss_bytes(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("\nPss:")[2].split()[0]) << 10


def _read_map_bytes(pid: int) -> dict[str, int]:
    bytes_by_map = {}
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        fields = dict(re.findall(r"^(memlock|map_id):\s+(\d+)$", info.read_text(), re.M))
        if "map_id" in fields:
            bytes_by_map[fields["map_id"]] = int(fields["memlock"])
    return bytes_by_map


def _read_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Helper:
    """Does what the requests ask, one at a time."""

    def __init__(self) -> None:
        """Compile the empty probes."""
        self._probes = EmptyProbes()
        self._memleak: Memleak | None = None

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do one thing and return the answer; raises `LabError` where it can't be done."""
        what = request["do"]
        started_s = time.monotonic()
        answer: dict[str, Any] = {}
        if what == "attach_empty":
            self._probes.attach(request["pid"])
        elif what == "attach_memleak":
            self._memleak = Memleak(request["pid"])
        elif what == "report_memleak":
            assert self._memleak is not None
            answer["report"] = self._memleak.report()
        elif what == "detach":
            self.detach()
        elif what == "read_memory":
            answer["memory"] = read_memory(request["pid"])
        else:
            raise TracerError(f"the benchmark's helper can't {what}")
        return {**answer, "seconds": time.monotonic() - started_s}

    def detach(self) -> None:
        """Take off whatever is attached."""
        self._probes.detach()
        if self._memleak is not None:
            self._memleak.stop()
            self._memleak = None


def main() -> None:
    """Answer requests until there are no more; the first answer says that it is ready."""
    try:
        enter_private_mounts()
        helper = Helper()
    except (LabError, ImportError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    print(json.dumps({}), flush=True)
    try:
        for line in sys.stdin:
            try:
                answer = helper.serve(json.loads(line))
            except (LabError, OSError) as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)
    finally:
        helper.detach()
