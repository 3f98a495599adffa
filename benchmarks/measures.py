"""What tracing costs, measured: per pair of malloc and free, per snapshot, per attach, in memory.

Every figure is of one process, pairs.c, under one tracer after the other.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass

import psutil

from benchmarks.commands import Announce
from benchmarks.pairs import Batch, Pairs
from benchmarks.root import RootHelper
from lablib.errors import TracerError
from lablib.symbols import ProcessSymbols
from lablib.tracing import client
from lablib.tracing.client import Tracer

PLAIN, LABLIB, EMPTY, MEMLEAK = "plain", "lablib", "empty probes", "memleak"
TRACERS = (PLAIN, LABLIB, EMPTY, MEMLEAK)

THREADS = 8
LIVE_BLOCKS = 1_000_000
CYCLES = 5
BATCHES = 5
_PLAIN_FACTOR = 500  # so many more pairs where nothing slows them down
_PAIRS = 20_000
_PAIRS_PER_THREAD = 2_000
_WARM_UP_PAIRS = 1_000
_SNAPSHOTS = 7
_ATTACHES = 5
_DETACH_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Samples:
    """The batches under one tracer: of one thread, and of `THREADS` threads at once."""

    one: tuple[Batch, ...]
    many: tuple[Batch, ...]

    @property
    def cpu_ns(self) -> tuple[float, ...]:
        """ns of processor time per pair in one thread: what other work on the machine leaves be."""
        return tuple(batch.cpu_ns for batch in self.one)

    @property
    def pairs_per_s(self) -> float:
        """Pairs that `THREADS` threads make together in a second, in their best batch."""
        return 1e9 / min(batch.wall_ns for batch in self.many)

    @property
    def scaling(self) -> float:
        """How many times the pairs per second of one thread `THREADS` threads can make together.

        By processor time: as many as there are processors, less what waiting for each other takes.
        """
        processors = min(THREADS, len(os.sched_getaffinity(0)))
        return processors * min(self.cpu_ns) / min(batch.cpu_ns for batch in self.many)

    def __add__(self, other: Samples) -> Samples:
        """Return the batches of both."""
        return Samples(self.one + other.one, self.many + other.many)


@dataclass(frozen=True)
class Attach:
    """Seconds from the wish to trace a program to its first snapshot, by part."""

    symbols_s: float
    attach_s: float
    snapshot_s: float

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.symbols_s + self.attach_s + self.snapshot_s


@dataclass(frozen=True)
class MillionBlocks:
    """What `LIVE_BLOCKS` live blocks cost: a snapshot's seconds, a pair, the service's bytes.

    The first snapshot also resolves the symbols of all 1,024 stacks; `snapshots_s` are later ones.
    `pair_ns` is the processor time of a pair beside the live blocks, the least of `BATCHES`.
    """

    first_snapshot_s: float
    snapshots_s: tuple[float, ...]
    pair_ns: float
    process_bytes: int
    map_bytes: int
    memleak_report_s: float


@contextmanager
def trace_with_lablib(app: Pairs) -> Iterator[Tracer]:
    """Attach lablib's tracer to the program as long as the context lasts."""
    with closing(ProcessSymbols(app.pid)) as symbols, Tracer(app.pid, symbols) as tracer:
        yield tracer
    _await_detach()


def _await_detach() -> None:
    """Return once the service's sessions have ended: the kernel takes a while over each probe."""
    service = psutil.Process(int(client.read_status()["pid"]))
    deadline_s = time.monotonic() + _DETACH_TIMEOUT_S
    while any(_is_running(session) for session in service.children()):
        if time.monotonic() > deadline_s:
            raise TracerError("a session of the tracer service did not end")
        time.sleep(0.02)


def _is_running(session: psutil.Process) -> bool:
    try:
        return session.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _attach_by_root(helper: RootHelper, what: str, app: Pairs) -> Iterator[None]:
    helper.ask(what, pid=app.pid)
    try:
        yield
    finally:
        helper.ask("detach")


