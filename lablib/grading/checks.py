"""The checks that a lab may ask for: each takes the evidence, and says what it found.

    builds              the program compiles, at -O0 and at -O2
    same_output         it prints what the program as handed out prints, over N, 2N and 4N terms
    flat_heap           live bytes are the same after 2N and 4N terms, and never pile up between
    hit_rate            what it remembers still serves: few of its terms have to fetch
    flat_kernel         so is what the kernel counts (`what`), as the program is about to end
    flat_unwatched      and so is its resident set, or `what`, in the middle of a run that no tracer
                        looks at
    no_memory_errors    AddressSanitizer finds no error
    unchanged           the program is the one that was handed out
    questions           the answers, each for its own points

A check that can't be made here is unchecked: it never passes for want of a look.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Iterator

from lablib.analysis import name_site
from lablib.comparison.stacks import measure_costs
from lablib.grading.building import LEVELS, SANITIZED
from lablib.grading.evidence import Evidence
from lablib.grading.labs import Check
from lablib.grading.measuring import Glance, Measurement
from lablib.grading.sandbox import Run
from lablib.records import Finding, StackCost
from lablib.wording import count_of, make_printable

MAX_PILE_SHARE = 0.25
"""How much of what a call stack allocates it may hold at one time, to give back at the end.

