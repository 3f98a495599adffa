"""A lab judged from a notebook: `./lab check` outside of its kernel, and its report in the page.

Nothing of the learner's runs in the kernel, and nothing in the kernel can change what is found: a
process of its own judges, in the sandbox.
"""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from IPython.display import display

from lablib.apps import APPS_DIR
from lablib.errors import GradingError
from lablib.grading.labs import Lab
from lablib.grading.page import PROGRESS, QUESTION, name_check, read_report
from lablib.language import say, term
from lablib.records import Finding, GradeReport
from lablib.wording import make_printable

CHECKOUT = APPS_DIR.parent
_REDRAW_S = 0.5
_MAX_SECONDS = 300.0
_LEFT = "text-align: left; vertical-align: top"
_MARKS = {
    "passed": term("✓ passed"),
    "failed": term("✗ failed"),
    "skipped": term("· not looked at"),
    "unchecked": term("? unchecked"),
}


def judge_outside(
    lab: Lab,
    folder: Path,
    hint: int = 0,
    on_check: Callable[[str], object] = lambda name: None,
    more_words: Sequence[str] = (),
) -> GradeReport:
    """Return what `./lab check` says of what lies in `folder`, judged by a process of its own.

    `more_words` of the command may say which variant it is. `on_check` is told what is being looked
    at, every half second. Raises `GradingError` with the
    command's own sentence where it could not judge.
    """
    words = [sys.executable, "-m", "lablib", "check", lab.name, "--submission", str(folder)]
    words += [*more_words, "--json", *(["--hint", str(hint)] if hint else [])]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            words, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        try:
            _await_end(process, lambda: on_check(_find_progress(_read_all(errors))))
        finally:
            process.terminate()
            process.wait()
        if process.returncode not in (0, 1):
            raise GradingError(_find_complaint(_read_all(errors)))
        return read_report(json.loads(_read_all(output)))


def _await_end(process: subprocess.Popen[bytes], tick: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + _MAX_SECONDS
    while True:
        tick()
        try:
            process.wait(_REDRAW_S)
            return
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline_s:
                raise GradingError(
                    term("the check took too long"), term("see: ./lab doctor")
                ) from None


def _read_all(file: IO[str]) -> str:
    """Return what a file has so far; whoever writes to it goes on where it was."""
    descriptor = file.fileno()
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")


def _find_progress(errors: str) -> str:
    told = [line for line in errors.splitlines() if line.startswith(PROGRESS)]
    return told[-1].removeprefix(PROGRESS) if told else ""


def _find_complaint(errors: str) -> str:
    lines = [line for line in errors.splitlines() if not line.startswith(PROGRESS)]
    said = lines[-1].removeprefix("lab: ") if lines else "it gave no reason"
    return f"it could not be judged: {said}"


class Progress:
    """A line with a bar in the cell that runs: what is being looked at; then what replaces it."""

    def __init__(self, lab: Lab) -> None:
        self._steps = [*(each.kind for each in lab.checks), "questions"]
        self._started_s = time.monotonic()
        self._place = display({"text/html": "", "text/plain": ""}, raw=True, display_id=True)

    def tell(self, step: str) -> None:
        """Show that this is being looked at."""
        number = self._steps.index(step) + 1 if step in self._steps else 0
        words = say(
            "Checking: {step} ({number} of {count}), {seconds:.0f} s",
            step=name_check(step) if step else term("the sandbox"),
            number=number,
            count=len(self._steps),
            seconds=time.monotonic() - self._started_s,
        )
        label, most = html.escape(say("Checks")), len(self._steps)
        bar = f'<progress aria-label="{label}" max="{most}" value="{number}"></progress>'
        self.replace(f'<p role="status">{bar} {html.escape(words)}</p>', words)

    def replace(self, page: str, text: str) -> None:
        """Show something else in its place."""
        self._place.update({"text/html": page, "text/plain": text}, raw=True)


def render_report(lab: Lab, report: GradeReport) -> tuple[str, str]:
    """Return a report as HTML and as plain text: a row for each finding, the points, the hint."""
    rows = [(_mark(each), _say(lab, each), _worth(each)) for each in report.findings]
    head = "".join(
        f'<th scope="col" style="text-align: left">{words}</th>'
        for words in (say("result"), say("what was found"), say("points"))
    )
    body = "".join(
        f'<tr><th scope="row" style="{_LEFT}; white-space: nowrap">{html.escape(mark)}</th>'
        f'<td style="{_LEFT}">{html.escape(sentence)}</td>'
        f'<td style="{_LEFT}; white-space: nowrap">{html.escape(worth)}</td></tr>'
        for mark, sentence, worth in rows
    )
    hint = [say("Hint: {hint}", hint=say(report.hint))] if report.hint else []
    closing = [_sum_up(report), *hint]
    paragraphs = "".join(f"<p><strong>{html.escape(words)}</strong></p>" for words in closing)
    caption = say("{lab}: what the check found", lab=say(lab.title))
    page = (
        f'<div role="status"><table><caption>{html.escape(caption)}'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{paragraphs}</div>"
    )
    text = [f"{mark:<16} {sentence}  ({worth})" for mark, sentence, worth in rows]
    return page, "\n".join([*text, *closing])


def _mark(finding: Finding) -> str:
    return say(_MARKS[finding.state])


def _say(lab: Lab, finding: Finding) -> str:
    """Return what was found; of an answer, to which question."""
    names = [f"{QUESTION}{question.name}" for question in lab.questions]
    sentence = make_printable(say(finding.sentence))
    if finding.check not in names:
        return sentence
    number = names.index(finding.check) + 1
    return say("Question {number}: {sentence}", number=number, sentence=sentence)


def _worth(finding: Finding) -> str:
    if not finding.possible:
        return say("needed")
    return say("{points:g} of {possible:g}", points=finding.points, possible=finding.possible)


def _sum_up(report: GradeReport) -> str:
    points = say(
        "{points:g} of {possible:g} points.", points=report.points, possible=report.possible
    )
    if report.unchecked:
        points += say(
            " {unchecked:g} could not be given or refused on this machine.",
            unchecked=report.unchecked,
        )
    return points
