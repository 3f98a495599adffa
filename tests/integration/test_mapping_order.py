"""What a process maps and unmaps stays exact, however often one looks while it does."""

from contextlib import closing

import pytest

from lablib.apps import LocalApp, build_app
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer

pytestmark = pytest.mark.usefixtures("tracer_service")

TERMS, RATE = 15_000, 5_000
MIN_LOOKS = 20
PAGE_BYTES = 4096


def test_reports_that_come_while_they_are_read_are_entered_in_their_order():
    with (
        LocalApp(build_app("mmap_short"), rate=RATE, terms=TERMS) as app,
        closing(ProcessSymbols(app.pid)) as symbols,
        Tracer(app.pid, symbols) as tracer,
    ):
        app.release()
        looks = 0
        while tracer.snapshot().is_running:
            looks += 1
        last = tracer.stop()
    assert looks > MIN_LOOKS
    (windows,) = (
        usage
        for usage in last.mappings
        if any(frame.function == "open_window" for frame in usage.frames)
    )
    assert (windows.allocated_blocks, windows.live_blocks) == (TERMS, TERMS)
    assert windows.live_bytes == TERMS * PAGE_BYTES
