"""Sliders and buttons that tell a program what to do, and show what it answers."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import ipywidgets as widgets

from lablib.errors import LabError
from lablib.language import say
from lablib.panels.outputs import show_widget


class Asked(Protocol):
    """What takes commands: `steering.SteeredApp`, or anything else with this method."""

    def ask(self, command: str, *values: int | str) -> dict[str, int]:
        """Have a command done, and return its answer; raises `LabError`."""
        ...


@dataclass(frozen=True)
class Slider:
    """A number that is sent with a command when the slider is let go.

    `values` are sent before the number.
    """

    label: str
    command: str
    low: int
    high: int
    value: int
    step: int = 1
    unit: str = ""
    values: tuple[int | str, ...] = ()


@dataclass(frozen=True)
class Button:
    """A command that is sent, with `values`, when the button is pressed."""

    label: str
    command: str
    values: tuple[int | str, ...] = ()


class AppControls:
    """Controls for a program that takes commands, and the last answer in words.

    A slider has a row of its own; buttons side by side in the list are side by side.

    A command that fails is answered with the sentence of its error; the controls stay usable.
    """

    def __init__(self, app: Asked, controls: Sequence[Slider | Button]) -> None:
        self.app = app
        self.answer = widgets.HTML()
        self.controls = [
            self._make_slider(control)
            if isinstance(control, Slider)
            else self._make_button(control)
            for control in controls
        ]
        self.box = widgets.VBox([*_in_rows(self.controls), self.answer])
        self._say(say("Nothing asked yet."))

    def show(self) -> None:
        """Display the controls in the cell that runs."""
        show_widget(self.box, say("Controls of the program: they work while the notebook runs."))

    def ask(self, command: str, *values: int | str) -> None:
        """Send a command as a control does, and show the answer or the error."""
        asked = " ".join([command, *map(str, values)])
        try:
            answer = self.app.ask(command, *values)
        except LabError as error:
            self._say(f"{asked}: {error}")
            return
        self._say(f"{asked}: " + (", ".join(map(_word_number, answer.items())) or say("done")))

    def _make_slider(self, control: Slider) -> widgets.Widget:
        slider = widgets.IntSlider(
            value=control.value,
            min=control.low,
            max=control.high,
            step=control.step,
            continuous_update=False,
            description=say(control.label) + (f" ({say(control.unit)})" if control.unit else ""),
            tooltip=say("Sends {command} when it is let go", command=control.command),
            style={"description_width": "initial"},
            layout=widgets.Layout(width="100%", max_width="600px"),
        )
        slider.observe(
            lambda change: self.ask(control.command, *control.values, change["new"]), "value"
        )
        return slider

    def _make_button(self, control: Button) -> widgets.Widget:
        command = [control.command, *map(str, control.values)]
        button = widgets.Button(
            description=say(control.label),
            tooltip=say("Sends {command}", command=" ".join(command)),
            layout=widgets.Layout(width="fit-content", min_width="150px"),
        )
        button.on_click(lambda _: self.ask(control.command, *control.values))
        return button

    def _say(self, sentence: str) -> None:
        self.answer.value = f'<span role="status">{html.escape(sentence)}</span>'


def _in_rows(controls: Sequence[widgets.Widget]) -> list[widgets.Widget]:
    """Return the controls for a column: a slider has a row of its own, buttons share theirs."""
    rows: list[widgets.Widget] = []
    for are_buttons, group in groupby(controls, lambda one: isinstance(one, widgets.Button)):
        alike = list(group)
        layout = widgets.Layout(flex_flow="row wrap")
        rows += [widgets.HBox(alike, layout=layout)] if are_buttons else alike
    return rows


def _word_number(item: tuple[str, int]) -> str:
    """Return an answer's name and number; an address reads better in hexadecimal."""
    name, number = item
    return f"{name} {number:#x}" if number >= 1 << 32 else f"{name} {number:,}"
