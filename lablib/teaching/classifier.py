"""A blind test: which kind of curve is it? The learner chooses, and is told the score and why.

Nothing waits: a notebook that runs unattended goes on without an answer. The answers can be given
once; then the form makes room for a table that says which of them are right, and for each other
one what in the curve tells it. That table is plain HTML, and stays with the saved notebook.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets
from IPython.display import display

from lablib.errors import LabError
from lablib.language import say, term
from lablib.teaching.scripts import read_script

OPEN = "open"
"""The answer that it can't be told: neither right nor wrong."""

KINDS = {
    "leaking": (term("Leak"), term("memory is lost")),
    "growing": (term("Growth"), term("all of it still reachable")),
    "plateau": (term("Plateau"), term("it rose and stopped")),
    "churn": (term("Churn"), term("comes and goes")),
    "retention": (term("Retention"), term("freed, but RSS stays")),
    OPEN: (term("Can't tell"), term("not from this")),
}
"""What can be chosen: those kinds of a verdict that a curve may show, with a label and a hint."""

Explain = Callable[[str, str], str]
"""Takes a letter and what was said of it (one of `KINDS`); returns what the curve tells instead."""


@dataclass(frozen=True)
class Score:
    """How many answers were right and wrong; `left_open` are those without one, or `OPEN`."""

    right: int
    wrong: int
    left_open: int

    def __str__(self) -> str:
        """Return it as a sentence."""
        total = self.right + self.wrong + self.left_open
        return say(
            "{right} of {total} right, {wrong} wrong, {left_open} left open.",
            right=self.right,
            total=total,
            wrong=self.wrong,
            left_open=self.left_open,
        )


class _Choices(anywidget.AnyWidget):
    """The table of choices; what its traits mean is told in the JavaScript file."""

    _esm = read_script("classifier.js")
    _css = Path(__file__).with_name("classifier.css")

    letters: Any = traitlets.List().tag(sync=True)
    kinds: Any = traitlets.List().tag(sync=True)
    answers = traitlets.Dict().tag(sync=True)
    headings: Any = traitlets.List().tag(sync=True)
    is_locked = traitlets.Bool(False).tag(sync=True)


class Classifier:
    """Asks which kind each letter is of; `right` are the kinds that are right for it.

    `explain` is asked for a sentence on each answer that is not right, also on one left open.
    `answers` are there from the start, those of an earlier round for instance.
    """

    def __init__(
        self,
        right: Mapping[str, Collection[str]],
        explain: Explain,
        answers: Mapping[str, str] | None = None,
    ) -> None:
        self.right = dict(right)
        self.score: Score | None = None
        """Is there once the answers are given."""
        self._explain = explain
        kinds = [
            {"value": kind, "label": say(label), "words": say(words)}
            for kind, (label, words) in KINDS.items()
        ]
        self._choices = _Choices(
            letters=list(right),
            kinds=kinds,
            headings=[say("One choice for each letter"), say("curve")],
            answers=dict(answers or {}),
        )
        self._button = widgets.Button(
            description=say("Give my answers"), layout=widgets.Layout(width="max-content")
        )
        self._button.on_click(lambda _: self._press())
        self._message = widgets.HTML()
        self._box = widgets.VBox([self._choices, self._button, self._message])
        self._place: Any = None

    @property
    def answers(self) -> dict[str, str]:
        """What is chosen now, by letter; letters without an answer are left out."""
        return dict(self._choices.answers)

    def choose(self, letter: str, kind: str) -> None:
        """Choose one of `KINDS` for a letter, as its radio button does; raises `LabError`."""
        if self.score is not None:
            raise _too_late()
        if letter not in self.right or kind not in KINDS:
            raise LabError(
                term("{letter}: {kind} is not a choice", letter=letter, kind=kind),
                term(
                    "letters are {letters}; kinds are {kinds}",
                    letters=", ".join(self.right),
                    kinds=", ".join(KINDS),
                ),
            )
        self._choices.answers = {**self.answers, letter: kind}

    def give(self) -> Score:
        """Give the answers as they are chosen, show what is right about them, return the score.

        The button calls it; where a page shows no buttons, the reader does. Raises `LabError` where
        nothing is chosen, and when the answers have been given.
        """
        if self.score is not None:
            raise _too_late()
        if not self.answers:
            raise LabError(
                term("nothing is chosen yet"), term("choose a kind for each letter first")
            )
        judged = [self._judge(letter) for letter in self.right]
        self.score = Score(*(judged.count(mark) for mark in ("right", "wrong", "open")))
        self._choices.is_locked = self._button.disabled = True
        self._message.value = self._describe()
        if self._place is not None:
            self._place.update(self)
        return self.score

    def show(self) -> None:
        """Display the form, until the answers are given."""
        self._place = display(self, display_id=True)

    def _press(self) -> None:
        try:
            self.give()
        except LabError as error:
            self._message.value = f'<p role="alert">{html.escape(str(error))}</p>'

    def _judge(self, letter: str) -> str:
        said = self.answers.get(letter, OPEN)
        return "right" if said in self.right[letter] else "open" if said == OPEN else "wrong"

    def _list_rows(self) -> list[tuple[str, str, str, str]]:
        """Return for each letter what was said, how that is judged, and what tells it."""
        rows = []
        for letter in self.right:
            said, judged = self.answers.get(letter, OPEN), self._judge(letter)
            why = "" if judged == "right" else self._explain(letter, said)
            label = say(KINDS[said][0] if letter in self.answers else term("no answer"))
            rows.append((letter, label, judged, why))
        return rows

    def _describe(self) -> str:
        """Return the result as HTML, or that there is none."""
        if self.score is None:
            return f"<p>{say('No answers were given.')}</p>"
        head = "".join(f'<th scope="col" {_LEFT}>{say(column)}</th>' for column in _COLUMNS)
        body = "".join(
            f'<tr><th scope="row">{letter}</th><td {_LEFT}>{html.escape(said)}</td>'
            f"<td {_LEFT}>{say(_MARKS[judged])}</td><td {_LEFT}>{html.escape(why)}</td></tr>"
            for letter, said, judged, why in self._list_rows()
        )
        return (
            f'<p role="status"><strong>{self.score}</strong></p>'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        # Once the answers are given no widget is needed, and none may be left blank by a reload.
        bundle = dict(self._box._repr_mimebundle_(**options)) if self.score is None else {}
        return {**bundle, "text/plain": repr(self), "text/html": self._describe()}

    def __repr__(self) -> str:
        """Return the result as text, or that there is none."""
        if self.score is None:
            return say("No answers were given.")
        rows = self._list_rows()
        lines = (
            f"{letter}: {said}, {say(_WORDS[judged])}. {why}".rstrip()
            for letter, said, judged, why in rows
        )
        return "\n".join([str(self.score), *lines])


def _too_late() -> LabError:
    return LabError(
        term("the answers are given already"), term("run the cell again to give others")
    )


_MARKS = {
    "right": term("✓ right"),
    "wrong": term("✗ not right"),
    "open": term("○ left open"),
}
_WORDS = {"right": term("right"), "wrong": term("wrong"), "open": term("open")}
_COLUMNS = (term("curve"), term("you said"), term("that is"), term("what tells it"))
_LEFT = 'style="text-align: left"'
