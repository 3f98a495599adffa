"""The notebook's side of the pressure tracer: reclaim, swapping and OOM kills, by tracepoint.

    with CappedGroup(64 << 20) as group, PressureTracer(group) as tracer:
        group.take(app.pid)
        ...
        trace = tracer.stop()

A process that needs a page where none is to be had takes others back first: that is counted, and
how long it took. What the kernel's own thread (kswapd) takes back in the background is not, nor
what somebody else takes. A page that is written is counted once however large it is: with huge
pages switched off, as in the leaky apps, it is one of `page_bytes`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from lablib.records import OomKill, PressureTrace, ReclaimTotals, Target
from lablib.tracing.client import SOURCE, ask, connect, read_command
from lablib.tracing.decoder import decode_missed
from lablib.tracing.groups import CappedGroup

KIB = 1024


class PressureTracer(AbstractContextManager["PressureTracer"]):
    """A pressure tracing session; a context manager that detaches."""

    def __init__(self, target: int | CappedGroup) -> None:
        """Watch a process and the children it makes, or all that is and comes into a group.

        A process is told from others as soon as the service has looked, 0.05 s after it was put
        into the group. Raises `TargetError` when the process is gone or not yours, `TracerError`
        when the service does not run or can't attach.
        """
        wanted: dict[str, Any]
        if isinstance(target, CappedGroup):
            self.target, wanted = Target(0, str(target.path)), {"group": target.name}
        else:
            self.target, wanted = Target(target, read_command(target)), {"pid": target}
        self._connection = connect()
        try:
            self._description, _ = ask(self._connection, b"", operation="trace_pressure", **wanted)
        except BaseException:
            self._connection.close()
            raise

    def __exit__(self, *_: object) -> None:
        """Detach; the target runs on."""
        self._connection.close()

    def read(self) -> PressureTrace:
        """Return what has happened so far. Works after the target's end."""
        return self._read("read")

    def stop(self) -> PressureTrace:
        """Stop counting, and return all that has happened until then; then detach."""
        return self._read("stop")

    def _read(self, operation: str) -> PressureTrace:
        header, _ = ask(self._connection, operation=operation)
        return decode_pressure(header, self._description, self.target)


def decode_pressure(
    header: Mapping[str, Any], description: Mapping[str, Any], target: Target
) -> PressureTrace:
    """Return the record of what a session has sent."""
    opened_ns = int(description["opened_ns"])
    kills = [_decode_victim(victim, opened_ns) for victim in header["victims"]]
    reclaims = {kind: _decode_reclaim(totals) for kind, totals in header["reclaims"].items()}
    return PressureTrace(
        source=SOURCE,
        kernel=os.uname().release,
        target=target,
        seconds=(header["now_ns"] - opened_ns) / 1e9,
        oom_kills=tuple(sorted(kills, key=lambda kill: kill.elapsed_s)),
        major_faults=header["major_faults"],
        page_bytes=int(description["page_bytes"]),
        unavailable=dict(description["unavailable"]),
        missed_by_reason=decode_missed(header["counters"]),
        **reclaims,
    )


def _decode_victim(victim: Mapping[str, Any], opened_ns: int) -> OomKill:
    def size_bytes(name: str) -> int | None:
        return None if victim[name] is None else int(victim[name]) * KIB

    return OomKill(
        elapsed_s=(victim["time_ns"] - opened_ns) / 1e9,
        pid=victim["tgid"],
        command=victim.get("command", ""),
        score=victim.get("score"),
        score_adj=victim.get("score_adj"),
        vm_size_bytes=size_bytes("vm_kib"),
        rss_anon_bytes=size_bytes("anon_kib"),
        rss_file_bytes=size_bytes("file_kib"),
        rss_shared_bytes=size_bytes("shared_kib"),
    )


def _decode_reclaim(totals: Mapping[str, int]) -> ReclaimTotals:
    return ReclaimTotals(
        count=totals["count"],
        seconds=totals["ns"] / 1e9,
        longest_s=totals["longest_ns"] / 1e9,
        reclaimed_pages=totals["reclaimed_pages"],
        written_pages=totals["written_pages"],
        swapped_out_pages=totals["swapped_out_pages"],
    )
