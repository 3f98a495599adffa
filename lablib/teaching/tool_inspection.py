"""A cell of the matrix: what was read from a tool's report, beside the report as it wrote it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from lablib.errors import LabError
from lablib.language import say
from lablib.records import Frame, ToolFinding, ToolRun, ToolTotal
from lablib.wording import amount_of, count_of

_MOST_FINDINGS = 5

Find = Callable[[str, str], ToolRun]
FindRecorded = Callable[[str, str], ToolRun | None]


class ToolInspection:
    """Two fields that name a cell, and the cell."""

    def __init__(
        self, tools: Sequence[str], programs: Sequence[str], find: Find, find_recorded: FindRecorded
    ) -> None:
        """`find` returns a cell and raises `LabError` where there is none.

        `find_recorded` returns what came out elsewhere, None where nothing did.
        """
        style = {"description_width": "initial"}
        self._find, self._find_recorded = find, find_recorded
        self._tool = widgets.Dropdown(options=tools, description=say("tool:"), style=style)
        self._program = widgets.Dropdown(options=programs, description=say("program:"), style=style)
        self._page = widgets.HTML()
        for field in (self._tool, self._program):
            field.observe(lambda _: self._draw(), "value")
        self._box = widgets.VBox([widgets.HBox([self._tool, self._program]), self._page])
        self._draw()

    def choose(self, tool: str, program: str) -> None:
        """Show a cell, as the fields do."""
        self._tool.value, self._program.value = tool, program

    def _draw(self) -> None:
        self._page.value = self._to_html()

    def _to_html(self) -> str:
        tool, program = self._tool.value, self._program.value
        try:
            run = self._find(tool, program)
        except LabError as error:
            return f"<p>{html.escape(str(error))}</p>"
        return render_run(run, self._find_recorded(tool, program) if run.report is None else None)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = dict(self._box._repr_mimebundle_(**options))
        return {**bundle, "text/plain": repr(self), "text/html": self._to_html()}

    def __repr__(self) -> str:
        """Return the cell's outcome and why, as a line."""
        try:
            run = self._find(self._tool.value, self._program.value)
        except LabError as error:
            return str(error)
        return f"{_title(run)} {say(run.sentence)}"


def render_run(run: ToolRun, recorded: ToolRun | None = None) -> str:
    """Return a cell as HTML: outcome and sentence, what was read, and what the tool wrote.

    `recorded` is what came out where it could run, for one that can't.
    """
    said = [f"<p><b>{html.escape(_title(run))}</b> "]
    said.append(f"{html.escape(say(run.sentence))} {html.escape(say(run.fix))}</p>")
    if recorded is not None and recorded.report is not None:
        told = say(
            "Where it was recorded: {outcome}. {sentence}",
            outcome=say(recorded.outcome),
            sentence=say(recorded.sentence),
        )
        said.append(f"<p>{html.escape(told)}</p>")
    shown = run if run.report is not None else recorded
    if shown is None or shown.report is None:
        return "".join(said)
    report = shown.report
    rows = [_render_finding(each) for each in report.findings[:_MOST_FINDINGS]]
    if len(report.findings) > _MOST_FINDINGS:
        more = say("and {count} more", count=len(report.findings) - _MOST_FINDINGS)
        rows.append(f"<li>{html.escape(more)}</li>")
    rows += [_render_total(each) for each in report.totals]
    read = "".join(rows) or f"<li>{say('nothing')}</li>"
    return "".join(said) + (
        f"<p><code>{html.escape(report.command.splitlines()[0])}</code></p>"
        '<div style="display: flex; flex-wrap: wrap; gap: 1em">'
        f'<div style="flex: 1 1 18em"><b>{say("What was read from it")}</b><ul>{read}</ul></div>'
        f'<div style="flex: 2 1 30em; min-width: 0"><b>{say("What it wrote")}</b>'
        '<pre tabindex="0" style="max-height: 20em; overflow: auto; font-size: 12px">'
        f"{html.escape(report.raw)}</pre></div></div>"
    )


def _title(run: ToolRun) -> str:
    return say(
        "{tool} on {program}: {outcome}.",
        tool=run.tool,
        program=run.program,
        outcome=say(run.outcome),
    )


def _render_finding(finding: ToolFinding) -> str:
    amounts = []
    if finding.size_bytes is not None:
        amounts.append(say(count_of(finding.size_bytes, "byte")))
    if finding.blocks is not None:
        noun = "block" if finding.size_bytes is not None else "file"
        amounts.append(say(count_of(finding.blocks, noun)))
    frames = "<br>".join(html.escape(_name_frame(frame)) for frame in finding.frames[:4])
    kind, told = html.escape(say(finding.kind)), html.escape(say(", ").join(amounts))
    return f"<li>{kind}: {told}<br>{frames}</li>"


def _render_total(total: ToolTotal) -> str:
    words = f"{total.before:,} → {say(amount_of(total.after, total.unit))}"
    return f"<li>{html.escape(say(total.name))}: {html.escape(words)}</li>"


def _name_frame(frame: Frame) -> str:
    where = f"{frame.file}:{frame.line}" if frame.file else frame.module
    name = frame.function or "[unknown]"
    return f"{name} ({where})" if where else name
