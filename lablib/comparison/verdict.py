"""What two builds' runs say about a fix. Pure functions.

What is asked, in this order:

    did it do the same work?    both runs end by themselves, with the exit code and the output of
                                the first build's; where the output doesn't show how much was done,
                                the function that leaked allocates as many blocks
    did the first one leak?     something was kept of each term
    does the second one?        anything that is kept of the terms, by whichever call stack
    does it give back in time?  what leaked must not be held until the end and freed only then
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from lablib.analysis import name_site
from lablib.comparison.stacks import match_costs, measure_costs
from lablib.records import BuildWork, Comparison, HeapTrace, StackCost, StackDifference
from lablib.wording import count_of, make_printable

MAX_HELD_SHARE = 0.25
"""What leaked before may be held at one time, of all that leaked: more is held until the end."""

_MAX_LINE = 60
_HINT = " What is freed is overwritten in these runs, so that a use after free shows."


@dataclass(frozen=True)
class Run:
    """One run of a build: its trace, what it printed, and how it ended.

    `exit_code` is negative for a signal, None where the run was ended at a limit. `said` is the
    last line of its standard error.
    """

    command: tuple[str, ...]
    trace: HeapTrace
    output: bytes
    exit_code: int | None
    seconds: float
    said: str = ""

    def describe_end(self) -> str:
        """Return how it ended, as the rest of a sentence about it."""
        if self.exit_code is None:
            return f"still ran, or still printed, after {self.seconds:.0f} s"
        if self.exit_code < 0:
            ending = f"was ended by {signal.Signals(-self.exit_code).name}"
        else:
            ending = f"ended with exit code {self.exit_code}"
        return f'{ending}, and said "{self.said}"' if self.said else ending


@dataclass(frozen=True)
class RunPair:
    """A build's run of `terms` terms, and its run of twice as many."""

    name: str
    terms: int
    first: Run
    second: Run

    @property
    def runs(self) -> tuple[Run, Run]:
        """Both runs, the shorter one first."""
        return self.first, self.second

    @property
    def is_complete(self) -> bool:
        """Whether the tracer has missed nothing."""
        return all(run.trace.is_complete for run in self.runs)

    @property
    def output_shows_work(self) -> bool:
        """Whether more terms print something else: then the output tells how many were done."""
        return self.first.output != self.second.output


def judge_runs(before: RunPair, after: RunPair) -> Comparison:
    """Return whether the fix is proven by the runs of both builds."""
    differences = match_costs(
        *(measure_costs(pair.first.trace, pair.second.trace) for pair in (before, after))
    )
    kind, sentence = _judge(before, after, differences)
    return Comparison(
        source=before.second.trace.source,
        kind=kind,
        sentence=sentence,
        terms=before.terms,
        before=_describe_work(before),
        after=_describe_work(after),
        stacks=differences,
    )


def _describe_work(pair: RunPair) -> BuildWork:
    run = pair.second
    lines = len(run.output.splitlines())
    return BuildWork(pair.name, run.command, run.exit_code, run.seconds, lines)


def _judge(
    before: RunPair, after: RunPair, differences: tuple[StackDifference, ...]
) -> tuple[str, str]:
    other = _find_other_end(before, after) or _find_other_output(before, after)
    if other:
        return "different_work", f"Not the same work: {other}"
    missed = [p.name for p in (before, after) if not p.is_complete]
    if missed:
        return "undecided", f"Not proven: the tracer missed events of {' and of '.join(missed)}."
    leaks = [d for d in differences if _kept(d.before) > 0]
    other = _find_other_allocations(leaks[0], before, after) if leaks else ""
    if other and not before.output_shows_work:
        return "different_work", f"Not the same work: {other}"
    left = sorted((d for d in differences if _kept(d.after) > 0), key=lambda d: -_kept(d.after))
    if left:
        return _describe_left(before, after, differences, left)
    if not leaks:
        return "undecided", _describe_nothing(before)
    held = _find_held(leaks)
    if held is not None:
        return "not_fixed", _describe_held(before, after, held)
    return "fixed", _describe_fixed(before, after, leaks, other)


def _kept(cost: StackCost | None) -> int:
    return max(0, cost.kept_bytes) if cost is not None else 0


def _find_other_end(before: RunPair, after: RunPair) -> str:
    """Return how the second build's run ended, if not as the first one's did, else ""."""
    for wanted, run in zip(before.runs, after.runs, strict=True):
        if run.exit_code != wanted.exit_code:
            done = len(run.output.splitlines())
            return (
                f"{after.name} {run.describe_end()}. It had printed {count_of(done, 'line')}; "
                f"{before.name} prints {len(wanted.output.splitlines()):,}."
            )
    return ""


