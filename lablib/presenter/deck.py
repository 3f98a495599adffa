"""A deck: the cells of a notebook that a presenter shows, slide by slide, and their recordings.

A cell's metadata say what it is, in the form that Jupyter has for that (slideshow: slide_type):
"slide" begins a slide, "-" is shown on the same one, "skip" is run and not shown. Cells without one
are not in the deck.

What only a presentation needs stands in a cell's metadata, under "lab_slides": `ahead` (true: it
runs before the presenter asks for it, as soon as all cells before it have run), `waits_s` (how long
it watches a program), and `instead` (texts of its source that are others in the deck: a shorter
wait).
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lablib.errors import LabError
from lablib.language import say, term
from lablib.site.rendering import render_content
from lablib.site.running import RAN
from lablib.site.sources import Links

DECK = "lab_slides"
"""The metadata of a deck's notebook: its slides and the words around. Of a cell: see above."""

KEYS = term(
    "Enter runs the next cell, the arrows lead on and back, R shows the recording, C the code and "
    "N the notes. Escape leads to JupyterLab itself, and F5 back to the slides."
)

_SHOWN = ("slide", "-")
_IMPORTS = "imports"


@dataclass(frozen=True)
class Slide:
    """One slide: the ids of the cells it shows, what is said, and what the recording shows.

    `runs` has the ids of all cells that it runs, in order, those that it doesn't show too.
    `recorded` is HTML.
    """

    title: str
    cells: tuple[str, ...]
    runs: tuple[str, ...]
    notes: str
    recorded: str


def make_deck(
    notebook: NotebookNode, recorded: NotebookNode, notes: Mapping[str, str], tag: str = "en"
) -> NotebookNode:
    """Return the notebook of a deck: the cells of `notebook` that are in it, without outputs.

    Before them is one that imports what they import, so that no slide waits for that. `recorded` is
    the same notebook with the outputs of a run (`run_for_site`); `notes` has what is said on the
    slide that a cell is on, and `tag` is HTML's `lang`. The words around are in the reader's
    language. Raises `LabError` where no cell begins a slide, or a text to replace is not there.
    """
    slides: list[Slide] = []
    outcomes = {cell.id: cell for cell in recorded.cells}
    in_deck = [_adapt(cell) for cell in notebook.cells if _read_type(cell)]
    first = _make_imports(in_deck)
    for title, cells in _group([first, *notebook.cells]):
        shown = [cell for cell in cells if _read_type(cell) in _SHOWN]
        html = _render([outcomes[cell.id] for cell in shown])
        said = [notes[cell.id] for cell in shown if cell.id in notes]
        ids = tuple(cell.id for cell in shown)
        slides.append(Slide(title, ids, tuple(cell.id for cell in cells), " ".join(said), html))
    if not slides:
        raise LabError(term("this notebook has no slides"), term("present 01 or 09"))
    deck: NotebookNode = nbformat.v4.new_notebook(metadata=copy.deepcopy(notebook.metadata))
    deck.cells = [first, *in_deck]
    own = {cell.id: cell.metadata.get(DECK, {}) for cell in deck.cells}
    deck.metadata[DECK] = {
        "slides": [asdict(slide) for slide in slides],
        "ahead": [name for name, facts in own.items() if facts.get("ahead")],
        "waits_s": {name: facts["waits_s"] for name, facts in own.items() if "waits_s" in facts},
        "tag": tag,
        "words": _say_words(recorded.metadata[RAN]),
    }
    return deck


def _say_words(ran: Mapping[str, str]) -> dict[str, str]:
    """Return what the page says around the cells; it fills in `{seconds}` itself."""
    return {
        "label": say("RECORDED, not live: run on {date} under Linux {kernel}", **ran),
        "running": say("running"),
        "ahead": say("running ahead"),
        "left": say("{seconds} s left"),
        "recording": say("Recording"),
        "notes": say("Notes"),
        "keys": say(KEYS),
    }


def _adapt(cell: NotebookNode) -> NotebookNode:
    """Return a cell as it is in the deck: with its other texts."""
    made = copy.deepcopy(cell)
    for text, other in cell.metadata.get(DECK, {}).get("instead", {}).items():
        if text not in made.source:
            raise LabError(
                term("{id} has no {what}", id=cell.id, what=text),
                term("correct the cell's metadata, lab_slides"),
            )
        made.source = made.source.replace(text, other)
    return made


def _make_imports(cells: list[NotebookNode]) -> NotebookNode:
    """Return a cell, not shown, that imports the modules of these cells, and binds none of them."""
    statements = [node for cell in cells for node in ast.parse(cell.source).body]
    modules = {
        name
        for node in statements
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in _name_modules(node)
    }
    lines = ["import importlib", "", f"for module in {sorted(modules)}:"]
    source = "\n".join([*lines, "    importlib.import_module(module)"])
    metadata = {"slideshow": {"slide_type": "skip"}, DECK: {"ahead": True}}
    made: NotebookNode = nbformat.v4.new_code_cell(source, id=_IMPORTS, metadata=metadata)
    return made


def _name_modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names]


def _group(source: list[NotebookNode]) -> list[tuple[str, list[NotebookNode]]]:
    """Return the title and the cells of each slide; the title is the heading above its first."""
    groups: list[tuple[str, list[NotebookNode]]] = []
    unseen: list[NotebookNode] = []
    heading = ""
    for cell in source:
        if cell.cell_type == "markdown":
            heading = _read_heading(cell.source) or heading
        kind = _read_type(cell)
        if kind == "slide":
            groups.append((heading, [*unseen, cell]))
            unseen = []
        elif kind == "-" and groups:
            groups[-1][1].extend([*unseen, cell])
            unseen = []
        elif kind == "skip":
            unseen.append(cell)
    if groups:
        groups[-1][1].extend(unseen)
    return groups


def _read_type(cell: NotebookNode) -> str:
    return str(cell.metadata.get("slideshow", {}).get("slide_type", ""))


def _read_heading(source: str) -> str:
    """Return the last heading of a text that is a section's; a prediction is part of one."""
    found = [line for line in source.splitlines() if line.startswith(("# ", "## "))]
    return found[-1].lstrip("# ") if found else ""


def _render(cells: list[NotebookNode]) -> str:
    notebook = nbformat.v4.new_notebook(cells=cells)
    nowhere = Links("slide", "slide", {}, Path("."))
    return render_content(notebook, nowhere).decode_contents()
