"""Each notebook runs unattended from top to bottom, shows its figures, and leaves nothing."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.usefixtures("tracer_service")

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def run_notebook(name):
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": NOTEBOOKS}})
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    figures = [out for out in outputs if "image/png" in out.get("data", {})]
    return text, figures


def test_the_fibonacci_case():
    text, figures = run_notebook("09_fibonacci_case.ipynb")
    assert len(figures) == 2
    assert "fibonacci+0x" in text
    assert re.search(r"fibonacci \(fib_leak\.c:\d+\) leaks", text)
    assert "[unknown] [" in text
    assert re.search(r"Fixed: fibonacci kept [\d,]+ of [\d,]+ blocks before", text)
