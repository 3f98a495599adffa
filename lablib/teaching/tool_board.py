"""A matrix of tools and programs: predicted by the learner, run, and looked into cell by cell."""

from __future__ import annotations

import html
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets
from IPython.display import display

from lablib.apps import read_truth
from lablib.errors import LabError, RecordingError
from lablib.language import say, tell, term
from lablib.recording import load_recording, mark_as_recorded
from lablib.records import ToolMatrix, ToolRun
from lablib.teaching.experiments import RECORDINGS_DIR, run_or_replay
from lablib.teaching.scripts import read_script
from lablib.teaching.tables import show_table
from lablib.teaching.tool_inspection import ToolInspection
from lablib.tools import EXHIBITS, TOOLS, Exhibit, Tool, run_matrix, run_tool

LETTERS = {
    "F": (term("found"), term("found: it names the function")),
    "S": (term("seen"), term("seen: a number grows, and nobody is named")),
    "M": (term("missed"), term("missed: it says nothing of the leak")),
    "A": (term("false alarm"), term("false alarm: it complains, and nothing leaks")),
    "Q": (term("quiet"), term("quiet, and rightly so: nothing leaks")),
    "X": (term("can't run"), term("can't run here")),
}
"""A letter for each of `TOOL_OUTCOMES`, and what it means."""

_BY_OUTCOME: dict[str, str] = {outcome: letter for letter, (outcome, _) in LETTERS.items()}
_LEFT = 'style="text-align: left"'


class _Table(anywidget.AnyWidget):
    """The table of cells; what its traits mean is told in the JavaScript file."""

    _esm = read_script("tool_board.js")
    _css = Path(__file__).with_name("tool_board.css")

    corner = traitlets.Unicode().tag(sync=True)
    you = traitlets.Unicode().tag(sync=True)
    tools: Any = traitlets.List().tag(sync=True)
    programs: Any = traitlets.List().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)
    predictions = traitlets.Dict().tag(sync=True)
    results = traitlets.Dict().tag(sync=True)
    is_locked = traitlets.Bool(False).tag(sync=True)
    progress = traitlets.Unicode("").tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)


