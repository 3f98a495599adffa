"""The sentences of the verdicts on call stacks: what a learner reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lablib.analysis.growth import Growth
from lablib.analysis.losses import MIN_BIRTHS, Losses
from lablib.language import say, term
from lablib.records import Frame, StackEvidence, StackUsage
from lablib.wording import count_of

_COUNT: dict[str, Callable[[int], str]] = {
    "heap": lambda number: count_of(number, "block"),
    "mapping": lambda number: count_of(number, "mapping"),
    "thread_stack": lambda number: count_of(number, "thread stack"),
    "arena": lambda number: count_of(number, "arena"),
    "file": lambda number: count_of(number, "mapped file"),
}


_OF_THE_LIBRARY = ("std::", "__gnu_cxx::", "void std::", "void* std::", "__wrap_")
_VERSION = re.compile(r"(_\d+)+$")  # pthread_create_2_1 is how the C library calls it itself


@dataclass(frozen=True)
class Findings:
    """What a sentence on a call stack is made from; the rate is in bytes per second.

    `threads` is how many run at the end, None where that could not be read.
    """

    kind: str
    usage: StackUsage
    evidence: StackEvidence
    growth: Growth
    losses: Losses | None
    rate: float
    error: float
    is_running: bool
    threads: int | None


def name_site(usage: StackUsage) -> str:
    """Return where a stack allocates, for a sentence: function, file and line as far as known.

    That is the program's own function, and the library's that it called if it did so by one. What
    the C++ library's headers put into the program is the library's, and so is what the linker put
    in its place (--wrap).
    """
    frames = usage.frames
    if not frames:
        return term("an unknown caller")
    number = frames.index(find_site(usage) or frames[0])
    if number == 0:
        return name_frame(frames[0])
    called = next((f for f in reversed(frames[:number]) if ".so" in f.module), frames[number - 1])
    function = _VERSION.sub("", called.function or "").strip("_") or called.module
    return term("{site} by {function}", site=name_frame(frames[number]), function=function)


def name_frame(frame: Frame) -> str:
    """Return a frame for a sentence: function, file and line as far as known."""
    if frame.function is None:
        module, offset = frame.module, frame.offset
        return term("{module}+{offset:#x} (no symbols)", module=module, offset=offset)
    return f"{frame.function} ({frame.file}:{frame.line})" if frame.line else frame.function


def find_site(usage: StackUsage) -> Frame | None:
    """Return the frame that `name_site` names, None where there are no frames."""
    first = usage.frames[0] if usage.frames else None
    own = next((frame for frame in usage.frames if _is_own(frame)), first)
    return own if own is not None and own.function is not None else first


def _is_own(frame: Frame) -> bool:
    return ".so" not in frame.module and not (frame.function or "").startswith(_OF_THE_LIBRARY)


def describe_rate(rate: float, error: float, unit: str = "bytes") -> str:
    """Return "81,920 ± 300 bytes a second", with decimals where the rate is small."""
    digits = 0 if abs(rate) >= 100 or (unit == "bytes" and abs(rate) >= 10) else 1
    amount = f"{rate:,.{digits}f} ± {error:,.{digits}f}"
    if unit == "bytes":
        return term("{amount} bytes a second", amount=amount)
    return term("{amount} {unit} a second", amount=amount, unit=unit)


def describe_wait(needed_s: float, is_running: bool) -> str:
    """Return what to do for more evidence."""
    if not is_running:
        return term("and its program has ended; let it run for longer")
    return term("trace for {seconds:.0f} s more", seconds=max(1.0, needed_s))


def describe_stack(findings: Findings) -> str:
    """Return one sentence or two on a call stack: where, what, how much, and how it is known."""
    losses = findings.losses
    if losses is not None and losses.lost_blocks and findings.kind == "leaking":
        return _describe_lost(findings, losses)
    if losses is not None and losses.needed_s and findings.kind == "undecided":
        return say(
            "Not enough evidence yet about {site}: in the last scan nothing pointed at {lost:,} of "
            "its {blocks}, for the first time; {wait}.",
            site=_site(findings),
            lost=losses.lost_blocks,
            blocks=count_of(findings.usage.live_blocks, "block"),
            wait=describe_wait(losses.needed_s, findings.is_running),
        )
    if losses is not None and losses.lost_blocks and not losses.was_hidden:
        return say(
            "{site} lost {lost} once. No call of the program's own is in the stack, and it does "
            "not grow: that is a library's own, not a leak of the program.",
            site=_site(findings),
            lost=_size(losses.lost_bytes, losses.lost_blocks),
        )
    return _DESCRIBE[findings.kind](findings)


def _describe_lost(findings: Findings, losses: Losses) -> str:
    usage, seconds = findings.usage, findings.evidence.window_s
    count = losses.lost_blocks
    which = term("one of them") if count == 1 else term("{count:,} of them", count=count)
    if count == usage.allocated_blocks:
        which = term("any of them" if count > 1 else "it")
    lost = term(
        "in {seconds:.1f} s it made {blocks}, and nothing points any longer at {which} ({bytes})",
        seconds=seconds,
        blocks=_count(usage.allocated_blocks, usage.kind),
        which=which,
        bytes=count_of(losses.lost_bytes, "byte"),
    )
    facts: dict[str, str] = {"site": name_site(usage), "lost": lost}
    if losses.goes_on:
        rate = describe_rate(findings.rate, findings.error)
        return say("{site} leaks {rate}: {lost}.", **facts, rate=rate)
    if losses.births >= MIN_BIRTHS:
        return say("{site} leaked for a while: {lost}. None that it made later is lost.", **facts)
    if losses.births > 1:
        return say(
            "{site} leaks: {lost}. That has not happened often enough to tell a rate.", **facts
        )
    return say(
        "{site} leaked once: {lost}. It has lost nothing more, so there is no rate.", **facts
    )


def _describe_leaking(findings: Findings) -> str:
    return say(
        "{site} leaks {rate}: after {seconds:.1f} s it holds {live}, and {freed}. {looked}",
        site=_site(findings),
        rate=describe_rate(findings.rate, findings.error),
        seconds=findings.evidence.window_s,
        live=_live(findings),
        freed=_freed(findings),
        looked=_not_looked(findings),
    )


def _not_looked(findings: Findings) -> str:
    if findings.usage.kind == "thread_stack":
        return term(
            "{threads} It is address space: RSS shows little of it.",
            threads=_explain_threads(findings),
        )
    return term("Whether something still points at them was not looked at.")


def _explain_threads(findings: Findings) -> str:
    if findings.threads is None:
        return term("Each is of a thread that was never joined or detached, or that never ends.")
    threads = count_of(findings.threads, "thread")
    running = term("{threads} runs" if findings.threads == 1 else "{threads} run", threads=threads)
    if findings.threads > findings.usage.live_blocks / 2:
        return term("{running} at the end: they never end.", running=running)
    return term(
        "Only {running} at the end: the others have ended, and nobody joined or detached them.",
        running=running,
    )


def _describe_growing(findings: Findings) -> str:
    text = say(
        "{site} grows by {rate}. It holds {live} and {freed}.",
        site=_site(findings),
        rate=describe_rate(findings.rate, findings.error),
        live=_live(findings),
        freed=_freed(findings),
    )
    if findings.evidence.was_hidden:
        return f"{text} {say(_HIDDEN)}"
    if findings.losses is None:
        return f"{text} {say('A need that rises, or a leak beside it.')}"
    why = say(
        "The program still points at all of them: its need rises, or nothing empties what they "
        "are kept in."
        if findings.usage.live_blocks > 1
        else "The program still points at it: its need rises, or nothing empties what it is kept "
        "in."
    )
    return f"{text} {why}"


def _describe_plateau(findings: Findings) -> str:
    growth = findings.growth
    how = term("has not grown for {seconds:.1f} s", seconds=growth.silence_s)
    if growth.rises and growth.silence_s < growth.window_s / 10:
        how = term("has all but stopped growing")
    return say(
        "{site} holds {live} and {how}; it {freed}.",
        site=_site(findings),
        live=_live(findings),
        how=how,
        freed=_freed(findings),
    )


def _describe_churn(findings: Findings) -> str:
    site, freed = _site(findings), _freed(findings)
    text = say("{site} allocates and frees without growing: it {freed}.", site=site, freed=freed)
    if findings.usage.live_blocks:
        text = say(
            "{site} allocates and frees without growing: it {freed} and holds {live}.",
            site=site,
            freed=freed,
            live=_live(findings),
        )
    return f"{text} {say(_HIDDEN)}" if findings.evidence.was_hidden else text


def _describe_clean(findings: Findings) -> str:
    return say("{site} holds nothing: it {freed}.", site=_site(findings), freed=_freed(findings))


def _describe_undecided(findings: Findings) -> str:
    window_s = findings.evidence.window_s
    wait = describe_wait(findings.evidence.needed_s, findings.is_running)
    facts = {
        "site": _site(findings),
        "live": _live(findings),
        "seconds": f"{window_s:.1f}",
        "wait": wait,
    }
    return say(
        "Not enough evidence yet about {site}: it holds {live} after {seconds} s; {wait}."
        if findings.is_running
        else "Not enough evidence yet about {site}: it holds {live} after {seconds} s, {wait}.",
        **facts,
    )


_HIDDEN = term(
    "Nothing seemed to point at some blocks that it freed later: the program keeps their addresses "
    "in a form that a scan can't see."
)

_DESCRIBE = {
    "leaking": _describe_leaking,
    "growing": _describe_growing,
    "plateau": _describe_plateau,
    "churn": _describe_churn,
    "clean": _describe_clean,
    "undecided": _describe_undecided,
}


def _site(findings: Findings) -> str:
    return name_site(findings.usage)


def _live(findings: Findings) -> str:
    usage = findings.usage
    live = _size(usage.live_bytes, usage.live_blocks, usage.kind)
    if usage.live_bytes_error:
        error = 1.96 * usage.live_bytes_error
        live = term("about {live} (± {error:,.0f} bytes, sampled)", live=live, error=error)
    return live


def _freed(findings: Findings) -> str:
    usage = findings.usage
    made = _count(usage.allocated_blocks, usage.kind)
    if not usage.freed_blocks:
        return term("freed none of its {made}", made=made)
    if usage.freed_blocks == usage.allocated_blocks:
        is_one = usage.allocated_blocks == 1
        return term("freed its {made}" if is_one else "freed all {made}", made=made)
    return term("freed {freed:,} of its {made}", freed=usage.freed_blocks, made=made)


def _size(size_bytes: int, blocks: int, kind: str = "heap") -> str:
    return term(
        "{size} in {blocks}", size=count_of(size_bytes, "byte"), blocks=_count(blocks, kind)
    )


def _count(number: int, kind: str) -> str:
    """Return a number of blocks of a kind with its noun."""
    return _COUNT[kind](number)
