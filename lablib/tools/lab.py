"""lablib's own tracer, by both of its sources: eBPF from outside, and counted from inside."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass

from lablib.analysis import judge_trace
from lablib.apps import LocalApp
from lablib.records import (
    HeapTrace,
    ProcessVerdict,
    StackVerdict,
    ToolFinding,
    ToolReport,
    ToolTotal,
)
from lablib.scanning import sample_and_scan
from lablib.sources import EBPF, PRELOAD, Source, open_tracer
from lablib.symbols import ProcessSymbols
from lablib.tools.attached import do_terms
from lablib.tools.trial import TIME_LIMIT_S, Trial, read_peak, shorten
from lablib.tracing.client import Tracer
from lablib.tracing.control import start_service

WATCH_S = 3.0
"""How long is looked at least."""

PACED_S = 6.0
"""The terms would take so many seconds; timed ones are done at once, and looked at for as long."""

SPARE = 4
"""So many times the terms are there to do: where a machine is busy one looks late."""

INNOCENT = 4 / 3
"""So many times the terms must be done and looked at before it is taken as said that nothing
leaks: what another program holds up does not grow either."""

INTERVAL_S = 0.25
LEAK_KINDS = ("leaking", "growing")


def run_ebpf(trial: Trial) -> ToolReport:
    """Return what `./lab trace` would say, traced by eBPF."""
    start_service()
    return _run(trial, Source(EBPF))


def run_preload(trial: Trial) -> ToolReport:
    """Return what `./lab trace --source preload` would say: the program counts for itself."""
    return _run(trial, Source(PRELOAD))


@dataclass
class Patience:
    """How long a program is looked at: in terms of its own, of which each prints a line.

    Seconds tell nothing of a program that a busy machine holds up. `terms` are those of the trial,
    `spare_terms` all that there are to do. `shown_terms` are those that the last snapshot has for
    sure: they were done when it was asked the time before.
    """

    terms: int
    spare_terms: int
    shown_terms: int = 0

    def is_over(self, kind: str, said: str) -> bool:
        """Whether a verdict of this kind stands, where the program has printed so much by now."""
        shown, self.shown_terms = self.shown_terms, said.count("\n")
        if kind in LEAK_KINDS or self.shown_terms >= self.spare_terms:
            return True
        return kind != "undecided" and shown >= INNOCENT * self.terms


def _run(trial: Trial, source: Source) -> ToolReport:
    """Trace the program until it can be judged, while it does its terms; timed ones at once."""
    began_s = time.monotonic()
    instrument = source.make_instrument()
    with ExitStack() as running:
        rate = 0 if trial.is_timed else trial.terms / PACED_S
        terms = trial.terms if trial.is_timed else SPARE * trial.terms
        app = running.enter_context(
            LocalApp(trial.app, rate, terms, stays=True, instrument=instrument)
        )
        symbols = running.enter_context(closing(ProcessSymbols(app.pid)))
        tracer = running.enter_context(open_tracer(app.pid, symbols, instrument=instrument))
        symbols.preload()
        tracer.begin_now()
        work_s = None
        if trial.is_timed:
            work_s = do_terms(app)
        else:
            app.release()
        _watch(tracer, app, trial, Patience(trial.terms, terms))
        trace, peak_bytes = tracer.trace, read_peak(app.pid)
    verdict = judge_trace(trace)
    command = f"./lab trace --source {source.name} --pid PID"
    if source.name == PRELOAD:
        command = f"./lab trace --source preload -- {trial.app.name} --terms {terms}"
    return ToolReport(
        command=command,
        raw=shorten(_write_out(verdict)),
        findings=tuple(map(_make_finding, verdict.stacks)),
        totals=_read_totals(trace, verdict),
        seconds=time.monotonic() - began_s,
        work_seconds=work_s,
        peak_rss_bytes=peak_bytes,
        is_early=not trial.is_timed,
    )


def _watch(tracer: Tracer, app: LocalApp, trial: Trial, patience: Patience) -> None:
    """Look until it can be judged; at one whose terms are timed for as long as they would take."""
    began_s = time.monotonic()

    def is_decided() -> bool:
        said = app.read_logs()
        if trial.is_timed or time.monotonic() - began_s < WATCH_S:
            return False
        return patience.is_over(judge_trace(tracer.trace).kind, said)

    longest_s = PACED_S if trial.is_timed else TIME_LIMIT_S
    for _ in sample_and_scan(tracer, longest_s, INTERVAL_S, is_decided):
        pass


def _make_finding(verdict: StackVerdict) -> ToolFinding:
    usage = verdict.usage
    return ToolFinding(
        kind=verdict.kind,
        size_bytes=usage.live_bytes,
        blocks=usage.live_blocks,
        frames=usage.frames,
        is_complaint=verdict.kind in LEAK_KINDS,
    )


def _read_totals(trace: HeapTrace, verdict: ProcessVerdict) -> tuple[ToolTotal, ...]:
    """Return what the verdict says leaks of what the kernel counts: open files."""
    return tuple(
        ToolTotal(each.resource, each.first, each.last, unit="files")
        for each in verdict.resources
        if each.kind in LEAK_KINDS and each.resource == "open files"
    )


def _write_out(verdict: ProcessVerdict) -> str:
    lines = [f"{verdict.kind}: {verdict.sentence}"]
    lines += [f"{each.resource}: {each.sentence}" for each in verdict.resources]
    for stack in verdict.stacks:
        lines.append(f"\n{stack.kind}: {stack.sentence}")
        lines += [f"    {frame}" for frame in stack.usage.frames]
    return "\n".join(lines)
