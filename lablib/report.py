"""A trace and its verdict as the JSON document that the lab prints, and as a page for people."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lablib.records import HeapTrace, ProcessVerdict, StackUsage

KIND_STYLES = {
    "leaking": "bold red",
    "growing": "yellow",
    "undecided": "yellow",
    "plateau": "green",
    "churn": "green",
    "clean": "green",
    "fixed": "bold green",
    "not_fixed": "bold red",
}
MAX_STACKS_SHOWN = 5


def describe_trace(trace: HeapTrace, verdict: ProcessVerdict) -> dict[str, Any]:
    """Return the document of `./lab trace --json`; all stacks with live bytes are in it."""
    events = trace.snapshots[-1].events
    return {
        "source": trace.source,
        "kernel": trace.kernel,
        "seconds": round(trace.seconds, 3),
        "complete": trace.is_complete,
        "target": dataclasses.asdict(trace.target),
        "events": {
            "allocations": events.allocations,
            "frees": events.frees,
            "from_before": events.from_before,
            "failed_allocations": events.failed_allocations,
            "missed": events.missed,
            "missed_by_reason": dict(events.missed_by_reason),
        },
        "live_bytes": trace.snapshots[-1].live_bytes,
        "live_blocks": trace.snapshots[-1].live_blocks,
        "stacks": [
            {
                "live_bytes": stack.usage.live_bytes,
                "live_blocks": stack.usage.live_blocks,
                "allocated_bytes": stack.usage.allocated_bytes,
                "allocated_blocks": stack.usage.allocated_blocks,
                "freed_bytes": stack.usage.freed_bytes,
                "freed_blocks": stack.usage.freed_blocks,
                "mean_age_s": stack.usage.mean_age_s,
                "growth_bytes_per_s": stack.growth_bytes_per_s,
                "growth_error_bytes_per_s": stack.growth_error_bytes_per_s,
                "verdict": stack.kind,
                "sentence": stack.sentence,
                "callers_missing": stack.usage.is_cut,
                "frames": [dataclasses.asdict(frame) for frame in stack.usage.frames],
            }
            for stack in verdict.stacks
            if stack.usage.live_bytes
        ],
        "verdict": {"kind": verdict.kind, "sentence": verdict.sentence},
    }


def render_trace(trace: HeapTrace, verdict: ProcessVerdict) -> RenderableType:
    """Return a page with the largest stacks of a trace, what was missed, and the verdict."""
    table = Table(box=None, pad_edge=False)
    for heading in ("live bytes", "blocks", "freed", "verdict"):
        table.add_column(heading, justify="right" if heading != "verdict" else "left")
    table.add_column("allocated by", overflow="fold")
    for stack in verdict.stacks[:MAX_STACKS_SHOWN]:
        table.add_row(
            f"{stack.usage.live_bytes:,}",
            f"{stack.usage.live_blocks:,}",
            f"{stack.usage.freed_blocks:,}",
            Text(stack.kind, KIND_STYLES[stack.kind]),
            render_stack(stack.usage),
        )
    lines: list[RenderableType] = [table]
    if len(verdict.stacks) > MAX_STACKS_SHOWN:
        lines.append(Text(f"... and {len(verdict.stacks) - MAX_STACKS_SHOWN} more stacks"))
    events = trace.snapshots[-1].events
    missed = ", ".join(f"{n:,} {reason}" for reason, n in events.missed_by_reason.items())
    lines.append(
        Text(
            f"source: {trace.source}; {trace.seconds:.1f} s; {events.allocations:,} allocations, "
            f"{events.frees:,} frees, {events.from_before:,} about blocks not on record; "
            + (f"NOT COMPLETE, missed: {missed}" if missed else "nothing missed"),
            style="bold yellow" if missed else "dim",
        )
    )
    lines.append(Text(verdict.sentence, KIND_STYLES[verdict.kind]))
    return Group(*lines)


def render_stack(usage: StackUsage) -> Text:
    """Return a call stack, the allocator's caller first, one frame a line."""
    lines = [str(frame) for frame in usage.frames] or ["(no frame could be read)"]
    if usage.is_cut:
        lines.append("(callers missing: code without frame pointers)")
    return Text("\n".join(lines))


def make_console(is_json: bool) -> Console:
    """Return where to write for people: standard output, or standard error beside JSON."""
    return Console(stderr=is_json, highlight=False, markup=False)
