"""Programs under letters: traced side by side, and shown without their names.

traces = run_or_replay("06_eight_programs", lambda: observe_together(rates, seconds=10))
lineup = draw_lineup(traces)
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from lablib.analysis import judge_trace
from lablib.apps import LocalApp, build_app
from lablib.language import say, term
from lablib.records import HeapTrace, ProcessVerdict, StackVerdict, TraceOptions
from lablib.scanning import sample_and_scan
from lablib.sources import PRELOAD, Source, choose_source, open_tracer
from lablib.symbols import ProcessSymbols
from lablib.teaching.classifier import KINDS, Classifier
from lablib.teaching.experiments import COUNTED_FROM_INSIDE
from lablib.teaching.tables import show_table
from lablib.tracing.client import Tracer


@dataclass(frozen=True)
class Suspect:
    """A traced program under a letter: `name` is the app's, `kinds` are the right names for it.

    `summary` says in a few words what the program does; `verdict` is what lablib says.
    """

    letter: str
    name: str
    summary: str
    kinds: tuple[str, ...]
    trace: HeapTrace
    verdict: ProcessVerdict

    @property
    def busiest(self) -> StackVerdict:
        """The verdict on the call stack that allocated most blocks of the heap."""
        heap = (stack for stack in self.verdict.stacks if stack.usage.kind == "heap")
        return max(heap, key=lambda stack: stack.usage.allocated_blocks)


@dataclass(frozen=True)
class _Program:
    """An app of the blind test: its rate in terms a second, and what it may rightly be called.

    `summary` says what it does, as its truth file has it.
    """

    rate: float
    kinds: tuple[str, ...]
    summary: str


_EIGHT = {
    "fib_leak": _Program(
        30, ("leaking",), term("a thread computes Fibonacci numbers and never frees them")
    ),
    "error_path": _Program(
        100, ("leaking",), term("a server refuses malformed requests, and keeps their buffers")
    ),
    "session_registry": _Program(
        100, ("growing",), term("who logs out is marked, and stays in the table")
    ),
    "warm_up": _Program(
        25,
        ("plateau",),
        term("a map computes each table when it is first needed, and then has them all"),
    ),
    "lru_cache": _Program(
        25,
        ("plateau", "churn"),
        term("a cache of addresses fills, and then drops the oldest for each new one"),
    ),
    "sawtooth": _Program(
        30, ("churn",), term("records are collected for a batch, and freed together")
    ),
    "alloc_free": _Program(100, ("churn",), term("a block is allocated and freed, term by term")),
    "arena_retention": _Program(
        25,
        ("retention",),
        term("a large document is closed, and a small block keeps its heap from shrinking"),
    ),
}
"""At these rates each shows in ten seconds what it is; what fills is full after four of them."""


def observe_eight(seconds: float, interval_s: float = 0.25) -> dict[str, HeapTrace]:
    """Run eight apps of all kinds at the same time; return their traces by name.

    Each is traced from its first term on, and scanned for lost blocks on the way. All of them have
    ended when it returns. Raises `LabError`.
    """
    source = choose_source()
    if source.name == PRELOAD:
        print(say(COUNTED_FROM_INSIDE))
    with ExitStack() as running:
        started = {
            name: _start(running, name, program.rate, source) for name, program in _EIGHT.items()
        }
        with ThreadPoolExecutor(len(started)) as pool:
            traces = pool.map(lambda each: each.watch(seconds, interval_s), started.values())
            return dict(zip(started, traces, strict=True))


@dataclass(frozen=True)
class _Started:
    """An app that waits for its release, and its tracer."""

    app: LocalApp
    tracer: Tracer

    def watch(self, seconds: float, interval_s: float) -> HeapTrace:
        self.tracer.begin_now()
        self.app.release()
        for _ in sample_and_scan(self.tracer, seconds, interval_s):
            pass
        return self.tracer.trace


def _start(running: ExitStack, name: str, rate: float, source: Source) -> _Started:
    """Start and trace an app; `running` ends both."""
    instrument = source.make_instrument()
    app = running.enter_context(LocalApp(build_app(name), rate, instrument=instrument))
    symbols = running.enter_context(closing(ProcessSymbols(app.pid)))
    options = TraceOptions(opens_window=False)
    tracer = running.enter_context(open_tracer(app.pid, symbols, options, instrument))
    symbols.preload()  # while nothing is measured yet
    tracer.snapshot()
    return _Started(app, tracer)


def draw_lineup(traces: Mapping[str, HeapTrace], seed: int | None = None) -> tuple[Suspect, ...]:
    """Return the programs under the letters A, B, C ... in an order that is drawn anew.

    `seed` draws the same order again.
    """
    order = random.Random(seed).sample(sorted(traces), len(traces))
    return tuple(
        _make_suspect(letter, name, traces[name])
        for letter, name in zip(string.ascii_uppercase, order, strict=False)
    )


def show_blocks(lineup: Sequence[Suspect]) -> None:
    """Display how many blocks each has allocated, how many were freed, and how many old ones live.

    They are those of the call stack that allocated most. The old ones are those from the first half
    of the time: what share of them lives is known where a scan could look.
    """
    rows = []
    for suspect in lineup:
        usage, evidence = suspect.busiest.usage, suspect.busiest.evidence
        assert evidence is not None
        survival = evidence.survival if usage.live_blocks else 0.0
        rows.append(
            (
                suspect.letter,
                usage.allocated_blocks,
                f"{100 * evidence.freed_share:.0f} %",
                term("not known") if survival is None else f"{100 * survival:.0f} %",
            )
        )
    columns = (
        term("curve"),
        term("allocated"),
        term("freed"),
        term("of the old ones still live"),
    )
    show_table(term("The blocks of each program"), columns, rows)


def show_answers(lineup: Sequence[Suspect], *rounds: Classifier) -> None:
    """Display what each letter is, what was said of it in each round, and what lablib says."""
    rows = [
        (
            suspect.letter,
            suspect.name,
            suspect.summary,
            *(_word_answer(each, suspect.letter) for each in rounds),
            _word_kind(suspect.verdict.kind),
        )
        for suspect in lineup
    ]
    said = [term("you, round {number}", number=number) for number in range(1, len(rounds) + 1)]
    columns = (term("curve"), term("program"), term("what it does"), *said, "lablib")
    show_table(term("Who is who"), columns, rows)


def show_in_time(lineup: Sequence[Suspect], moments_s: Sequence[float]) -> None:
    """Display what lablib would have said of each program after so many seconds."""
    rows = [
        (
            suspect.name,
            *(_word_kind(judge_trace(take_first(suspect.trace, at)).kind) for at in moments_s),
            _word_kind(suspect.verdict.kind),
        )
        for suspect in lineup
    ]
    columns = (
        term("program"),
        *(term("after {at:g} s", at=at) for at in moments_s),
        term("at the end"),
    )
    show_table(term("What lablib says, and when"), columns, rows)


def _word_answer(given: Classifier, letter: str) -> str:
    said = given.answers.get(letter) if given.score is not None else None
    return say(KINDS[said][0]).lower() if said else "-"


def _word_kind(kind: str) -> str:
    return term(_KINDS_IN_WORDS.get(kind, kind))


_KINDS_IN_WORDS = {
    "leaking": term("leaking"),
    "growing": term("growing"),
    "plateau": term("plateau"),
    "churn": term("churn"),
    "retention": term("retention"),
    "clean": term("clean"),
    "undecided": term("not enough evidence yet"),
}


def take_first(trace: HeapTrace, seconds: float) -> HeapTrace:
    """Return the snapshots and scans of the first seconds: all that was known then."""
    return replace(
        trace,
        snapshots=tuple(shot for shot in trace.snapshots if shot.elapsed_s <= seconds),
        scans=tuple(scan for scan in trace.scans if scan.elapsed_s <= seconds),
    )


def _make_suspect(letter: str, name: str, trace: HeapTrace) -> Suspect:
    program = _EIGHT[name]
    return Suspect(letter, name, program.summary, program.kinds, trace, judge_trace(trace))
