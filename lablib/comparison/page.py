"""A comparison as the JSON document that `./lab compare` prints, and as a page for people."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lablib.analysis import name_site
from lablib.comparison.verdict import per_term
from lablib.language import say
from lablib.records import BuildWork, Comparison, StackCost, StackDifference
from lablib.wording import count_of, make_printable

KIND_STYLES = {
    "fixed": "bold green",
    "not_fixed": "bold red",
    "worse": "bold red",
    "different_work": "bold red",
    "undecided": "yellow",
}
MAX_STACKS_SHOWN = 8


def describe_comparison(comparison: Comparison) -> dict[str, Any]:
    """Return the document of `./lab compare --json`."""
    before, after = comparison.kept_bytes
    return {
        "source": comparison.source,
        "terms": comparison.terms,
        "before": {**dataclasses.asdict(comparison.before), "kept_bytes_per_term": before},
        "after": {**dataclasses.asdict(comparison.after), "kept_bytes_per_term": after},
        "stacks": [_describe_stack(stack, comparison.terms) for stack in comparison.stacks],
        "verdict": {"kind": comparison.kind, "sentence": say(comparison.sentence)},
    }


def _describe_stack(stack: StackDifference, terms: int) -> dict[str, Any]:
    return {
        "kind": stack.kind,
        "functions": list(stack.functions),
        "before": _describe_cost(stack.before, terms),
        "after": _describe_cost(stack.after, terms),
    }


def _describe_cost(cost: StackCost | None, terms: int) -> dict[str, Any] | None:
    if cost is None:
        return None
    return {
        "kept_bytes": cost.kept_bytes,
        "kept_blocks": cost.kept_blocks,
        "allocated_blocks": cost.allocated_blocks,
        "kept_bytes_per_term": cost.kept_bytes / terms,
        "peak_bytes": cost.peak_bytes,
        "frames": [dataclasses.asdict(frame) for frame in cost.usage.frames],
    }


def render_comparison(comparison: Comparison) -> RenderableType:
    """Return a page: what each call stack kept of a term, before and after, and the verdict."""
    table = Table(box=None, pad_edge=False)
    for heading in ("bytes a term\nbefore", "\nafter", "blocks a term\nbefore", "\nafter"):
        table.add_column(heading, justify="right")
    table.add_column("\nallocated by", overflow="fold")
    shown = [stack for stack in comparison.stacks if _has_cost(stack)][:MAX_STACKS_SHOWN]
    for stack in shown:
        costs = (stack.before, stack.after)
        table.add_row(
            *(per_term(cost.kept_bytes if cost else 0, comparison.terms) for cost in costs),
            *(per_term(cost.allocated_blocks if cost else 0, comparison.terms) for cost in costs),
            Text(make_printable(_name_path(stack))),
        )
    parts: list[RenderableType] = [
        Text(_describe_run("before", comparison.before)),
        Text(_describe_run("after ", comparison.after)),
        Text(""),
        table if shown else Text("No call stack does anything more with more terms."),
        Text("bytes: kept, and not given back; blocks: allocated", "dim"),
        Text(say(comparison.sentence), KIND_STYLES[comparison.kind]),
    ]
    return Group(*parts)


def _has_cost(stack: StackDifference) -> bool:
    costs = [cost for cost in (stack.before, stack.after) if cost is not None]
    return any(cost.kept_bytes or cost.allocated_blocks for cost in costs)


def _describe_run(label: str, work: BuildWork) -> str:
    command = make_printable(" ".join(work.command))
    lines = count_of(work.output_lines, "line")
    return f"{label}  {command}: {lines} of output, {work.seconds:.1f} s"


def _name_path(stack: StackDifference) -> str:
    """Return where a stack allocates, and by whom it was called."""
    cost = stack.before or stack.after
    assert cost is not None
    return " < ".join([name_site(cost.usage), *stack.functions[1:4]])
