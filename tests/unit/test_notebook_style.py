"""Each notebook has the shape of a lesson: question, prediction, experiment, what it means."""

import re
from pathlib import Path

import nbformat
import pytest

MAX_CELL_LINES = 10
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def read_code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def read_text(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def find_cells(notebook, pattern):
    """The positions of the cells, text or code, in which the pattern is found."""
    cells = enumerate(notebook.cells)
    return [index for index, cell in cells if re.search(pattern, cell.source, re.IGNORECASE)]


def test_opens_with_its_number_minutes_question_and_what_one_can_do_afterwards(notebook):
    opening = notebook.cells[0].source
    assert re.match(r"# \d\d · \S", opening)
    assert re.search(r"\*About \d+ minutes\.\*", opening)
    assert re.search(r"\*\*The question\.\*\*[^?]+\?", opening)
    assert re.search(r"At the end of this notebook you can\n+- ", opening)


def test_each_prediction_is_announced_as_one(notebook):
    text = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = cell.source
        elif "predict(" in cell.source:
            assert "### Your prediction" in text, cell.source


def test_a_prediction_comes_before_what_we_saw(notebook):
    seen = find_cells(notebook, r"\*\*What we saw\.\*\*")
    predictions = find_cells(notebook, r"### Your prediction|\bpredict\(")
    assert not seen or (predictions and predictions[0] < seen[0])


def test_what_we_saw_is_followed_by_what_it_means(notebook):
    text = read_text(notebook)
    parts = text.split("**What we saw.**")[1:]
    assert all("**What it means.**" in part for part in parts)


def test_ends_with_key_points_and_where_to_go_on_and_what_it_is_from(notebook):
    headings = re.findall(r"^##+ .+$", read_text(notebook), re.MULTILINE)
    assert headings[-3:] == ["## Key points", "## Going further", "## Sources"]


def test_each_check_is_announced_as_one(notebook):
    texts = [cell.source for cell in notebook.cells if "<details" in cell.source]
    assert all(re.search(r"^### Check$", text, re.MULTILINE) for text in texts)


def test_the_first_cell_of_code_comes_from_its_set_up(notebook):
    """00 has none: it begins with how to run a cell."""
    if notebook.cells[0].source.startswith("# 00"):
        return
    assert notebook.cells[1].source.startswith("## Set-up")
    assert notebook.cells[2].cell_type == "code"


def test_no_cell_is_long(notebook):
    long = [code for code in read_code(notebook) if len(code.splitlines()) > MAX_CELL_LINES]
    assert not long


def test_nothing_waits_for_a_person(notebook):
    assert not find_cells(notebook, r"\b(input|getpass)\(")


def test_what_was_started_is_ended_in_the_last_cell_of_code(notebook):
    code = read_code(notebook)
    starts = r"ExitStack\(|SteeredApp\(|start_app\(|MemoryTracer\(|Popen\("
    if re.search(starts, "\n".join(code)):
        assert re.search(r"\.(close|stop|end|unlink|kill|terminate)\(", code[-1])
        assert "## Clean up" in read_text(notebook)
