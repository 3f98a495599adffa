"""A trace and its verdict as the JSON document that the lab prints, and as a page for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lablib.records import (
    Frame,
    HeapSnapshot,
    HeapTrace,
    ProcessVerdict,
    ReachabilityScan,
    ResourceVerdict,
    StackReach,
    StackUsage,
    StackVerdict,
)
from lablib.wording import count_of, format_size, make_printable

KIND_STYLES = {
    "leaking": "bold red",
    "growing": "yellow",
    "undecided": "yellow",
    "plateau": "green",
    "churn": "green",
    "retention": "green",
    "clean": "green",
    "fixed": "bold green",
    "not_fixed": "bold red",
}
MAX_STACKS_SHOWN = 5
_WORDS_FOR_ENDING = {
    None: "runs on",
    "exited": "has ended",
    "became another program": "became another program, which is not traced",
}


def describe_trace(trace: HeapTrace, verdict: ProcessVerdict) -> dict[str, Any]:
    """Return the document of `./lab trace --json`.

    All stacks with live bytes are in it; what was mapped is apart from them, under "mappings".
    """
    last = trace.snapshots[-1]
    events = last.events
    reaches = _find_reaches(trace)
    judged = [stack for stack in verdict.stacks if stack.usage.live_bytes]
    return {
        "source": trace.source,
        "kernel": trace.kernel,
        "seconds": round(trace.seconds, 3),
        "complete": trace.is_complete,
        "sampled_every_bytes": trace.sample_bytes or None,
        "target": dataclasses.asdict(trace.target),
        "ended": _describe_ending(last),
        "events": {
            "allocations": events.allocations,
            "frees": events.frees,
            "from_before": events.from_before,
            "failed_allocations": events.failed_allocations,
            "missed": events.missed,
            "missed_by_reason": dict(events.missed_by_reason),
        },
        "live_bytes": last.live_bytes,
        "live_blocks": last.live_blocks,
        "live_bytes_error": last.live_bytes_error,
        "stacks": [
            {**_describe_stack(stack), **_describe_reach(stack.usage, reaches)}
            for stack in judged
            if stack.usage.kind == "heap"
        ],
        "mappings": [_describe_stack(stack) for stack in judged if stack.usage.kind != "heap"]
        + [_describe_usage(usage) for usage in last.mappings if usage.kind == "arena"],
        "resources": [dataclasses.asdict(count) for count in verdict.resources],
        "verdict": {
            "kind": verdict.kind,
            "sentence": verdict.sentence,
            "evidence": dataclasses.asdict(verdict.evidence) if verdict.evidence else None,
        },
        "scan": _describe_scan(trace.scans[-1]) if trace.scans else None,
    }


def _find_reaches(trace: HeapTrace) -> dict[tuple[Frame, ...], StackReach] | None:
    """Return the last scan's stacks by their frames; None where no scan was made."""
    if not (trace.scans and trace.scans[-1].was_made):
        return None
    return {stack.frames: stack for stack in trace.scans[-1].stacks}


def _describe_reach(
    usage: StackUsage, reaches: dict[tuple[Frame, ...], StackReach] | None
) -> dict[str, int | None]:
    """Return what of a stack's blocks is lost: nothing of those that are too young for the scan."""
    if reaches is None:
        return {"lost_bytes": None, "lost_blocks": None}
    reach = reaches.get(usage.frames)
    return {
        "lost_bytes": reach.lost_bytes if reach else 0,
        "lost_blocks": reach.lost_blocks if reach else 0,
    }


def _describe_scan(scan: ReachabilityScan) -> dict[str, Any]:
    return {
        "elapsed_s": scan.elapsed_s,
        "pause_ms": scan.pause_s * 1e3,
        "seconds": scan.seconds,
        "bytes": scan.scanned_bytes,
        "limits": list(scan.limits),
    }


def _describe_stack(stack: StackVerdict) -> dict[str, Any]:
    return {
        **_describe_usage(stack.usage),
        "growth_bytes_per_s": stack.growth_bytes_per_s,
        "growth_error_bytes_per_s": stack.growth_error_bytes_per_s,
        "verdict": stack.kind,
        "sentence": stack.sentence,
        "evidence": dataclasses.asdict(stack.evidence) if stack.evidence else None,
    }


def _describe_usage(usage: StackUsage) -> dict[str, Any]:
    return {
        "kind": usage.kind,
        "live_bytes": usage.live_bytes,
        "live_bytes_error": usage.live_bytes_error,
        "live_blocks": usage.live_blocks,
        "allocated_bytes": usage.allocated_bytes,
        "allocated_blocks": usage.allocated_blocks,
        "freed_bytes": usage.freed_bytes,
        "freed_blocks": usage.freed_blocks,
        "mean_age_s": usage.mean_age_s,
        "callers_missing": usage.is_cut,
        "frames": [dataclasses.asdict(frame) for frame in usage.frames],
    }


def _describe_ending(last: HeapSnapshot) -> str | None:
    if last.has_executed:
        return "became another program"
    return None if last.is_running else "exited"


