"""The sentences of the verdicts on call stacks: what a learner reads."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lablib.analysis.growth import Growth
from lablib.analysis.losses import MIN_BIRTHS, Losses
from lablib.records import Frame, StackEvidence, StackUsage
from lablib.wording import count_of

_NOUNS = {
    "heap": "block",
    "mapping": "mapping",
    "thread_stack": "thread stack",
    "arena": "arena",
    "file": "mapped file",
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
        return "an unknown caller"
    number = frames.index(find_site(usage) or frames[0])
    if number == 0:
        return name_frame(frames[0])
    called = next((f for f in reversed(frames[:number]) if ".so" in f.module), frames[number - 1])
    function = _VERSION.sub("", called.function or "").strip("_") or called.module
    return f"{name_frame(frames[number])} by {function}"


def name_frame(frame: Frame) -> str:
    """Return a frame for a sentence: function, file and line as far as known."""
    if frame.function is None:
        return f"{frame.module}+{frame.offset:#x} (no symbols)"
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
    return f"{rate:,.{digits}f} ± {error:,.{digits}f} {unit} a second"


def describe_wait(needed_s: float, is_running: bool) -> str:
    """Return what to do for more evidence."""
    if not is_running:
        return "and its program has ended; let it run for longer"
    return f"trace for {max(1.0, needed_s):.0f} s more"


def describe_stack(findings: Findings) -> str:
    """Return one sentence or two on a call stack: where, what, how much, and how it is known."""
    losses = findings.losses
    if losses is not None and losses.lost_blocks and findings.kind == "leaking":
        return _describe_lost(findings, losses)
    if losses is not None and losses.needed_s and findings.kind == "undecided":
        return (
            f"Not enough evidence yet about {_site(findings)}: in the last scan nothing pointed at "
            f"{losses.lost_blocks:,} of its {count_of(findings.usage.live_blocks, 'block')}, for "
            f"the first time; {describe_wait(losses.needed_s, findings.is_running)}."
        )
    if losses is not None and losses.lost_blocks and not losses.was_hidden:
        return (
            f"{name_site(findings.usage)} lost {_size(losses.lost_bytes, losses.lost_blocks)} "
            "once. No call of the program's own is in the stack, and it does not grow: "
            "that is a library's own, not a leak of the program."
        )
    return _DESCRIBE[findings.kind](findings)


def _describe_lost(findings: Findings, losses: Losses) -> str:
    usage, seconds = findings.usage, findings.evidence.window_s
    site, noun = name_site(usage), _NOUNS[usage.kind]
    which = f"{losses.lost_blocks:,} of them" if losses.lost_blocks > 1 else "one of them"
    if losses.lost_blocks == usage.allocated_blocks:
        which = "any of them" if losses.lost_blocks > 1 else "it"
    lost = (
        f"in {seconds:.1f} s it made {count_of(usage.allocated_blocks, noun)}, and nothing points "
        f"any longer at {which} ({count_of(losses.lost_bytes, 'byte')})"
    )
    if losses.goes_on:
        return f"{site} leaks {describe_rate(findings.rate, findings.error)}: {lost}."
    if losses.births >= MIN_BIRTHS:
        return f"{site} leaked for a while: {lost}. None that it made later is lost."
    if losses.births > 1:
        return f"{site} leaks: {lost}. That has not happened often enough to tell a rate."
    return f"{site} leaked once: {lost}. It has lost nothing more, so there is no rate."


def _describe_leaking(findings: Findings) -> str:
    return (
        f"{_site(findings)} leaks {describe_rate(findings.rate, findings.error)}: after "
        f"{findings.evidence.window_s:.1f} s it holds {_live(findings)}, and {_freed(findings)}. "
        f"{_not_looked(findings)}"
    )


def _not_looked(findings: Findings) -> str:
    if findings.usage.kind == "thread_stack":
        return f"{_explain_threads(findings)} It is address space: RSS shows little of it."
    return "Whether something still points at them was not looked at."


def _explain_threads(findings: Findings) -> str:
    if findings.threads is None:
        return "Each is of a thread that was never joined or detached, or that never ends."
    running = f"{count_of(findings.threads, 'thread')} {'runs' if findings.threads == 1 else 'run'}"
    if findings.threads > findings.usage.live_blocks / 2:
        return f"{running} at the end: they never end."
    return f"Only {running} at the end: the others have ended, and nobody joined or detached them."


def _describe_growing(findings: Findings) -> str:
    rate = describe_rate(findings.rate, findings.error)
    text = f"{_site(findings)} grows by {rate}. It holds {_live(findings)} and {_freed(findings)}."
    if findings.evidence.was_hidden:
        return f"{text} {_HIDDEN}"
    if findings.losses is None:
        return f"{text} A need that rises, or a leak beside it."
    them, they = ("all of them", "they are") if findings.usage.live_blocks > 1 else ("it", "it is")
    return (
        f"{text} The program still points at {them}: "
        f"its need rises, or nothing empties what {they} kept in."
    )


def _describe_plateau(findings: Findings) -> str:
    growth = findings.growth
    how = f"has not grown for {growth.silence_s:.1f} s"
    if growth.rises and growth.silence_s < growth.window_s / 10:
        how = "has all but stopped growing"
    return f"{_site(findings)} holds {_live(findings)} and {how}; it {_freed(findings)}."


def _describe_churn(findings: Findings) -> str:
    text = f"{_site(findings)} allocates and frees without growing: it {_freed(findings)}"
    live = f"{text} and holds {_live(findings)}." if findings.usage.live_blocks else f"{text}."
    return f"{live} {_HIDDEN}" if findings.evidence.was_hidden else live


def _describe_clean(findings: Findings) -> str:
    return f"{_site(findings)} holds nothing: it {_freed(findings)}."


def _describe_undecided(findings: Findings) -> str:
    window_s = findings.evidence.window_s
    wait = describe_wait(findings.evidence.needed_s, findings.is_running)
    return (
        f"Not enough evidence yet about {_site(findings)}: it holds {_live(findings)} "
        f"after {window_s:.1f} s{',' if wait.startswith('and') else ';'} {wait}."
    )


_HIDDEN = (
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
    live = _size(usage.live_bytes, usage.live_blocks, _NOUNS[usage.kind])
    if usage.live_bytes_error:
        live = f"about {live} (± {1.96 * usage.live_bytes_error:,.0f} bytes, sampled)"
    return live


def _freed(findings: Findings) -> str:
    usage = findings.usage
    made = count_of(usage.allocated_blocks, _NOUNS[usage.kind])
    if usage.freed_blocks in (0, usage.allocated_blocks):
        which = "none of its" if not usage.freed_blocks else "its" if made[0:2] == "1 " else "all"
        return f"freed {which} {made}"
    return f"freed {usage.freed_blocks:,} of its {made}"


def _size(size_bytes: int, blocks: int, noun: str = "block") -> str:
    return f"{count_of(size_bytes, 'byte')} in {count_of(blocks, noun)}"
