"""What the case study found: as a record, as a JSON document, and as files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lablib.analysis import judge_trace
from lablib.comparison import describe_comparison
from lablib.errors import LabError
from lablib.language import term
from lablib.plots import plot_live_bytes, plot_vmstat
from lablib.recording import save_trace
from lablib.records import Comparison, MemleakReport, SymbolCures
from lablib.report import describe_trace
from lablib.study import Observation, Runtime
from lablib.wording import os_reason


@dataclass(frozen=True)
class DemoResult:
    """All that the case study found; without memleak where its user may not run it."""

    runtime: Runtime
    rate: float
    leak: Observation
    memleak: tuple[MemleakReport, SymbolCures] | None
    fixed: Observation
    fix: Comparison
    artefacts: tuple[Path, ...]


def describe_demo(result: DemoResult) -> dict[str, Any]:
    """Return the document of `./lab demo --json`."""
    return {
        "runtime": result.runtime.name,
        "runtime_reason": result.runtime.reason,
        "rate": result.rate,
        "leak": describe_trace(result.leak.trace, result.leak.verdict),
        "fixed": describe_trace(result.fixed.trace, result.fixed.verdict),
        "fix": {
            "kind": result.fix.kind,
            "sentence": result.fix.sentence,
            "comparison": describe_comparison(result.fix),
        },
        "memleak": _describe_memleak(*result.memleak) if result.memleak else None,
        "vmstat": [dataclasses.asdict(sample) for sample in result.leak.vmstat],
        "artefacts": [str(path) for path in result.artefacts],
    }


def _describe_memleak(report: MemleakReport, cures: SymbolCures) -> dict[str, Any]:
    return {
        **dataclasses.asdict(report),
        "stripped": {
            "bare": dataclasses.asdict(cures.bare),
            "copied_binary": dataclasses.asdict(cures.copied_binary),
            "debug_file": dataclasses.asdict(cures.debug_file),
            "lablib": describe_trace(cures.ours, judge_trace(cures.ours)),
        },
    }


def save_artefacts(leak: Observation, fixed: Observation, folder: Path) -> tuple[Path, ...]:
    """Save both sessions and the study's plots into `folder`; raises `LabError` if it is full."""
    machine, _ = plot_vmstat(leak.vmstat, "The machine while fib_leak runs")
    heaps, _ = plot_live_bytes({"fib_leak": leak.trace, "fib_fixed": fixed.trace})
    return (
        save_trace(leak.trace, folder / "leak.trace.json.gz"),
        save_trace(fixed.trace, folder / "fixed.trace.json.gz"),
        _save_figure(machine, folder / "vmstat.png"),
        _save_figure(heaps, folder / "live-bytes.png"),
    )


def _save_figure(figure: Figure, path: Path) -> Path:
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise LabError(
            term("{path} can't be written ({reason})", path=path, reason=os_reason(error)),
            term("free some space"),
        ) from None
    return path
