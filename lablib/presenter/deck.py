"""A deck: the cells of a notebook that a presenter shows, slide by slide, and their recordings.

A cell's metadata say what it is, in the form that Jupyter has for that (slideshow: slide_type):
"slide" begins a slide, "-" is shown on the same one, "skip" is run and not shown. Cells without one
are not in the deck.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lablib.errors import LabError
from lablib.site.rendering import render_content
from lablib.site.running import RAN
from lablib.site.sources import Links

DECK = "lab_slides"
"""The metadata of a deck's notebook: its slides, and what is said of their recordings."""

_SHOWN = ("slide", "-")


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
    notebook: NotebookNode, recorded: NotebookNode, notes: Mapping[str, str]
) -> NotebookNode:
    """Return the notebook of a deck: the cells of `notebook` that are in it, without outputs.

    `recorded` is the same notebook with the outputs of a run (`run_for_site`); `notes` has what is
    said on the slide that a cell is on. Raises `LabError` where no cell begins a slide.
    """
    slides: list[Slide] = []
    outcomes = {cell.id: cell for cell in recorded.cells}
    for title, cells in _group(notebook):
        shown = [cell for cell in cells if _read_type(cell) in _SHOWN]
        html = _render([outcomes[cell.id] for cell in shown])
        said = [notes[cell.id] for cell in shown if cell.id in notes]
        ids = tuple(cell.id for cell in shown)
        slides.append(Slide(title, ids, tuple(cell.id for cell in cells), " ".join(said), html))
    if not slides:
        raise LabError("this notebook has no slides", "present 01 or 09")
    deck: NotebookNode = nbformat.v4.new_notebook(metadata=copy.deepcopy(notebook.metadata))
    deck.cells = [copy.deepcopy(cell) for cell in notebook.cells if _read_type(cell)]
    ran = recorded.metadata[RAN]
    deck.metadata[DECK] = {
        "slides": [asdict(slide) for slide in slides],
        "label": f"RECORDED, not live: run on {ran['date']} under Linux {ran['kernel']}",
    }
    return deck


def _group(notebook: NotebookNode) -> list[tuple[str, list[NotebookNode]]]:
    """Return the title and the cells of each slide; the title is the heading above its first."""
    groups: list[tuple[str, list[NotebookNode]]] = []
    unseen: list[NotebookNode] = []
    heading = ""
    for cell in notebook.cells:
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
