"""The corpus under the tracer: one long run of each program, and what shorter ones would see."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from lablib.analysis import judge_trace
from lablib.apps import LocalApp
from lablib.records import AppFiles, HeapTrace, ProcessVerdict
from lablib.scanning import scan
from lablib.sources import EBPF, Source, open_tracer
from lablib.symbols import ProcessSymbols

MOMENTS_S = (3, 10, 30)
"""After so many seconds a verdict is given."""

INTERVAL_S = 0.5
_EBPF = Source(EBPF)
_WORDS = {
    "leaking": "leak",
    "growing": "growing",
    "undecided": "undecided",
    **dict.fromkeys(["plateau", "churn", "clean", "retention"], "fine"),
}


@dataclass(frozen=True)
class Judgement:
    """What the lab says of a program after some seconds, and whether that is right.

    `word` is leak, growing, fine or undecided. `is_placed` says, of a leak that is on the heap or
    mapped, whether one of the stacks that are said to leak goes through the function that does it.
    """

    seconds: int
    verdict: ProcessVerdict
    word: str
    is_wrong: bool
    is_placed: bool


def run_app(
    app: AppFiles,
    seconds: float,
    moments_s: Sequence[float] = MOMENTS_S,
    source: Source = _EBPF,
) -> HeapTrace:
    """Return a trace of a program's first seconds, scanned as all the shorter ones would have been.

    Raises `LabError`.
    """
    due_s = sorted(_scan_times(seconds) | {moment for moment in moments_s if moment < seconds})
    instrument = source.make_instrument()
    with (
        LocalApp(app, float(app.truth["rate"]), instrument=instrument) as running,
        closing(ProcessSymbols(running.pid)) as symbols,
        open_tracer(running.pid, symbols, instrument=instrument) as tracer,
    ):
        running.release()
        for snapshot in tracer.sample(seconds + INTERVAL_S, INTERVAL_S):
            if due_s and snapshot.elapsed_s >= due_s[0] - INTERVAL_S / 2 and snapshot.is_running:
                due_s.pop(0)
                tracer.keep_scan(scan(tracer))
        return tracer.trace


def cut_trace(trace: HeapTrace, seconds: float) -> HeapTrace:
    """Return what a trace of only so many seconds would have seen: it ends behind its last scan."""
    usual = sorted(_scan_times(seconds))
    early_s = INTERVAL_S / 2
    scans = []
    for each in trace.scans:
        if usual and each.elapsed_s >= usual[0] - early_s:
            scans.append(each)
            usual = [due_s for due_s in usual if due_s - early_s > each.elapsed_s]
    end_s = max(seconds, scans[-1].elapsed_s if scans else 0.0)
    count = sum(shot.elapsed_s <= end_s for shot in trace.snapshots)
    return replace(trace, snapshots=trace.snapshots[: count + 1], scans=tuple(scans))


def _scan_times(seconds: float) -> set[float]:
    times, next_s = {seconds}, 1.0
    while next_s < seconds:
        times.add(next_s)
        next_s *= 2
    return times


def judge_app(app: AppFiles, trace: HeapTrace, seconds: int) -> Judgement:
    """Return what the lab says of a program after so many seconds of its trace."""
    verdict = judge_trace(cut_trace(trace, seconds))
    word = _WORDS[verdict.kind]
    is_leak = bool(app.truth["is_leak"])
    is_opposite = (is_leak and word == "fine") or (not is_leak and word == "leak")
    is_other_kind = word != "undecided" and verdict.kind not in app.truth["verdicts"]
    return Judgement(seconds, verdict, word, is_opposite or is_other_kind, _is_placed(app, verdict))


def _is_placed(app: AppFiles, verdict: ProcessVerdict) -> bool:
    sites = {leak["function"] for leak in app.truth["leaks"] if leak["what"] in _ON_STACKS}
    found = {
        frame.function
        for stack in verdict.stacks
        if stack.kind in ("leaking", "growing")
        for frame in stack.usage.frames
    }
    return not sites or bool(sites & found)


_ON_STACKS = ("heap", "mapping", "thread_stack")
