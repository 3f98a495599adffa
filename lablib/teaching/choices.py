"""One of several answers, by radio buttons that a keyboard reaches and a narrow page wraps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from lablib.language import say

# By itself a radio button's text has the height of one line, however long it is.
_WRAP = """<style>
.lab-choices label { height: auto; line-height: 1.4; white-space: normal; }
.lab-choices label:has(input) { position: relative; padding-left: 1.7em; }
.lab-choices label input { position: absolute; left: 0; top: 0; height: 1.4em; }
</style>"""


class Choices(widgets.VBox):  # type: ignore[misc]
    """Radio buttons, each a group of its own: JupyterLab takes the arrow keys that move in one."""

    def __init__(self, choices: Sequence[str], label: str, chosen: str | None = None) -> None:
        """Show the choices below their label, with one of them selected or none.

        They are shown in the reader's language; `value` is the one that was given.
        """
        layout = widgets.Layout(width="auto", max_width="100%")
        self._buttons = [
            widgets.RadioButtons(options=[(say(choice), choice)], value=None, layout=layout)
            for choice in choices
        ]
        for button in self._buttons:
            button.observe(self._deselect_others, "value")
            if button.options[0][1] == chosen:
                button.value = chosen
        style = widgets.HTML(_WRAP, layout=widgets.Layout(display="none"))
        super().__init__([style, widgets.Label(label), *self._buttons])
        self.add_class("lab-choices")

    @property
    def value(self) -> str | None:
        """The choice that is selected."""
        return next((button.value for button in self._buttons if button.value is not None), None)

    @property
    def disabled(self) -> bool:
        """Whether nothing can be selected any more."""
        return all(button.disabled for button in self._buttons)

    @disabled.setter
    def disabled(self, is_disabled: bool) -> None:
        for button in self._buttons:
            button.disabled = is_disabled

    def _deselect_others(self, change: dict[str, Any]) -> None:
        if change["new"] is not None:
            for button in self._buttons:
                if button is not change["owner"]:
                    button.value = None
