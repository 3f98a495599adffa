"""Is a fix proven? Two runs of a program: as it was, and fixed."""

from __future__ import annotations

from collections.abc import Sequence

from lablib.analysis.sentences import find_site
from lablib.records import FixVerdict, ProcessVerdict, StackUsage, StackVerdict
from lablib.wording import count_of


def judge_fix(before: ProcessVerdict, after: ProcessVerdict) -> FixVerdict:
    """Return whether a fix is proven: what leaked before must have run again and hold nothing more.

    A function that did not run in the second trace proves nothing, and neither does a second
    trace with another leak in it. What the kernel counts must no longer grow either.
    """
    leaks = [verdict for verdict in before.stacks if verdict.kind == "leaking"]
    counts = [count for count in before.resources if count.kind == "leaking"]
    if not leaks and not counts:
        return FixVerdict("undecided", "There was no leak before, so there is nothing to fix.")
    if after.kind in ("leaking", "growing"):
        return FixVerdict("not_fixed", f"Not fixed. {after.sentence}")
    if after.kind == "undecided":
        return FixVerdict("undecided", f"Not proven. {after.sentence}")
    sentences = []
    for function in dict.fromkeys(_name_function(leak.usage) for leak in leaks):
        found = _compare(function, leaks, after)
        if isinstance(found, FixVerdict):
            return found
        sentences.append(found)
    for count in counts:
        again = next((each for each in after.resources if each.resource == count.resource), None)
        if again is None:
            return FixVerdict("undecided", f"Not proven: {count.resource} could not be counted.")
        sentences.append(
            f"{count.resource} went from {count.first:,} to {count.last:,} before "
            f"and from {again.first:,} to {again.last:,} after"
        )
    return FixVerdict("fixed", f"Fixed: {'; '.join(sentences)}, and no other stack grows.")


def _name_function(usage: StackUsage) -> str | None:
    """Return the program's function that a stack allocates in, whatever it calls to do so."""
    site = find_site(usage)
    return site.function if site else None


def _compare(
    function: str | None, leaks: Sequence[StackVerdict], after: ProcessVerdict
) -> FixVerdict | str:
    """Return how a leaking function did in the second run, or why that is no proof."""
    before = [leak.usage for leak in leaks if _name_function(leak.usage) == function]
    again = [v.usage for v in after.stacks if _name_function(v.usage) == function]
    allocated = sum(usage.allocated_blocks for usage in again)
    if function is None or not allocated:
        who = function or "a caller without a name"
        return FixVerdict("undecided", f"Not proven: {who} was not seen to do its work again.")
    kept = sum(usage.live_blocks for usage in again)
    return (
        f"{function} kept {sum(usage.live_blocks for usage in before):,} of "
        f"{count_of(sum(usage.allocated_blocks for usage in before), 'block')} before "
        f"({sum(usage.live_bytes for usage in before):,} bytes) "
        f"and {kept:,} of {count_of(allocated, 'block')} after"
    )
