"""What a program has mapped by itself, from its own reports: see interposer/mappings.h.

The stacks of threads and malloc's arenas are reported when they are first used. Nobody reports
when the C library gives one back: so it is looked up whether they are still mapped.
"""

from __future__ import annotations

import os
from pathlib import Path

from lablib.preload.segment import MappingReport, Segment
from lablib.tracing.mappings import (
    EVENT_KINDS,
    Key,
    MappingEvent,
    MappingLedger,
    MappingTotals,
)
from lablib.tracing.protocol import MAPPING_CLASSES

_OF_LIBC = ("thread_stack", "arena")


class Ledger:
    """The ledger of one process's mappings, kept up by looking at its reports now and then."""

    def __init__(self, pid: int, segment: Segment) -> None:
        """Begin with nothing on record."""
        self._pid = pid
        self._segment = segment
        self._ledger = MappingLedger(os.sysconf("SC_PAGE_SIZE"))
        self._of_libc: dict[int, MappingReport] = {}

    def totals(self) -> dict[Key, MappingTotals]:
        """Return the totals as of the last look, by kind and stack."""
        return self._ledger.totals()

    def update(self, is_running: bool) -> None:
        """Enter what has been reported since the last look; what is gone counts as unmapped."""
        for report in self._segment.take_reports():
            self._enter(report)
        if self._of_libc and is_running:
            self._drop_gone()

    def _enter(self, report: MappingReport) -> None:
        name = MAPPING_CLASSES[report.mapping_class]
        kind = EVENT_KINDS[report.kind]
        if kind == "map" and name in _OF_LIBC:
            if report.address in self._of_libc:
                return  # a stack of before, used again
            self._of_libc[report.address] = report
        self._ledger.apply(
            MappingEvent(
                report.time_ns,
                kind,
                report.thread,
                report.address,
                report.length_bytes,
                report.stack_id,
                name,
            )
        )

    def _drop_gone(self) -> None:
        try:
            lines = Path(f"/proc/{self._pid}/maps").read_text(errors="replace").splitlines()
        except OSError:
            return
        spans = [[int(end, 16) for end in line.split(" ", 1)[0].split("-")] for line in lines]
        for address, report in list(self._of_libc.items()):
            last = address + report.length_bytes - 1
            if not any(start <= last < end for start, end in spans):
                del self._of_libc[address]
                self._ledger.apply(
                    MappingEvent(
                        report.time_ns, "unmap", report.thread, address, report.length_bytes
                    )
                )
