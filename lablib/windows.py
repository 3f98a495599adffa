"""What did one action leave behind? Verdicts on windows that were opened and closed around it.

A window shows what was allocated in it and is still there. Once proves nothing: the first time, a
program fills its caches. So the action is repeated, and each call stack is asked how often it left
something:

    leaking     in each of the last three windows, or more
    plateau     in earlier ones, but not in the last
    undecided   in the last, but not often enough to say
    clean       never
"""

from __future__ import annotations

from collections.abc import Sequence

from lablib.analysis import name_site
from lablib.records import Frame, HeapSnapshot, ProcessVerdict, StackUsage, StackVerdict
from lablib.wording import count_of

MIN_WINDOWS = 3
_GRAVITY = ("leaking", "undecided", "plateau", "clean")


def judge_windows(windows: Sequence[HeapSnapshot]) -> ProcessVerdict:
    """Return the verdict on repetitions of one action, each in a window of its own, in order.

    Each snapshot holds what its window left behind. Nothing is said of growth per second.
    """
    left: dict[tuple[str, tuple[Frame, ...]], list[StackUsage | None]] = {}
    for number, window in enumerate(windows):
        for usage in (*window.stacks, *window.mappings):
            if usage.kind != "arena":
                rows = left.setdefault((usage.kind, usage.frames), [None] * len(windows))
                rows[number] = usage
    verdicts = sorted(
        (_judge_stack(usages) for usages in left.values()),
        key=lambda verdict: (_GRAVITY.index(verdict.kind), -verdict.usage.live_bytes),
    )
    kind = verdicts[0].kind if verdicts else "clean"
    return ProcessVerdict(kind, _describe(kind, verdicts, len(windows)), tuple(verdicts))


def _judge_stack(usages: Sequence[StackUsage | None]) -> StackVerdict:
    live_bytes = [usage.live_bytes if usage else 0 for usage in usages]
    latest = next(u for u in reversed(usages) if u is not None)
    last = usages[-1] or latest
    if not any(live_bytes):
        kind = "clean"
    elif len(live_bytes) >= MIN_WINDOWS and all(live_bytes[-MIN_WINDOWS:]):
        kind = "leaking"
    elif live_bytes[-1]:
        kind = "undecided"
    else:
        kind = "plateau"
    listed = ", ".join(f"{size:,}" for size in live_bytes)
    sentence = f"{name_site(last)} left behind {listed} bytes in {_times(len(usages))}."
    return StackVerdict(kind, sentence, last, 0.0, 0.0)


def _describe(kind: str, verdicts: Sequence[StackVerdict], windows: int) -> str:
    if kind == "clean":
        return f"Nothing was left behind in {_times(windows)}."
    first = verdicts[0]
    if kind == "leaking":
        return f"It leaks: {first.sentence}"
    if kind == "plateau":
        return f"Not a leak: kept once and not again. {first.sentence}"
    return f"Not enough evidence yet: {first.sentence} Repeat the action in another window."


def _times(windows: int) -> str:
    return count_of(windows, "window")
