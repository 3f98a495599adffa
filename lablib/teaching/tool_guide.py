"""A decision guide that the learner builds: for each situation a tool, and why, or why not."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from lablib.language import say, term
from lablib.teaching.choices import Choices
from lablib.teaching.tables import show_table


class ToolGuide:
    """Asks for a tool in each situation, says what is right about each choice, and keeps them."""

    def __init__(self) -> None:
        self.chosen: dict[str, str] = {}
        """The tool that the learner has chosen last, by situation."""
        self._situations: dict[str, Mapping[str, str]] = {}

    def ask(self, title: str, situation: str, choices: Mapping[str, str]) -> None:
        """Display a situation with its choices; each answers with its text as soon as it is taken.

        `choices` has a text for each tool: what is right about it begins with "Yes. ".
        """
        self._situations[title] = choices
        self.chosen.pop(title, None)
        display(_Question(self, title, situation, choices))

    def choose(self, title: str, tool: str) -> str:
        """Take a tool for a situation, as its button does; return what is said to that."""
        self.chosen[title] = tool
        return self._situations[title][tool]

    def show(self) -> None:
        """Display the guide as it is by now: situation, tool, and what was said to it."""
        rows: list[tuple[str, str, str]] = []
        for title, choices in self._situations.items():
            tool = self.chosen.get(title)
            if tool is None:
                rows.append((say(title), term("nothing chosen"), "-"))
            else:
                fits = term("✓ fits") if choices[tool].startswith("Yes. ") else term("✗ look again")
                rows.append((say(title), say(tool), fits))
        columns = (term("situation"), term("tool"), term("does it fit?"))
        show_table(term("Your guide"), columns, rows)


class _Question:
    """One situation: radio buttons, and what is said to the one that is taken."""

    def __init__(
        self, guide: ToolGuide, title: str, situation: str, choices: Mapping[str, str]
    ) -> None:
        self._guide, self._title, self._situation = guide, title, situation
        self._choices = choices
        self._field = Choices(list(choices), say("Which one do you take?"))
        self._answer = widgets.HTML()
        heading = widgets.HTML(f"<b>{_head(title)}</b> {html.escape(say(situation))}")
        for button in self._field.children[2:]:
            button.observe(self._take, "value")
        self._box = widgets.VBox([heading, self._field, self._answer])

    def _take(self, change: Mapping[str, Any]) -> None:
        if change["new"] is not None:
            said = self._guide.choose(self._title, change["new"])
            self._answer.value = f'<p role="status">{html.escape(say(said))}</p>'

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        items = "".join(
            f"<li><b>{_head(tool)}</b> {html.escape(say(said))}</li>"
            for tool, said in self._choices.items()
        )
        page = (
            f"<p><b>{_head(self._title)}</b> {html.escape(say(self._situation))}</p>"
            f"<ul>{items}</ul>"
        )
        bundle = dict(self._box._repr_mimebundle_(**options))
        return {**bundle, "text/plain": repr(self), "text/html": page}

    def __repr__(self) -> str:
        lines = [say("{head}. {text}", head=say(self._title), text=say(self._situation))]
        for tool, said in self._choices.items():
            lines.append("- " + say("{head}. {text}", head=say(tool), text=say(said)))
        return "\n".join(lines)


def _head(words: str) -> str:
    return html.escape(say("{said}.", said=say(words)))
