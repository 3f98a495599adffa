"""Is a fix proven? Two runs of a program: as it was, and fixed."""

from __future__ import annotations

from lablib.records import FixVerdict, ProcessVerdict, StackVerdict
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
    for leak in leaks:
        found = _compare(leak, after)
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


def _compare(leak: StackVerdict, after: ProcessVerdict) -> FixVerdict | str:
    """Return how a leaking stack's function did in the second run, or why that is no proof."""
    lost = leak.usage
    function = lost.frames[0].function if lost.frames else None
    again = [
        v.usage for v in after.stacks if v.usage.frames and v.usage.frames[0].function == function
    ]
    allocated = sum(usage.allocated_blocks for usage in again)
    if function is None or not allocated:
        who = function or "a caller without a name"
        return FixVerdict("undecided", f"Not proven: {who} was not seen to do its work again.")
    kept = sum(usage.live_blocks for usage in again)
    return (
        f"{function} kept {lost.live_blocks:,} of {count_of(lost.allocated_blocks, 'block')} "
        f"before ({lost.live_bytes:,} bytes) and {kept:,} of {count_of(allocated, 'block')} after"
    )