def _start_tracer(name: str, app: Pairs, helper: RootHelper) -> AbstractContextManager[object]:
    if name == LABLIB:
        return trace_with_lablib(app)
    if name == EMPTY:
        return _attach_by_root(helper, "attach_empty", app)
    if name == MEMLEAK:
        return _attach_by_root(helper, "attach_memleak", app)
    return nullcontext()


def measure_pairs(app: Pairs, helper: RootHelper, announce: Announce) -> dict[str, Samples]:
    """Return the cost of a pair under each of `TRACERS`, one after the other, `CYCLES` times.

    The machine's other work so falls on all of them alike; the last word is plain's again.
    """
    found = {name: Samples((), ()) for name in TRACERS}
    for cycle in range(CYCLES):
        for name in TRACERS:
            announce(f"pairs under {name}, {cycle + 1} of {CYCLES}")
            with _start_tracer(name, app, helper):
                found[name] += _sample(app, _PLAIN_FACTOR if name == PLAIN else 1)
    found[PLAIN] += _sample(app, _PLAIN_FACTOR)
    return found


def _sample(app: Pairs, factor: int) -> Samples:
    app.run(_WARM_UP_PAIRS, THREADS)
    one = [app.run(_PAIRS * factor) for _ in range(BATCHES)]
    many = [app.run(_PAIRS_PER_THREAD * factor, THREADS) for _ in range(BATCHES)]
    return Samples(tuple(one), tuple(many))


def measure_attach(app: Pairs) -> Attach:
    """Return the median of some attaches, each to a first snapshot with symbols in it."""
    found = sorted((_attach_once(app) for _ in range(_ATTACHES)), key=lambda one: one.total_s)
    return found[len(found) // 2]


def _attach_once(app: Pairs) -> Attach:
    start_s = time.monotonic()
    with closing(ProcessSymbols(app.pid)) as symbols:
        opened_s = time.monotonic()
        with Tracer(app.pid, symbols) as tracer:
            attached_s = time.monotonic()
            app.run(1)
            ran_s = time.monotonic()
            snapshot = tracer.snapshot()
            end_s = time.monotonic()
    _await_detach()
    if not snapshot.stacks:
        raise TracerError("the first snapshot was empty")
    return Attach(opened_s - start_s, attached_s - opened_s, end_s - ran_s)


def measure_million_blocks(app: Pairs, helper: RootHelper, announce: Announce) -> MillionBlocks:
    """Return what a million live blocks cost lablib, and how long memleak takes to report them.

    Raises `TracerError` if lablib does not have all of them on record: then its times mean nothing.
    """
    announce(f"{LIVE_BLOCKS:,} live blocks under lablib")
    with trace_with_lablib(app) as tracer:
        app.hold(LIVE_BLOCKS)
        durations_s = []
        for _ in range(1 + _SNAPSHOTS):
            start_s = time.monotonic()
            snapshot = tracer.snapshot()
            durations_s.append(time.monotonic() - start_s)
        if snapshot.live_blocks != LIVE_BLOCKS or snapshot.events.missed:
            raise TracerError(
                f"lablib saw {snapshot.live_blocks:,} live blocks of {LIVE_BLOCKS:,}, "
                f"and missed {snapshot.events.missed:,} events"
            )
        pair_ns = min(app.run(_PAIRS).cpu_ns for _ in range(BATCHES))
        memory = helper.ask("read_memory", pid=int(client.read_status()["pid"]))["memory"]
    app.drop()
    announce(f"{LIVE_BLOCKS:,} live blocks under memleak")
    with _attach_by_root(helper, "attach_memleak", app):
        app.hold(LIVE_BLOCKS)
        report_s = helper.ask("report_memleak")["seconds"]
    app.drop()
    return MillionBlocks(
        durations_s[0],
        tuple(durations_s[1:]),
        pair_ns,
        memory["processes"],
        memory["maps"],
        report_s,
    )


def median_ms(durations_s: tuple[float, ...]) -> float:
    """Return the median of durations in seconds, in milliseconds."""
    return statistics.median(durations_s) * 1e3