class ToolBoard:
    """The matrix: `predict` asks for it, `run` fills it in, `show_score` and `inspect` look at it.

    Nothing waits for the learner: cells without a prediction stay without one.
    """

    def __init__(
        self,
        name: str,
        tools: Sequence[Tool] = TOOLS,
        exhibits: Sequence[Exhibit] = EXHIBITS,
        folder: Path = RECORDINGS_DIR,
    ) -> None:
        """Make an empty matrix; `name` is that of its recording in `folder`."""
        self.matrix: ToolMatrix | None = None
        self._name, self._folder = name, folder
        self._tools, self._exhibits = tools, exhibits
        self._runs: dict[str, ToolRun] = {}
        programs = [
            {"name": each.name, "label": say(each.label), "choices": choices_of(each.name)}
            for each in exhibits
        ]
        words = {letter: say(meaning) for letter, (_, meaning) in LETTERS.items()}
        self._table = _Table(
            corner=say("tool"),
            you=say("you said"),
            tools=[tool.name for tool in tools],
            programs=programs,
            words=words,
            key=" · ".join(f"{letter} {say(outcome)}" for letter, (outcome, _) in LETTERS.items()),
        )
        self._box = widgets.VBox([self._table])
        self._table.progress = say("No cell is predicted yet.")
        self._table.observe(self._count, "predictions")

    @property
    def predictions(self) -> dict[tuple[str, str], str]:
        """The letter that the learner has given each cell, by tool and program."""
        return {_split(cell): letter for cell, letter in self._table.predictions.items()}

    def choose(self, tool: str, program: str, letter: str) -> None:
        """Predict a cell, as its button does; raises `LabError` for what is no choice."""
        if self._table.is_locked:
            raise LabError(
                term("the matrix has been run"), term("run the cell that makes it again")
            )
        names = [each.name for each in self._tools]
        if tool not in names or program not in [each.name for each in self._exhibits]:
            raise LabError(
                term("there is no cell for {tool} and {program}", tool=tool, program=program)
            )
        if letter not in choices_of(program):
            raise LabError(
                term("{letter} is no choice for {program}", letter=letter, program=program),
                term("choose from {choices}", choices=", ".join(choices_of(program))),
            )
        self._table.predictions = {**self._table.predictions, f"{tool}|{program}": letter}

    def predict(self) -> None:
        """Display the matrix, so that the learner says of each cell what will come out."""
        display(self)

    def run(self) -> ToolMatrix:
        """Run all cells, and fill them in as they come; return what came out.

        Where no program can be built it is the recording. Raises `LabError` where there is none.
        """
        self._table.is_locked = True
        self._runs = {}
        self._table.results = {}
        place = display(self, display_id=True)
        began_s = time.monotonic()
        lock = threading.Lock()
        total = len(self._tools) * len(self._exhibits)

        def keep(run: ToolRun) -> None:
            with lock:
                self._keep([run])
                seconds = time.monotonic() - began_s
                self._table.progress = say(
                    "{done} of {total} cells, {seconds:.0f} s",
                    done=len(self._runs),
                    total=total,
                    seconds=seconds,
                )

        self.matrix = run_or_replay(
            self._name, lambda: run_matrix(self._tools, self._exhibits, keep), self._folder
        )
        self._keep(self.matrix.runs)
        self._table.progress = say(
            "{total} cells in {seconds:.0f} s, {source}",
            total=total,
            seconds=self.matrix.seconds,
            source=_name_source(self.matrix.source),
        )
        if place is not None:
            place.update(self)
        return self.matrix

    def run_one(self, tool: str, program: str) -> ToolRun:
        """Return one cell, run now and left out of the matrix.

        Where it can't run here, or LAB_SOURCE is "recorded", it is the recording's: a printed
        sentence says so.
        """
        is_wanted = os.environ.get("LAB_SOURCE") == "recorded"
        exhibit = next(each for each in self._exhibits if each.name == program)
        known = next(each for each in self._tools if each.name == tool)
        live = None if is_wanted else run_tool(known, exhibit)
        if live is not None and live.report is not None:
            return live
        recorded = self.find_recorded(tool, program)
        if recorded is None:
            raise RecordingError(
                term("there is no recording of {tool} on {program}", tool=tool, program=program)
            )
        why = term("LAB_SOURCE asks for it")
        if live is not None:
            why = term("{reason}; {fix}", reason=live.reason, fix=live.fix)
        tell("RECORDED, not live ({why}): {source}.", why=why, source=_name_source(recorded.source))
        return recorded

    def show_score(self) -> None:
        """Display for each tool what came out, and how many of the predictions are right."""
        rows = []
        for tool in self._tools:
            cells = [f"{tool.name}|{each.name}" for each in self._exhibits]
            said = {cell: self._table.predictions.get(cell) for cell in cells}
            predicted = [cell for cell in cells if said[cell]]
            right = sum(said[cell] == self._table.results.get(cell) for cell in predicted)
            score = (
                term("{right} of {total}", right=right, total=len(predicted))
                if predicted
                else term("none made")
            )
            counts = [
                sum(self._table.results.get(cell) == letter for cell in cells) for letter in LETTERS
            ]
            rows.append((tool.name, *(str(count or "") for count in counts), score))
        outcomes = (outcome for outcome, _ in LETTERS.values())
        columns = (term("tool"), *outcomes, term("predictions right"))
        show_table(term("What came out, by tool"), columns, rows)

    def inspect(self, tool: str = "", program: str = "") -> None:
        """Display a cell: what was read from the report, beside the report as the tool wrote it.

        A click on a cell of the matrix shows that one, and so do the two fields.
        """
        tools = [each.name for each in self._tools]
        programs = [each.name for each in self._exhibits]
        inspection = ToolInspection(tools, programs, self.find, self.find_recorded)
        inspection.choose(tool or tools[0], program or programs[0])
        self._table.observe(lambda change: inspection.choose(*_split(change["new"])), "selected")
        display(inspection)

    def find(self, tool: str, program: str) -> ToolRun:
        """Return a cell that has been run; raises `LabError` before that."""
        try:
            return self._runs[f"{tool}|{program}"]
        except KeyError:
            raise LabError(
                term("{tool} has not been run on {program}", tool=tool, program=program),
                term("run the matrix first"),
            ) from None

    def find_recorded(self, tool: str, program: str) -> ToolRun | None:
        """Return the cell of the recording, None where there is none."""
        try:
            recording = load_recording(self._folder / f"{self._name}.json.gz")
            matrix: ToolMatrix = mark_as_recorded(recording)
            return replace(matrix.find(tool, program), source=matrix.source)
        except (RecordingError, KeyError):
            return None

    def _keep(self, runs: Sequence[ToolRun]) -> None:
        self._runs.update({f"{run.tool}|{run.program}": run for run in runs})
        self._table.results = {cell: _BY_OUTCOME[run.outcome] for cell, run in self._runs.items()}

    def _count(self, change: Mapping[str, Any]) -> None:
        total = len(self._tools) * len(self._exhibits)
        self._table.progress = say(
            "{count} of {total} cells are predicted.", count=len(change["new"]), total=total
        )

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = dict(self._box._repr_mimebundle_(**options))
        return {**bundle, "text/plain": repr(self), "text/html": self._to_html()}

    def _to_html(self) -> str:
        head = "".join(
            f'<th scope="col">{html.escape(each.name)}<br>{html.escape(say(each.label))}</th>'
            for each in self._exhibits
        )
        body = "".join(
            f'<tr><th scope="row" {_LEFT}>{html.escape(tool.name)}</th>'
            + "".join(f"<td>{self._word(tool, each)}</td>" for each in self._exhibits)
            + "</tr>"
            for tool in self._tools
        )
        key = "".join(
            f"<li>{letter}: {html.escape(say(words))}</li>"
            for letter, (_, words) in LETTERS.items()
        )
        return (
            f'<table><thead><tr><th scope="col">{say("tool")}</th>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table><ul>{key}</ul>"
            f"<p>{html.escape(self._table.progress)}</p>"
        )

    def _word(self, tool: Tool, exhibit: Exhibit) -> str:
        cell = f"{tool.name}|{exhibit.name}"
        result, said = self._table.results.get(cell), self._table.predictions.get(cell)
        if result is None:
            return said or "·"
        if said is None:
            return f"<b>{result}</b>"
        mark = "✓" if said == result else "✗"
        return f"<b>{result}</b> ({say('you')}: {said} {mark})"

    def __repr__(self) -> str:
        """Return the matrix as text: a line for each tool."""
        lines = []
        for tool in self._tools:
            cells = (f"{tool.name}|{each.name}" for each in self._exhibits)
            letters = (
                self._table.results.get(cell) or self._table.predictions.get(cell) or "·"
                for cell in cells
            )
            lines.append(f"{tool.name:<17}" + " ".join(letters))
        return "\n".join([*lines, self._table.progress])


def choices_of(program: str) -> list[str]:
    """Return the letters that can come out for a program: other ones where nothing leaks."""
    return ["F", "S", "M", "X"] if read_truth(program)["is_leak"] else ["Q", "A", "X"]


def _split(cell: str) -> tuple[str, str]:
    tool, _, program = cell.rpartition("|")
    return tool, program


def _name_source(source: str) -> str:
    return say(term("live") if source == "live" else source)
