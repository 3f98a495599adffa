"""Each notebook runs unattended from top to bottom, shows its figures, and leaves nothing."""

import re

import pytest
from execution import run_notebook

pytestmark = pytest.mark.usefixtures("tracer_service")


def read_outputs(name):
    outputs = [out for cell in run_notebook(name).cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    figures = [out for out in outputs if "image/png" in out.get("data", {})]
    return text, figures


def test_the_fibonacci_case():
    text, figures = read_outputs("09_fibonacci_case")
    assert len(figures) == 2
    assert "fibonacci+0x" in text
    assert re.search(r"fibonacci \(fib_leak\.c:\d+\) leaks", text)
    assert "[unknown] [" in text
    assert re.search(r"Fixed: fibonacci kept [\d,]+ of [\d,]+ blocks before", text)