A check may ask for less (`pile_share`): what only failures take is little of all that is taken.
"""

_KERNEL_WORDS = {
    "rss_anon_bytes": ("bytes of anonymous memory", 128 << 10),
    "vm_size_bytes": ("bytes of address space", 256 << 10),
    "open_files": ("open files", 0),
    "threads": ("threads", 0),
    "mappings": ("mappings", 2),
}
"""What the kernel counts -> its words, and how much more of it 2N further terms may leave."""

_UNWATCHED_WORDS = {
    "peak_rss_bytes": ("resident bytes", 4 << 20),
    "vm_size_bytes": ("bytes of address space", 1 << 20),
    "open_files": ("open files", 8),
}
"""The same for what a run without a tracer had in the middle of its work."""

_ASAN_ERROR = re.compile(r"SUMMARY: AddressSanitizer: ([\w-]+)")
_UBSAN_ERROR = re.compile(r"^(\S+?:\d+):\d+: runtime error: (.+)$", re.MULTILINE)
_ASAN_FRAME = re.compile(r"^\s*#\d+ \S+ in (\S+) (\S+?):(\d+)", re.MULTILINE)
_FETCH = re.compile(r"^fetched .+, fetch (\d+)$", re.MULTILINE)
_HITS = re.compile(r"^hits: (\d+) of (\d+)$", re.MULTILINE)
_MAX_LINE = 60


class Failed(Exception):
    """What a check found wrong, as a sentence."""


class NotChecked(Exception):
    """Why a check could not be made, as a sentence."""


def run_check(check: Check, evidence: Evidence) -> Finding:
    """Return what one check found."""
    try:
        sentence = CHECKS[check.kind](evidence, check)
        return Finding(check.kind, "passed", sentence, check.points, check.points)
    except Failed as found:
        return Finding(check.kind, "failed", str(found), 0, check.points)
    except NotChecked as reason:
        return Finding(check.kind, "unchecked", f"Not checked: {reason}", 0, check.points)


def check_builds(evidence: Evidence, check: Check) -> str:
    """It compiles."""
    for level in LEVELS:
        _require_build(evidence, level)
    refused = f"; some of its calls of {' and '.join(evidence.lab.failing)} will be refused"
    return f"It builds at {' and at '.join(LEVELS)}{refused if evidence.lab.failing else ''}."


def check_same_output(evidence: Evidence, check: Check) -> str:
    """It does the same work, as far as its output tells."""
    terms = evidence.lab.terms
    for level in LEVELS:
        for count in (terms, 2 * terms, 4 * terms):
            _compare_output(evidence, _measure(evidence, level, count).run, f"at {level}", count)
    # Nor is the program another one where the sanitizer looks.
    sanitized = evidence.run_sanitized(terms)
    _compare_output(evidence, sanitized, "under AddressSanitizer", terms)
    return f"It prints the same as before, over {terms:,}, {2 * terms:,} and {4 * terms:,} terms."


def check_flat_heap(evidence: Evidence, check: Check) -> str:
    """Nothing is kept of the terms, by any call stack; N terms are for warming up."""
    terms = evidence.lab.terms
    blocks = 0
    for level in LEVELS:
        twice, four_times = (_measure(evidence, level, n * terms) for n in (2, 4))
        if twice.trace is None or four_times.trace is None:
            raise NotChecked(f"the tracer could not look: {twice.untraced or four_times.untraced}.")
        if not (twice.trace.is_complete and four_times.trace.is_complete):
            raise NotChecked("the tracer has missed events.")
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
                    f"At {level} {name_site(cost.usage)} gives back what it took only at the very "
                    f"end: {cost.peak_bytes:,} bytes were held at one time."
                )
    return (
        f"Nothing is kept: {2 * terms:,} more terms allocate {count_of(blocks, 'block')}, "
        "and all are given back."
    )


def check_hit_rate(evidence: Evidence, check: Check) -> str:
    """What it remembers still serves.

    A hit is a term without a fetch. A companion of the lab prints each fetch, and numbers them, so
    that one which is not shown is missed.
    """
    terms, least = 4 * evidence.lab.terms, check.parameters["least_percent"]
    for level in LEVELS:
        output = _measure(evidence, level, terms).run.output
        numbers = [int(number) for number in _FETCH.findall(output)]
        if numbers != list(range(1, len(numbers) + 1)):
            raise Failed(f"At {level} some fetches are not shown: their numbers have gaps.")
        hits = terms - len(numbers)
        told = next(reversed(_HITS.findall(output)), ("nothing", "nothing"))
        if told != (str(hits), str(terms)):
            raise Failed(
                f"At {level} it says that {told[0]} of {told[1]} were hits, but over {terms:,} "
                f"terms it fetched {len(numbers):,} times: {hits:,} were."
            )
        if 100 * hits < least * terms:
            raise Failed(
                f"At {level} {hits:,} of {terms:,} terms were hits, {100 * hits / terms:.1f} %: "
                f"the README asks for {least} % at least."
            )
    return f"{100 * hits / terms:.1f} % of {terms:,} terms were hits: {least} % are enough."


def check_flat_kernel(evidence: Evidence, check: Check) -> str:
    """What the kernel counts does not grow with the terms."""
    terms, what = evidence.lab.terms, check.parameters["what"]
    words, tolerance = _KERNEL_WORDS[what]
    tolerance = check.parameters.get("tolerance", tolerance)
    for level in LEVELS:
        before, after = (_count(_measure(evidence, level, n * terms), what) for n in (2, 4))
        if after - before > tolerance:
            raise Failed(
                f"At {level} it has {after:,} {words} at the end of {4 * terms:,} terms, and had "
                f"{before:,} at the end of {2 * terms:,}: {(after - before) / 2 / terms:,.2f} more "
                "with each term."
            )
    return f"The kernel counts as many {words} after {4 * terms:,} terms as after {2 * terms:,}."


def check_flat_unwatched(evidence: Evidence, check: Check) -> str:
    """It does the same when nobody looks."""
    terms = check.parameters["terms"]
    what = check.parameters.get("what", "peak_rss_bytes")
    words, allowed = _UNWATCHED_WORDS[what]
    allowed = check.parameters.get("tolerance", allowed)
    run, glances = evidence.watch_from_afar(LEVELS[-1], terms)
    _compare_output(evidence, run, f"at {LEVELS[-1]}", terms)
    if len(glances) < 2:
        raise NotChecked("it prints too little to be looked at in the middle of its work.")
    counts = [_get_counted(glance, what) for glance in glances]
    if max(counts) - counts[0] > allowed:
        raise Failed(
            f"Over {terms:,} terms without a tracer it grew from {counts[0]:,} to {max(counts):,} "
            f"{words}: what it holds grows with its work."
        )
    return f"Over {terms:,} terms without a tracer it did not grow either."


def check_no_memory_errors(evidence: Evidence, check: Check) -> str:
    """AddressSanitizer and UBSan find nothing."""
    _require_build(evidence, SANITIZED)
    run = evidence.run_sanitized(evidence.lab.terms)
    undefined = _UBSAN_ERROR.search(run.errors)
    if undefined:
        raise Failed(f"UndefinedBehaviorSanitizer: {undefined[2]} ({undefined[1]}).")
    error = _ASAN_ERROR.search(run.errors)
    if error:
        frames = _ASAN_FRAME.findall(run.errors)
        own = [frame for frame in frames if frame[1].endswith(evidence.lab.source)]
        where = f" in {own[0][0]} ({evidence.lab.source}:{own[0][2]})" if own else ""
        raise Failed(f"AddressSanitizer: {error[1]}{where}.")
    if run.exit_code != 0 or run.ended_by != "itself":
        raise Failed(f"Under AddressSanitizer it {_describe_end(run)}.")
    return "AddressSanitizer finds no error."


def check_unchanged(evidence: Evidence, check: Check) -> str:
    """Nothing was changed, comments and all."""
    handed_out = (evidence.lab.folder / evidence.lab.source).read_bytes().decode(errors="replace")
    submitted = evidence.submission.source.decode(errors="replace")
    before, after = handed_out.split(), submitted.split()
    if before != after:
        lines = zip(handed_out.splitlines(), submitted.splitlines(), strict=False)
        number = next((n for n, (a, b) in enumerate(lines, 1) if a.split() != b.split()), 0)
        where = f" (line {number} is the first)" if number else ""
        raise Failed(f"The program was changed{where}: there is nothing in it to mend.")
    return "The program is as it was handed out."


CHECKS: dict[str, Callable[[Evidence, Check], str]] = {
    "builds": check_builds,
    "same_output": check_same_output,
    "flat_heap": check_flat_heap,
    "hit_rate": check_hit_rate,
    "flat_kernel": check_flat_kernel,
    "flat_unwatched": check_flat_unwatched,
    "no_memory_errors": check_no_memory_errors,
    "unchanged": check_unchanged,
}
"""Each kind of check, but for the questions: these are in answers.py."""


def _require_build(evidence: Evidence, level: str) -> None:
    built = evidence.build(level)
    if not built.is_built:
        raise Failed(f"It does not build at {level}: {make_printable(built.complaint)}.")


def _measure(evidence: Evidence, level: str, terms: int) -> Measurement:
    _require_build(evidence, level)
    measurement = evidence.measure(level, terms)
    run = measurement.run
    if run.exit_code != 0 or run.ended_by != "itself":
        raise Failed(f"At {level}, over {terms:,} terms, it {_describe_end(run)}.")
    return measurement


def _count(measurement: Measurement, what: str) -> int:
    at_exit = measurement.at_exit
    value = measurement.mappings if what == "mappings" else getattr(at_exit, what, None)
    if value is None:
        raise NotChecked("the program's end could not be looked at.")
    return int(value)


def _get_counted(glance: Glance, what: str) -> int:
    value = glance.peak_rss_bytes if what == "peak_rss_bytes" else getattr(glance.resources, what)
    if value is None:
        raise NotChecked("what it has could not be counted.")
    return int(value)


def _compare_output(evidence: Evidence, run: Run, where: str, terms: int) -> None:
    if run.exit_code != 0 or run.ended_by != "itself":
        raise Failed(
            f"{where[0].upper()}{where[1:]}, over {terms:,} terms, it {_describe_end(run)}."
        )
    expected, may_differ = evidence.expect_output(terms), evidence.lab.may_differ
    if run.output == expected:
        return
    wanted, got = (
        [line for line in text.splitlines() if not line.startswith(may_differ)]
        for text in (expected, run.output)
    )
    if wanted == got:
        return
    number = next(_find_differences(wanted, got), min(len(wanted), len(got)))
    shown = [_quote(lines[number]) if number < len(lines) else "nothing" for lines in (wanted, got)]
    raise Failed(
        f"Not the same work {where}, over {terms:,} terms: line {number + 1} of the output was "
        f"{shown[0]}, and is {shown[1]}."
    )


def _find_differences(wanted: list[str], got: list[str]) -> Iterator[int]:
    for number, (one, other) in enumerate(zip(wanted, got, strict=False)):
        if one != other:
            yield number


def _count_events(evidence: Evidence, check: Check) -> tuple[str, int]:
    """Return what a leak is reckoned by, and how many of these lie between 2N and 4N terms.

    That is a term, or with `per` = {"word": ..., "shown_by": ...} each line of the output, as it
    must be, that has what it is shown by.
    """
    terms, per = evidence.lab.terms, check.parameters.get("per")
    if not per:
        return "term", 2 * terms
    twice, four_times = (
        sum(per["shown_by"] in line for line in evidence.expect_output(n * terms).splitlines())
        for n in (2, 4)
    )
    return per["word"], max(four_times - twice, 1)


def _describe_leak(cost: StackCost, word: str, events: int, level: str) -> str:
    each = cost.kept_bytes / events
    amount = f"{each:,.0f}" if each == int(each) else f"{each:,.2f}"
    return (
        f"Still {amount} bytes a {word} from {name_site(cost.usage)} at {level}: "
        f"{count_of(cost.kept_blocks, 'block')} of {cost.allocated_blocks:,} are never given back."
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


def _describe_end(run: Run) -> str:
    if run.ended_by == "time":
        return f"still ran after {run.seconds:.0f} s, and was ended"
    if run.ended_by == "output":
        return "printed without end, and was ended"
    said = run.errors.strip().splitlines()
    saying = f', and said "{_shorten(said[-1])}"' if said else ""
    if run.exit_code < 0:
        return f"was ended by {_name_signal(-run.exit_code)}{saying}"
    return f"ended with exit code {run.exit_code}{saying}"


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _quote(line: str) -> str:
    return f'"{_shorten(line)}"'


def _shorten(line: str) -> str:
    text = make_printable(line)
    return text if len(text) <= _MAX_LINE else text[: _MAX_LINE - 3] + "..."
