"""The program run ahead of time: as fast as it goes, without a limit, looked at every N terms.

In service a term takes a fifth of a second. Here thousands take a moment, and it is known to the
term how many were done when it was looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

from lablib.apps import LocalApp
from lablib.errors import AppError, LabError
from lablib.records import AppFiles, Rehearsal, RehearsalRound
from lablib.resources import parse_status
from lablib.scanning import MIN_AGE_S, refuse_scans, scan
from lablib.sources import Source, choose_source, open_tracer
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer

TERMS = 500
ROUNDS = 5
ROUND_TIMEOUT_S = 60.0
KIB = 1024

Looked = TypeVar("Looked")


def rehearse(
    app: AppFiles, terms: int = TERMS, rounds: int = ROUNDS, source: Source | None = None
) -> Rehearsal:
    """Return what a program holds after `terms` terms, twice as many, and so on.

    It runs twice: once with nobody looking but the kernel, and once traced, from its first term on,
    with a look at the end at what still points at its blocks. A run that ends before its last round
    (each may have 256 MiB) is told as far as it came. Raises `LabError` where it can't be built or
    traced.
    """
    source = source or choose_source()
    with ExitStack() as running:
        plain = running.enter_context(LocalApp(app, 0, terms, stays=True))
        seen, ended_early = _go(plain, rounds, lambda done: _read_round(plain.pid, done * terms))
    with ExitStack() as running:
        instrument = source.make_instrument()
        traced = running.enter_context(LocalApp(app, 0, terms, True, instrument))
        symbols = running.enter_context(closing(ProcessSymbols(traced.pid)))
        tracer = running.enter_context(open_tracer(traced.pid, symbols, instrument=instrument))
        shots, said = _go(traced, rounds, lambda done: tracer.snapshot())
        time.sleep(2 * MIN_AGE_S)  # the last round took less, and its blocks are too young to say
        try_scan(tracer)
        trace = tracer.trace
    counts = tuple((number + 1) * terms for number in range(len(shots)))
    return Rehearsal(trace.source, tuple(seen), trace, counts, ended_early or said)


def try_scan(tracer: Tracer) -> None:
    """Look what still points at the blocks; where that can't be done, the trace says why."""
    try:
        tracer.keep_scan(scan(tracer))
    except LabError as error:
        refuse_scans(tracer, error.message)


def _go(app: LocalApp, rounds: int, look: Callable[[int], Looked]) -> tuple[list[Looked], str]:
    """Release an app again and again, and look each time; return that, and why it ended, if so."""
    seen: list[Looked] = []
    for done in range(1, rounds + 1):
        app.release()
        try:
            app.wait_for_terms(ROUND_TIMEOUT_S, done)
        except AppError:
            said = (app.read_logs().splitlines() or ["it said nothing"])[-1]
            return seen, said
        seen.append(look(done))
    return seen, ""


def _read_round(pid: int, terms: int) -> RehearsalRound:
    folder = Path(f"/proc/{pid}")
    status = (folder / "status").read_text()
    sizes = parse_status(status)
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    rss_bytes, peak_bytes = (int(fields[name].split()[0]) * KIB for name in ("VmRSS", "VmHWM"))
    return RehearsalRound(
        terms=terms,
        rss_bytes=rss_bytes,
        peak_rss_bytes=peak_bytes,
        rss_anon_bytes=sizes["rss_anon_bytes"],
        vm_size_bytes=sizes["vm_size_bytes"],
        mappings=(folder / "maps").read_bytes().count(b"\n"),
        threads=sizes.get("threads", 1),
    )
