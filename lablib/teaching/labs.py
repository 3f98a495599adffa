"""A graded lab in its notebook: look at the program, run it, answer, and have it judged.

    lab = open_lab()

All that a notebook shows of the program comes from the learner's own files, so that one notebook
serves every variant.
"""

from __future__ import annotations

import html
from pathlib import Path

from IPython.display import display

from lablib.errors import GradingError
from lablib.grading.labs import ANSWERS, Lab, load_lab
from lablib.grading.page import QUESTION
from lablib.language import say, term
from lablib.records import GradeReport
from lablib.teaching.lab_questions import QuestionForm
from lablib.teaching.lab_reports import Progress, judge_outside, render_report
from lablib.teaching.lab_runs import LabRun, watch_program

PARTS = ("program", "answers")

_SCROLLED = (
    "max-height: 28em; overflow: auto; white-space: pre; border: 1px solid; margin: 0; padding: 6px"
)


def open_lab(folder: Path | None = None) -> LabBench:
    """Return the lab that a folder is named after, with the learner's files in it.

    Without `folder` it is the current one, which for a notebook is its own. Raises `GradingError`
    where there is no lab of that name.
    """
    place = (folder or Path.cwd()).resolve()
    return LabBench(load_lab(place.name), place)


class LabBench:
    """A learner's work at a lab: `lab` says what is asked, `folder` has the program and answers."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self._judged: tuple[list[bytes], GradeReport] | None = None

    def show_program(self) -> None:
        """Display the program as it is in its file, with line numbers, and a link that opens it."""
        show_source(self.folder / self.lab.source, self.lab.source)

    def watch(
        self,
        view: str = "stacks",
        rate: float = 100,
        seconds: float = 4,
        failing: bool = False,
    ) -> LabRun:
        """Build the program as it is now, run it for some seconds, and show what it holds.

        `view` is "stacks" (live bytes by call stack; needs the tracer) or "sizes". `rate` is in
        terms a second, 0 for as fast as it goes. With `failing` some calls of the functions that
        the lab is about fail. Raises `LabError`, with the compiler's words if it doesn't compile.
        """
        run = watch_program(self.lab, self.folder, view, rate, seconds, failing)
        run.show(f"{self.lab.source}, {rate:g} terms a second{', some fail' * failing}")
        return run

    def show_questions(self) -> None:
        """Display the lab's questions; the answers go to answers.json."""
        QuestionForm(self.lab, self.folder).show()

    def check(self, hint: int = 0) -> None:
        """Have what is in the folder judged as `./lab check` does it, and display the report.

        `hint`, 1 to 3, adds a hint for what failed first, the more telling the higher. Raises
        `GradingError` where it can't be judged here.
        """
        progress = Progress(self.lab)
        report = self._judge(hint, progress)
        progress.replace(*render_report(self.lab, report))

    def points(self, part: str) -> float:
        """Return the points for a part of the lab: "program" or "answers".

        Judged anew where the files have changed since the last check. What this machine could not
        check has no points, and is printed.
        """
        if part not in PARTS:
            raise GradingError(
                term("a lab has no part called {part}", part=part),
                term("choose: {choices}", choices=", ".join(PARTS)),
            )
        if self._judged is None or self._judged[0] != self._read_files():
            self._judge(0, None)
        assert self._judged is not None
        mine = [
            each
            for each in self._judged[1].findings
            if each.check.startswith(QUESTION) == (part == "answers")
        ]
        for each in mine:
            if each.state == "unchecked":
                print(f"unchecked, {each.possible:g} points: {each.sentence}")
        return float(sum(each.points for each in mine))

    def _judge(self, hint: int, progress: Progress | None) -> GradeReport:
        files = self._read_files()
        tell = progress.tell if progress else lambda name: None
        report = judge_outside(self.lab, self.folder, hint, tell)
        self._judged = files, report
        return report

    def _read_files(self) -> list[bytes]:
        paths = (self.folder / name for name in (self.lab.source, ANSWERS))
        return [path.read_bytes() if path.exists() else b"" for path in paths]


def show_source(path: Path, link: str) -> None:
    """Display a program's file as it is now, with line numbers, and a link that opens it."""
    text = path.read_text(errors="replace").rstrip("\n")
    name = html.escape(path.name)
    lines = enumerate(text.expandtabs(4).splitlines(), start=1)
    numbered = "\n".join(f"{number:>4}  {line}" for number, line in lines)
    told = say(
        "The file is {link}: open it in a tab beside this one.",
        link=f'<a href="{html.escape(link)}">{name}</a>',
    )
    label = html.escape(say("The program {name}, with line numbers", name=path.name))
    page = (
        f'<p>{told}</p><pre tabindex="0" role="region" aria-label="{label}" '
        f'style="{_SCROLLED}">{html.escape(numbered)}</pre>'
    )
    display({"text/html": page, "text/plain": numbered}, raw=True)
