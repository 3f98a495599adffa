"""What a program keeps of the heap, by the tracer's account."""

from __future__ import annotations

from collections.abc import Iterable

from lablib.analysis import name_site
from lablib.comparison.stacks import measure_costs
from lablib.grading.building import LEVELS
from lablib.grading.checks.failing import Failed, NotChecked, measure
from lablib.grading.evidence import Evidence
from lablib.grading.labs import Check
from lablib.language import term
from lablib.records import StackCost
from lablib.wording import count_of

MAX_PILE_SHARE = 0.25
"""How much of what a call stack allocates it may hold at one time, to give back at the end.

A check may ask for less (`pile_share`): what only failures take is little of all that is taken.
"""


def check_flat_heap(evidence: Evidence, check: Check) -> str:
    """Nothing is kept of the terms, by any call stack; N terms are for warming up."""
    terms = evidence.lab.terms
    blocks = 0
    for level in LEVELS:
        twice, four_times = (measure(evidence, level, n * terms) for n in (2, 4))
        if twice.trace is None or four_times.trace is None:
            reason = twice.untraced or four_times.untraced
            raise NotChecked(term("the tracer could not look: {reason}.", reason=reason))
        if not (twice.trace.is_complete and four_times.trace.is_complete):
            raise NotChecked(term("the tracer has missed events."))
        costs = measure_costs(twice.trace, four_times.trace).values()
        blocks = sum(cost.allocated_blocks for cost in costs)
        leaks = [cost for cost in costs if _is_leak(cost, check)]
        if leaks:
            word, events = _count_events(evidence, check)
            worst = max(leaks, key=lambda cost: cost.kept_bytes)
            raise Failed(_describe_leak(worst, word, events, level))
        _check_most_held(costs, check, level)
        for cost in costs:
            if _is_piled_up(cost, 2 * terms, check.parameters.get("pile_share", MAX_PILE_SHARE)):
                raise Failed(
                    term(
                        "At {level} {site} gives back what it took only at the very end: "
                        "{peak:,} bytes were held at one time.",
                        level=level,
                        site=name_site(cost.usage),
                        peak=cost.peak_bytes,
                    )
                )
    return term(
        "Nothing is kept: {terms:,} more terms allocate {blocks}, and all are given back.",
        terms=2 * terms,
        blocks=count_of(blocks, "block"),
    )


def _count_events(evidence: Evidence, check: Check) -> tuple[str, int]:
    """Return what a leak is reckoned by, and how many of these lie between 2N and 4N terms.

    That is a term, or with `per` = {"word": ..., "shown_by": ...} each line of the output, as it
    must be, that has what it is shown by.
    """
    terms, per = evidence.lab.terms, check.parameters.get("per")
    if not per:
        return term("term"), 2 * terms
    twice, four_times = (
        sum(per["shown_by"] in line for line in evidence.expect_output(n * terms).splitlines())
        for n in (2, 4)
    )
    return per["word"], max(four_times - twice, 1)


def _describe_leak(cost: StackCost, word: str, events: int, level: str) -> str:
    each = cost.kept_bytes / events
    amount = f"{each:,.0f}" if each == int(each) else f"{each:,.2f}"
    return term(
        "Still {amount} bytes a {word} from {site} at {level}: "
        "{blocks} of {allocated:,} are never given back.",
        amount=amount,
        word=word,
        site=name_site(cost.usage),
        level=level,
        blocks=count_of(cost.kept_blocks, "block"),
        allocated=cost.allocated_blocks,
    )


def _is_leak(cost: StackCost, check: Check) -> bool:
    """Whether more is kept than a store that is full may differ by, where a lab has one."""
    most_bytes: int = check.parameters.get("tolerance_bytes", 0)
    most_blocks: int = check.parameters.get("tolerance_blocks", cost.kept_blocks)
    return cost.kept_bytes > most_bytes or cost.kept_blocks > most_blocks


def _check_most_held(costs: Iterable[StackCost], check: Check, level: str) -> None:
    most = check.parameters.get("most_bytes")
    for cost in costs:
        if most is not None and cost.peak_bytes > most:
            raise Failed(
                f"At {level} {cost.peak_bytes:,} bytes from {name_site(cost.usage)} were held at "
                f"one time: the README allows {most:,}."
            )


def _is_piled_up(cost: StackCost, terms: int, share: float) -> bool:
    """Whether much of what it allocated was held together, though none of it is kept."""
    allocated = cost.usage.allocated_bytes
    grew_with_terms = cost.allocated_blocks >= terms / 2
    return grew_with_terms and cost.peak_bytes > max(share * allocated, 64 << 10)
