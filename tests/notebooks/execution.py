"""A notebook, run unattended as a whole; once, for all tests that look at it."""

import functools
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from lablib.localising import make_workbook

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
VMSTAT = "07_vmstat_and_its_friends"
UNIT = "notebooks"
"""The unit of the tests that look at a notebook which others look at too: it runs once."""


@functools.cache
def run_notebook(name: str) -> nbformat.NotebookNode:
    """Return the notebook, named without its suffix, with outputs; a cell's error is raised."""
    return execute(nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4))


def run_lab(name: str, is_judged: bool) -> nbformat.NotebookNode:
    """Return a lab's notebook with outputs, run on a copy of its folder.

    Unless it is to be judged too, it is run down to the questions only.
    """
    with tempfile.TemporaryDirectory(prefix="lab-notebook-") as place:
        folder = Path(place) / name
        shutil.copytree(ROOT / "labs" / name, folder)
        notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        if not is_judged:
            check = [cell.source for cell in notebook.cells].index("lab.check()")
            notebook.cells = notebook.cells[:check]
        return execute(notebook, folder)


@functools.cache
def run_in_chinese(name: str, source: str) -> nbformat.NotebookNode:
    """Return a notebook as the Chinese workbook has it, with outputs; a cell's error is raised.

    `source` is what LAB_SOURCE asks for: "recorded", or "auto" for what this machine can trace.
    """
    with tempfile.TemporaryDirectory(prefix="lab-chinese-") as place:
        for file in (f"{name}.ipynb", "glossary.md"):
            shutil.copy(NOTEBOOKS / file, place)
        made, _ = make_workbook(Path(place), "zh_CN")
        notebook = nbformat.read(made / f"{name}.ipynb", as_version=4)
        return execute(notebook, made, {"LAB_LANG": "zh", "LAB_SOURCE": source})


def execute(
    notebook: nbformat.NotebookNode,
    folder: Path = NOTEBOOKS,
    variables: Mapping[str, str] | None = None,
) -> nbformat.NotebookNode:
    """Run the cells in a kernel of their own, in the notebooks' folder or another.

    `variables` are set in its environment only, so several may run at once.
    """
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}})
    return client.execute(env={**os.environ, **(variables or {})})
