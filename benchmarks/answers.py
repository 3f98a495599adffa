"""What a tool answered about a known workload, in words, and whether it is the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.other_tools import ToolReport
from benchmarks.workloads import Case, Live, Outcome, find_disagreements, from_function

RIGHT, WRONG = "right", "WRONG"
NO_ANSWER = "no answer"
NOT_INSTALLED = "not installed"
DOES_NOT_APPLY = "does not apply"


@dataclass(frozen=True)
class Answer:
    """A tool's answer about one case: the mark, the answer in words, what the tool was given."""

    mark: str
    text: str = ""
    given: str = ""

    def __str__(self) -> str:
        """One line for the table."""
        given = f" (with {self.given})" if self.given else ""
        return f"{self.mark}{given}{': ' if self.text else ''}{self.text}"


def judge_outcome(case: Case, outcome: Outcome) -> Answer:
    """Return lablib's own answer."""
    wrong = find_disagreements(case, outcome)
    text = _describe_outcome(case, outcome)
    return Answer(WRONG, f"{text}; {'; '.join(wrong)}") if wrong else Answer(RIGHT, text)


def _describe_outcome(case: Case, outcome: Outcome) -> str:
    last = outcome.last
    if case.sample_bytes:
        text = f"{last.live_bytes:,} ± {last.live_bytes_error:,.0f} bytes"
    elif case.in_all is not None:
        text = _describe(last.live_bytes, last.live_blocks)
    else:
        parts = [from_function(last, function) for function in case.heap]
        text = _describe(sum(part[0] for part in parts), sum(part[1] for part in parts))
    for child in outcome.last_of_children:
        text = f"the child {_describe(child.live_bytes, child.live_blocks)}, the parent {text}"
    kinds = {usage.kind for usage in last.mappings} if case.mappings else set()
    for kind in sorted(kinds):
        size_bytes = sum(usage.live_bytes for usage in last.mappings if usage.kind == kind)
        text += f"; {kind.replace('_', ' ')}: {size_bytes:,} bytes"
    if any(usage.is_cut for usage in last.stacks):
        text += ", and says that callers are missing"
    if last.has_executed:
        text += ", and says that it became another program"
    if last.events.from_before:
        text += f", and {last.events.from_before:,} frees from before"
    return text


def judge_report(case: Case, report: ToolReport) -> Answer:
    """Return another tool's answer; its mark is right if all that it says is true."""
    truth = {**case.heap, **case.heap_in_child}
    functions_by_text: dict[str, list[str]] = {}
    for function, live in truth.items():
        seen = report.sum_below(function)
        if not _is(seen, live):
            functions_by_text.setdefault(_describe(*seen), []).append(function)
    is_right = not functions_by_text
    total = _describe(*report.sum_below(*truth)) if is_right else ""
    if case.in_all is not None:
        is_right &= _is_total(case, report)
        total = _describe(*report.sum_below())
        functions_by_text.pop(total, None)
    notes = [f"{text} below {', '.join(names)}" for text, names in functions_by_text.items()]
    if case.callers and not _has_chain(report, case.callers):
        notes.append("callers are missing, without a word")
        is_right = False
    return Answer(RIGHT if is_right else WRONG, "; ".join(filter(None, [total, *notes])))


def _is_total(case: Case, report: ToolReport) -> bool:
    """Whether a report is right in all: the heap, and mappings that the program made itself."""
    assert case.in_all is not None
    mapped_bytes = (case.mappings or {}).get("mapping", 0)
    size_bytes, blocks = report.sum_below()
    wanted = Live(case.in_all.size_bytes + mapped_bytes, case.in_all.blocks + bool(mapped_bytes))
    if case.slack_bytes:
        return abs(size_bytes - wanted.size_bytes) <= case.slack_bytes
    return _is((size_bytes, blocks), wanted)


def _is(seen: tuple[int, int | None], truth: Live) -> bool:
    size_bytes, blocks = seen
    return size_bytes == truth.size_bytes and blocks in (None, truth.blocks)


def _has_chain(report: ToolReport, callers: Sequence[str]) -> bool:
    """Whether every stack through the first of the callers goes on with the others."""
    for stack in report.stacks:
        if callers[0] in stack.functions:
            first = stack.functions.index(callers[0])
            if stack.functions[first : first + len(callers)] != tuple(callers):
                return False
    return True


def _describe(size_bytes: int, blocks: int | None) -> str:
    if blocks is None:
        return f"{size_bytes:,} bytes" if size_bytes else "nothing"
    return str(Live(size_bytes, blocks))
