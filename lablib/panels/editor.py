"""A function of a program to edit in a notebook, and a button that builds, runs and judges it."""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets as widgets

from lablib.editing import build_source, replace_function
from lablib.errors import LabError
from lablib.language import say
from lablib.panels.outputs import show_widget
from lablib.records import AppFiles, Comparison
from lablib.wording import make_printable

_ROW_PIXELS = 16


class FixEditor:
    """A C function in a text field, and a button; below it what the comparison says.

    `app` is the program whose source has the function; `text` stands in the field at first. `judge`
    compares the program that was built with the one as it was. What goes wrong is said below the
    field, and the field stays usable.
    """

    def __init__(
        self,
        app: AppFiles,
        function: str,
        text: str,
        judge: Callable[[AppFiles], Comparison],
        name: str = "my_fix",
    ) -> None:
        self.app = app
        self.function = function
        self.name = name
        self.comparison: Comparison | None = None
        self._judge = judge
        self.field = widgets.Textarea(
            value=text.expandtabs(4),
            description=f"{function}:",
            layout=widgets.Layout(
                width="98%", height=f"{_ROW_PIXELS * (text.count(chr(10)) + 2)}px"
            ),
            style={"description_width": "initial"},
        )
        self.field.add_class("lab-code")
        self.button = widgets.Button(
            description=say("Build, run and compare"),
            tooltip=say("Builds the program with this function, runs both, and compares them"),
            layout=widgets.Layout(width="fit-content"),
        )
        self.button.on_click(lambda _: self._answer())
        self.answer = widgets.HTML()
        look = widgets.HTML("<style>.lab-code textarea { font-family: monospace; }</style>")
        self.box = widgets.VBox([look, self.field, self.button, self.answer])
        self._say(say("Not built yet."))

    def show(self) -> None:
        """Display the field in the cell that runs."""
        words = say(
            "The function {function}, to be edited while the notebook runs.", function=self.function
        )
        show_widget(self.box, words)

    def build(self) -> AppFiles:
        """Build the program with the function as it stands; raises `AppError`."""
        source = replace_function(self.app.source.read_text(), self.function, self.field.value)
        built, self._warnings = build_source(self.name, source)
        return built

    def prove(self) -> Comparison:
        """Build, run and compare, show the verdict, and return the comparison.

        Raises `LabError` where that can't be done; it is shown as well.
        """
        self._say(say("Building, and running both programs ..."))
        try:
            self.comparison = self._judge(self.build())
        except LabError as error:
            self._say(str(error))
            raise
        self._say(_word(self.comparison), self._warnings)
        return self.comparison

    def _answer(self) -> None:
        self.button.disabled = True
        try:
            self.prove()
        except LabError:
            pass
        finally:
            self.button.disabled = False

    def _say(self, sentence: str, warnings: str = "") -> None:
        words = html.escape(make_printable(sentence))
        self.answer.value = f'<span role="status">{words}</span>' + (
            f"<pre>{html.escape(warnings)}</pre>" if warnings else ""
        )


def _word(comparison: Comparison) -> str:
    """Return the verdict with a sign; a recording's is not about what stands in the field."""
    if comparison.source.startswith("recorded"):
        return say(
            "Built, but it could not be traced here. Of the fix that stood here at first "
            "({source}): {sentence}",
            source=comparison.source,
            sentence=say(comparison.sentence),
        )
    return f"{'✓' if comparison.kind == 'fixed' else '✗'} {say(comparison.sentence)}"
