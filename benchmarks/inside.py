"""What counting from inside a program costs, beside heaptrack, which does so too.

Each tool has a process of its own: pairs.c, started below it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measures import Announce, Samples
from benchmarks.other_tools import find_tool
from benchmarks.pairs import Pairs
from lablib.errors import TracerError
from lablib.preload.interposer import Interposer
from lablib.records import TraceOptions
from lablib.sources import open_tracer
from lablib.symbols import ProcessSymbols
from lablib.tracing.client import Tracer

ALONE, PRELOAD, HEAPTRACK = "started alone", "preload", "heaptrack"
INSIDE = (ALONE, PRELOAD, HEAPTRACK)

THREADS = 4
LIVE_BLOCKS = 1_000_000
CYCLES = 5
BATCHES = 5
_PAIRS = 200_000
_SNAPSHOTS = 7


@dataclass(frozen=True)
class Inside:
    """What was measured: pairs by tool, and a million live blocks counted from inside.

    `block_bytes` is the shared memory that a live block takes. The first snapshot also resolves the
    symbols of all 1,024 stacks; `pair_ns` is a pair beside the live blocks.
    """

    pairs: dict[str, Samples]
    block_bytes: float
    first_snapshot_s: float
    snapshots_s: tuple[float, ...]
    pair_ns: float

    def added_ns(self, tool: str) -> float:
        """ns that a tool adds to a pair in one thread: the least of its batches, less alone's."""
        return min(self.pairs[tool].cpu_ns) - min(self.pairs[ALONE].cpu_ns)

    @property
    def scaling(self) -> float:
        """How well `THREADS` threads go side by side, over how well they do alone; 1 is as well."""
        slower = {
            name: min(batch.cpu_ns for batch in self.pairs[name].many)
            / min(self.pairs[name].cpu_ns)
            for name in (ALONE, PRELOAD)
        }
        return slower[ALONE] / slower[PRELOAD]


def measure_inside(program: Path, announce: Announce) -> Inside:
    """Return what counting from inside costs; raises `ToolMissingError` without heaptrack."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-bench-")))
        heaptrack = (find_tool("heaptrack"), "-o", str(folder / "heaptrack"))
        instrument = stack.enter_context(Interposer())
        apps = {
            ALONE: stack.enter_context(Pairs(program)),
            PRELOAD: stack.enter_context(Pairs(program, settings=instrument.settings())),
            HEAPTRACK: stack.enter_context(Pairs(program, below=heaptrack)),
        }
        tracer = stack.enter_context(_trace(apps[PRELOAD], instrument))
        found = {name: Samples((), ()) for name in INSIDE}
        for cycle in range(CYCLES):
            for name, app in apps.items():
                announce(f"pairs {name}, {cycle + 1} of {CYCLES}")
                found[name] += _sample(app)
        announce(f"{LIVE_BLOCKS:,} live blocks under {PRELOAD}")
        return _measure_blocks(apps[PRELOAD], tracer, instrument, found)


@contextmanager
def _trace(app: Pairs, instrument: Interposer) -> Iterator[Tracer]:
    with (
        closing(ProcessSymbols(app.pid)) as symbols,
        open_tracer(app.pid, symbols, TraceOptions(), instrument) as tracer,
    ):
        yield tracer


def _sample(app: Pairs) -> Samples:
    app.run(1000, THREADS)
    one = [app.run(_PAIRS) for _ in range(BATCHES)]
    many = [app.run(2 * _PAIRS, THREADS) for _ in range(BATCHES)]  # a new thread costs 0.1 ms
    return Samples(tuple(one), tuple(many))


def _measure_blocks(
    app: Pairs, tracer: Tracer, instrument: Interposer, pairs: dict[str, Samples]
) -> Inside:
    before_blocks = tracer.snapshot().live_blocks  # what libc keeps for its threads
    before_bytes = instrument.segment.allocated_bytes
    app.hold(LIVE_BLOCKS)
    block_bytes = (instrument.segment.allocated_bytes - before_bytes) / LIVE_BLOCKS
    durations_s = []
    for _ in range(1 + _SNAPSHOTS):
        start_s = time.monotonic()
        snapshot = tracer.snapshot()
        durations_s.append(time.monotonic() - start_s)
    seen = snapshot.live_blocks - before_blocks
    if seen != LIVE_BLOCKS or snapshot.events.missed:
        raise TracerError(
            f"the preload source saw {seen:,} live blocks of {LIVE_BLOCKS:,}, "
            f"and missed {snapshot.events.missed:,} events"
        )
    pair_ns = min(app.run(_PAIRS).cpu_ns for _ in range(BATCHES))
    return Inside(pairs, block_bytes, durations_s[0], tuple(durations_s[1:]), pair_ns)