def _find_other_output(before: RunPair, after: RunPair) -> str:
    """Return the first line that the builds don't both print, as a sentence, or ""."""
    for wanted, run in zip(before.runs, after.runs, strict=True):
        if run.output == wanted.output:
            continue
        lines = zip_longest(wanted.output.splitlines(), run.output.splitlines())
        for number, (expected, printed) in enumerate(lines, start=1):
            if expected != printed:
                return (
                    f"line {number:,} of {before.name} is {_quote(expected)}, "
                    f"and of {after.name} {_quote(printed)}.{_HINT}"
                )
        return f"{after.name} ends its lines in another way than {before.name}."
    return ""


def _quote(line: bytes | None) -> str:
    if line is None:
        return "missing"
    text = make_printable(line.decode(errors="replace"))
    return f'"{text[:_MAX_LINE]}{"..." if len(text) > _MAX_LINE else ""}"'


def _find_other_allocations(leak: StackDifference, before: RunPair, after: RunPair) -> str:
    """Return whether the function that leaked allocates as often, as a sentence, or ""."""
    was = leak.before.allocated_blocks if leak.before else 0
    now = leak.after.allocated_blocks if leak.after else 0
    if was == now:
        return ""
    return (
        f"{leak.functions[0] if leak.functions else 'an unknown caller'} allocates "
        f"{per_term(now, after.terms)} blocks a term in {after.name}, and "
        f"{per_term(was, before.terms)} in {before.name}."
    )


def _find_held(leaks: Sequence[StackDifference]) -> StackDifference | None:
    """Return a stack that leaked, of which now too much was live at one time."""
    for leak in leaks:
        if leak.after and leak.after.peak_bytes > MAX_HELD_SHARE * 2 * _kept(leak.before):
            return leak
    return None


def _describe_nothing(before: RunPair) -> str:
    sentence = (
        f"There is nothing to fix: {before.name} keeps as much after {2 * before.terms:,} terms "
        f"as after {before.terms:,}."
    )
    doubt = " Does it do as many as it is asked for? It prints the same."
    return sentence if before.output_shows_work else sentence + doubt


def _describe_fixed(
    before: RunPair, after: RunPair, leaks: Sequence[StackDifference], other: str
) -> str:
    rest = sum(_kept(leak.before) for leak in leaks[1:])
    more = f", and {count_of(len(leaks) - 1, 'more stack')} {_rate(rest, before)}" if rest else ""
    terms = f"{2 * before.terms:,} terms"
    if before.output_shows_work:
        work = f"Output identical over {terms}." + (f" But {other}" if other else "")
    else:
        work = f"The output doesn't show the work, but it allocates as often over {terms}."
    return (
        f"{_site(leaks[0].before)} kept {_rate(_kept(leaks[0].before), before)} a term{more}; "
        f"{after.name} keeps 0. {work}"
    )


def _describe_left(
    before: RunPair,
    after: RunPair,
    differences: Sequence[StackDifference],
    left: Sequence[StackDifference],
) -> tuple[str, str]:
    was = sum(_kept(difference.before) for difference in differences)
    now = sum(_kept(difference.after) for difference in differences)
    worst = left[0]
    kept = f"{_site(worst.after)} keeps {_rate(_kept(worst.after), after)} a term"
    if not _kept(worst.before):
        kept += ", and kept nothing before"
    elif _kept(worst.before) == _kept(worst.after):
        kept += ", as before"
    else:
        kept += f"; it was {_rate(_kept(worst.before), before)}"
    kind, opening = ("worse", "Worse") if now > was else ("not_fixed", "Not fixed")
    in_all = ""
    if now != _kept(worst.after) or was != _kept(worst.before):
        in_all = (
            f" In all {after.name} keeps {_rate(now, after)} a term, and {before.name} "
            f"{_rate(was, before)}."
        )
    return kind, f"{opening}: {kept}.{in_all}"


def _describe_held(before: RunPair, after: RunPair, held: StackDifference) -> str:
    peak_bytes = held.after.peak_bytes if held.after else 0
    return (
        f"Not fixed: {after.name} gives back what {_site(held.before)} kept, but only at its end. "
        f"{peak_bytes:,} bytes of it were live at one time in {2 * before.terms:,} terms; a "
        "program that goes on goes on growing."
    )


def _site(cost: StackCost | None) -> str:
    return name_site(cost.usage) if cost is not None else "an unknown caller"


def _rate(kept_bytes: int, pair: RunPair) -> str:
    return f"{per_term(kept_bytes, pair.terms)} bytes"


def per_term(number: int, terms: int) -> str:
    """Return what a term's share of a number is, in words: "8,192", or "40.96"."""
    return f"{number // terms:,}" if number % terms == 0 else f"{number / terms:,.2f}"