def render_trace(trace: HeapTrace, verdict: ProcessVerdict) -> RenderableType:
    """Return a page with the largest stacks of a trace, what was missed, and the verdict."""
    heap = [stack for stack in verdict.stacks if stack.usage.kind == "heap"]
    mapped = [stack for stack in verdict.stacks if stack.usage.kind != "heap"]
    lines: list[RenderableType] = [_render_stacks("live bytes", "blocks", heap)]
    if mapped:
        lines += [Text("mapped by the program itself:"), _render_stacks("bytes", "count", mapped)]
    arenas = [usage for usage in trace.snapshots[-1].mappings if usage.kind == "arena"]
    reserved = sum(usage.live_bytes for usage in arenas)
    if reserved:
        lines.append(Text(f"{reserved:,} bytes mapped by the allocator to take blocks from"))
    lines.append(_render_events(trace))
    if trace.scans:
        lines.append(_render_scan(trace.scans[-1]))
    lines.append(Text(verdict.sentence, KIND_STYLES[verdict.kind]))
    return Group(*lines, *_render_others(verdict))


def _render_others(verdict: ProcessVerdict) -> list[Text]:
    """Return the sentences on what else leaks or grows, the gravest first."""
    grave = ("leaking", "growing")
    verdicts: list[StackVerdict | ResourceVerdict] = [*verdict.stacks, *verdict.resources]
    others = [
        Text(f"- {each.sentence}", KIND_STYLES[each.kind])
        for kind in grave
        for each in verdicts
        if each.kind == kind and not verdict.sentence.startswith(each.sentence)
    ]
    rest = len(others) - MAX_STACKS_SHOWN
    more = [Text(f"... and {rest:,} more that leak or grow")] if rest > 0 else []
    return [*others[:MAX_STACKS_SHOWN], *more]


def _render_stacks(size: str, number: str, stacks: Sequence[StackVerdict]) -> RenderableType:
    """Return a table of the first stacks; what leaks and grows stands first, however small."""
    table = Table(box=None, pad_edge=False)
    for heading in (size, number, "freed", "lost"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    table.add_column("allocated by", overflow="fold")
    grave = list(KIND_STYLES)
    for stack in sorted(stacks, key=lambda each: grave.index(each.kind))[:MAX_STACKS_SHOWN]:
        error = 1.96 * stack.usage.live_bytes_error
        table.add_row(
            f"{stack.usage.live_bytes:,}" + (f"\n± {error:,.0f}" if error else ""),
            f"{stack.usage.live_blocks:,}",
            f"{stack.usage.freed_blocks:,}",
            _count_lost(stack),
            Text(f"{stack.kind}{_describe_rate(stack)}", KIND_STYLES[stack.kind]),
            render_stack(stack.usage),
        )
    rest = len(stacks) - MAX_STACKS_SHOWN
    return Group(table, Text(f"... and {count_of(rest, 'more stack')}")) if rest > 0 else table


def _count_lost(stack: StackVerdict) -> str:
    """Return how many blocks nothing points at, "?" where nobody looked."""
    lost = stack.evidence.lost_blocks if stack.evidence else None
    return "?" if lost is None else f"{lost:,}"


def _describe_rate(stack: StackVerdict) -> str:
    if stack.kind not in ("leaking", "growing") or not stack.growth_bytes_per_s:
        return ""
    return f"\n{format_size(stack.growth_bytes_per_s)}/s"


def _render_events(trace: HeapTrace) -> Text:
    last = trace.snapshots[-1]
    events = last.events
    missed = ", ".join(f"{n:,} {reason}" for reason, n in events.missed_by_reason.items())
    ending = f"; the process {_WORDS_FOR_ENDING[_describe_ending(last)]}"
    sampled = f"sampled every {trace.sample_bytes:,} bytes, " if trace.sample_bytes else ""
    return Text(
        f"source: {trace.source}; {trace.seconds:.1f} s{ending}; {sampled}"
        f"{count_of(events.allocations, 'allocation')}, {count_of(events.frees, 'free')}, "
        f"{events.from_before:,} about blocks not on record; "
        + (f"NOT COMPLETE, missed: {missed}" if missed else "nothing missed"),
        style="bold yellow" if missed else "dim",
    )


def _render_scan(scan: ReachabilityScan) -> Text:
    limits = "; ".join(scan.limits)
    if not scan.was_made:
        return Text(f"not looked what still points at the blocks: {limits}", "dim")
    return Text(
        f"at {scan.elapsed_s:.1f} s nothing pointed at {scan.lost_bytes:,} bytes in "
        f"{count_of(scan.lost_blocks, 'block')}: {scan.scanned_bytes / (1 << 20):,.1f} MiB looked "
        f"through, the program stood still for {scan.pause_s * 1e3:,.0f} ms"
        + (f"; {limits}" if limits else ""),
        "dim",
    )


def render_stack(usage: StackUsage) -> Text:
    """Return a call stack, the allocator's caller first, one frame a line, up to main."""
    lines = []
    for frame in usage.frames:
        lines.append(str(frame))
        if frame.function == "main":  # below it is only what starts every program
            break
    lines = lines or ["(no frame could be read)"]
    if usage.is_cut:
        lines.append("(callers missing: code without frame pointers or unwind tables)")
    return Text("\n".join(make_printable(line) for line in lines))


def make_console(is_json: bool) -> Console:
    """Return where to write for people: standard output, or standard error beside JSON."""
    return Console(stderr=is_json, highlight=False, markup=False)
