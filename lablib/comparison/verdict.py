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
from lablib.language import say, say_in_all, term
from lablib.records import BuildWork, Comparison, HeapTrace, StackCost, StackDifference
from lablib.wording import count_of, make_printable

MAX_HELD_SHARE = 0.25
"""What leaked before may be held at one time, of all that leaked: more is held until the end."""

_MAX_LINE = 60
_HINT = term(" What is freed is overwritten in these runs, so that a use after free shows.")


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
            return term("still ran, or still printed, after {seconds:.0f} s", seconds=self.seconds)
        if self.exit_code < 0:
            name = signal.Signals(-self.exit_code).name
            ending = term("was ended by {signal}", signal=name)
        else:
            ending = term("ended with exit code {code}", code=self.exit_code)
        if not self.said:
            return ending
        return term('{ending}, and said "{said}"', ending=ending, said=self.said)


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
    kind, _ = _judge(before, after, differences)
    return Comparison(
        source=before.second.trace.source,
        kind=kind,
        sentence=say_in_all(lambda: _judge(before, after, differences)[1]),
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
        return "different_work", say("Not the same work: {other}", other=other)
    missed = [p.name for p in (before, after) if not p.is_complete]
    if missed:
        names = say(" and of ").join(missed)
        return "undecided", say("Not proven: the tracer missed events of {names}.", names=names)
    leaks = [d for d in differences if _kept(d.before) > 0]
    other = _find_other_allocations(leaks[0], before, after) if leaks else ""
    if other and not before.output_shows_work:
        return "different_work", say("Not the same work: {other}", other=other)
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
            return say(
                "{after} {ended}. It had printed {lines}; {before} prints {wanted:,}.",
                after=after.name,
                ended=run.describe_end(),
                lines=count_of(done, "line"),
                before=before.name,
                wanted=len(wanted.output.splitlines()),
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
                return say(
                    "line {number:,} of {before} is {expected}, and of {after} {printed}.{hint}",
                    number=number,
                    before=before.name,
                    expected=_quote(expected),
                    after=after.name,
                    printed=_quote(printed),
                    hint=_HINT,
                )
        names = {"after": after.name, "before": before.name}
        return say("{after} ends its lines in another way than {before}.", **names)
    return ""


def _quote(line: bytes | None) -> str:
    if line is None:
        return term("missing")
    text = make_printable(line.decode(errors="replace"))
    return f'"{text[:_MAX_LINE]}{"..." if len(text) > _MAX_LINE else ""}"'


def _find_other_allocations(leak: StackDifference, before: RunPair, after: RunPair) -> str:
    """Return whether the function that leaked allocates as often, as a sentence, or ""."""
    was = leak.before.allocated_blocks if leak.before else 0
    now = leak.after.allocated_blocks if leak.after else 0
    if was == now:
        return ""
    return say(
        "{function} allocates {now} blocks a term in {after}, and {was} in {before}.",
        function=leak.functions[0] if leak.functions else term("an unknown caller"),
        now=per_term(now, after.terms),
        after=after.name,
        was=per_term(was, before.terms),
        before=before.name,
    )


def _find_held(leaks: Sequence[StackDifference]) -> StackDifference | None:
    """Return a stack that leaked, of which now too much was live at one time."""
    for leak in leaks:
        if leak.after and leak.after.peak_bytes > MAX_HELD_SHARE * 2 * _kept(leak.before):
            return leak
    return None


def _describe_nothing(before: RunPair) -> str:
    sentence = say(
        "There is nothing to fix: {before} keeps as much after {twice:,} terms as after {once:,}.",
        before=before.name,
        twice=2 * before.terms,
        once=before.terms,
    )
    doubt = say(" Does it do as many as it is asked for? It prints the same.")
    return sentence if before.output_shows_work else sentence + doubt


def _describe_fixed(
    before: RunPair, after: RunPair, leaks: Sequence[StackDifference], other: str
) -> str:
    rest = sum(_kept(leak.before) for leak in leaks[1:])
    stacks = count_of(len(leaks) - 1, "more stack")
    more = say(", and {stacks} {rate}", stacks=stacks, rate=_rate(rest, before)) if rest else ""
    terms = 2 * before.terms
    if before.output_shows_work:
        work = say("Output identical over {terms:,} terms.", terms=terms)
        work += say(" But {other}", other=other) if other else ""
    else:
        work = say(
            "The output doesn't show the work, but it allocates as often over {terms:,} terms.",
            terms=terms,
        )
    return say(
        "{site} kept {rate} a term{more}; {after} keeps 0. {work}",
        site=_site(leaks[0].before),
        rate=_rate(_kept(leaks[0].before), before),
        more=more,
        after=after.name,
        work=work,
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
    kept = say(
        "{site} keeps {rate} a term", site=_site(worst.after), rate=_rate(_kept(worst.after), after)
    )
    if not _kept(worst.before):
        kept += say(", and kept nothing before")
    elif _kept(worst.before) == _kept(worst.after):
        kept += say(", as before")
    else:
        kept += say("; it was {rate}", rate=_rate(_kept(worst.before), before))
    in_all = ""
    if now != _kept(worst.after) or was != _kept(worst.before):
        in_all = say(
            " In all {after} keeps {now} a term, and {before} {was}.",
            after=after.name,
            now=_rate(now, after),
            before=before.name,
            was=_rate(was, before),
        )
    facts = {"kept": kept, "in_all": in_all}
    if now > was:
        return "worse", say("Worse: {kept}.{in_all}", **facts)
    return "not_fixed", say("Not fixed: {kept}.{in_all}", **facts)


def _describe_held(before: RunPair, after: RunPair, held: StackDifference) -> str:
    peak_bytes = held.after.peak_bytes if held.after else 0
    return say(
        "Not fixed: {after} gives back what {site} kept, but only at its end. {peak:,} bytes of it "
        "were live at one time in {terms:,} terms; a program that goes on goes on growing.",
        after=after.name,
        site=_site(held.before),
        peak=peak_bytes,
        terms=2 * before.terms,
    )


def _site(cost: StackCost | None) -> str:
    return name_site(cost.usage) if cost is not None else term("an unknown caller")


def _rate(kept_bytes: int, pair: RunPair) -> str:
    return term("{amount} bytes", amount=per_term(kept_bytes, pair.terms))


def per_term(number: int, terms: int) -> str:
    """Return what a term's share of a number is, in words: "8,192", or "40.96"."""
    return f"{number // terms:,}" if number % terms == 0 else f"{number / terms:,.2f}"
