"""A lab's questions as a form, which writes the answers to the learner's answers.json."""

from __future__ import annotations

import html
import json
import os
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from lablib.errors import LabError
from lablib.grading.labs import ANSWERS, NEVER, Lab, Question
from lablib.language import say, term
from lablib.teaching.choices import Choices
from lablib.teaching.predictions import parse_number
from lablib.wording import os_reason

Answer = str | int | float | None

_WIDE = widgets.Layout(width="min(100%, 46em)")


class QuestionForm:
    """The questions of a lab with a field for each, and a button that keeps the answers.

    What answers.json in `folder` has stands in the fields at first; nothing else is kept anywhere.
    """

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self._path = folder / ANSWERS
        self._message = widgets.HTML()
        kept = self._read_kept()
        self.fields = {each.name: _make_field(each, kept.get(each.name)) for each in lab.questions}
        button = widgets.Button(
            description=say("Keep my answers"),
            tooltip=say("Writes the answers to {file}", file=ANSWERS),
            layout=widgets.Layout(width="max-content"),
        )
        button.on_click(lambda _: self._keep())
        rows = [
            part
            for number, question in enumerate(lab.questions, start=1)
            for part in (_name_question(number, question), self.fields[question.name])
        ]
        self._box = widgets.VBox([*rows, button, self._message])

    def show(self) -> None:
        """Display the form; where there are no widgets, the questions and what is kept."""
        bundle = dict(self._box._repr_mimebundle_() or {})
        texts = {"text/html": self._render(), "text/plain": "\n".join(self._list_questions())}
        display({**bundle, **texts}, raw=True)

    def keep(self) -> int:
        """Write what stands in the fields to answers.json, and return how many are answered.

        Raises `LabError` for what is no number where one is wanted, and where it can't be written.
        """
        answers = {each.name: self._read_field(each) for each in self.lab.questions}
        try:
            _write_whole(self._path, json.dumps({**self._read_kept(), **answers}, indent=2) + "\n")
        except OSError as error:
            raise LabError(
                term("{path} can't be written ({reason})", path=self._path, reason=os_reason(error))
            ) from None
        return sum(answer not in (None, "") for answer in answers.values())

    def _keep(self) -> None:
        try:
            count = self.keep()
        except LabError as error:
            self._message.value = f'<p role="alert">{html.escape(str(error))}</p>'
            return
        told = say(
            "Kept in {file}: {count} of {total} answered. They are judged with the program, below.",
            file=ANSWERS,
            count=count,
            total=len(self.fields),
        )
        self._message.value = f'<p role="status">{html.escape(told)}</p>'

    def _read_field(self, question: Question) -> Answer:
        value = self.fields[question.name].value
        if question.choices:
            return next((k for k, text in question.choices.items() if value == _label(k, text)), "")
        text = str(value).strip()
        if question.is_name or question.least_words:
            return text
        if question.may_be_never and text.lower() == NEVER:
            return NEVER
        return _plain(parse_number(text, "bytes")) if text else None

    def _read_kept(self) -> dict[str, Any]:
        """Return what the file has; nothing of one that is no form of answers."""
        try:
            kept = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _list_questions(self) -> list[str]:
        lines = []
        for number, question in enumerate(self.lab.questions, start=1):
            lines.append(f"{number}. {say(question.text)}")
            lines += [f"   {say(_label(k, text))}" for k, text in question.choices.items()]
        return lines

    def _render(self) -> str:
        items = "".join(
            f"<li>{html.escape(say(question.text))}"
            + "".join(f"<br>{html.escape(say(_label(k, t)))}" for k, t in question.choices.items())
            + "</li>"
            for question in self.lab.questions
        )
        return f"<ol>{items}</ol>"


def _name_question(number: int, question: Question) -> widgets.HTML:
    worth = question.points
    points = say("{number:g} point" if worth == 1 else "{number:g} points", number=worth)
    text = html.escape(say(question.text))
    words = f"<strong>{number}. {text}</strong> ({html.escape(points)})"
    return widgets.HTML(f'<p style="line-height: 1.4; margin: 1em 0 0">{words}</p>', layout=_WIDE)


def _make_field(question: Question, kept: object) -> Any:
    if question.choices:
        letter = str(kept or "").strip().upper()
        chosen = question.choices.get(letter)
        options = [_label(k, text) for k, text in question.choices.items()]
        return Choices(options, say("Your answer:"), _label(letter, chosen) if chosen else None)
    is_kept = isinstance(kept, (int, float, str)) and not isinstance(kept, bool)
    texts: dict[str, Any] = {
        "value": str(kept) if is_kept else "",
        "placeholder": _name_kind(question),
        "description": say("Your answer:"),
        "style": {"description_width": "initial"},
    }
    if question.least_words:
        return widgets.Textarea(**texts, rows=4, layout=_WIDE)
    return widgets.Text(**texts)


def _name_kind(question: Question) -> str:
    if question.least_words:
        return say("{least} words or more", least=question.least_words)
    if question.is_name:
        return say("a name")
    return say("a number, or never") if question.may_be_never else say("a number")


def _label(letter: str, text: str) -> str:
    return term("{letter}: {choice}", letter=letter, choice=term(text))


def _plain(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, so that a check never reads half of it."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)
