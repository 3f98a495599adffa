"""A notebook, run unattended as a whole; once, for all tests that look at it."""

import functools
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
VMSTAT = "07_vmstat_and_its_friends"
UNIT = "notebooks"
"""The unit of the tests that look at a notebook which others look at too: it runs once."""


@functools.cache
def run_notebook(name: str) -> nbformat.NotebookNode:
    """Return the notebook, named without its suffix, with outputs; a cell's error is raised."""
    return execute(nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4))


def execute(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Run the cells in a kernel of their own, in the notebooks' folder."""
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": NOTEBOOKS}})
    return client.execute()
