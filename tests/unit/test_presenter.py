"""Slides: drawn from the notebooks' cells, as the presenter's page has them, and complete."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lablib.errors import LabError
from lablib.presenter.deck import DECK, make_deck
from lablib.presenter.notes import read_notes, read_steps
from lablib.presenter.presenting import EXTENSIONS_DIR, NUMBERS
from lablib.site.running import RAN

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "instructor" / "presenting.md").read_text()


def read_notebook(number):
    (path,) = ROOT.glob(f"notebooks/{number}_*.ipynb")
    return nbformat.read(path, as_version=4)


def pretend_it_ran(notebook):
    """The notebook as it is stored, with the words of a run that made nothing."""
    ran = copy.deepcopy(notebook)
    ran.metadata[RAN] = {"date": "2026-11-23", "kernel": "6.12"}
    return ran


def make_deck_of(number):
    notebook = read_notebook(number)
    return make_deck(notebook, pretend_it_ran(notebook), read_notes(PAGE, number))


def make_cell(kind, source, number):
    metadata = {"slideshow": {"slide_type": kind}} if kind else {}
    return nbformat.v4.new_code_cell(source, id=f"cell-{number:02}", metadata=metadata)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_slides_are_the_rows_of_the_presenters_page(number):
    slides = make_deck_of(number).metadata[DECK]["slides"]
    steps = read_steps(PAGE, number)
    assert [tuple(slide["cells"]) for slide in slides] == [step.cells for step in steps]
    assert all(step.say in slide["notes"] for slide, step in zip(slides, steps, strict=True))
    assert all(slide["title"] for slide in slides)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_deck_makes_all_that_its_cells_use(number):
    """No name comes from a cell that is not in the deck."""
    deck = make_deck_of(number)
    assert [cell.id for cell in deck.cells] == [
        cell for slide in deck.metadata[DECK]["slides"] for cell in slide["runs"]
    ]
    assert find_undefined(deck) == ""


def find_undefined(deck):
    source = "\n\n".join(cell.source for cell in deck.cells)
    ruff = Path(sys.executable).with_name("ruff")
    words = [ruff, "check", "--isolated", "--select", "F821", "--output-format", "concise"]
    words += ["--config", 'builtins = ["running"]', "-"]  # a cell of 09 asks whether it is there
    checked = subprocess.run(words, input=source, capture_output=True, text=True)
    return "" if checked.returncode == 0 else checked.stdout


def test_a_name_that_no_slide_makes_is_found():
    notebook = read_notebook("01")
    notebook.cells = [cell for cell in notebook.cells if cell.id != "cell-28"]
    deck = make_deck(notebook, pretend_it_ran(notebook), {})
    assert "follow_address_space" in find_undefined(deck)


def test_a_slide_has_its_title_its_unseen_cells_and_its_recording():
    cells = [
        nbformat.v4.new_markdown_cell("# 00 · Small\n\n## A part\n\n### Your prediction"),
        make_cell("skip", "import time", 1),
        make_cell("slide", "print('one')", 2),
        make_cell("", "print('left out')", 3),
        make_cell("-", "print('two')", 4),
        make_cell("slide", "print('three')", 5),
        make_cell("skip", "time = None", 6),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    recorded = pretend_it_ran(notebook)
    recorded.cells[2].outputs = [nbformat.v4.new_output("stream", text="what came out")]
    deck = make_deck(notebook, recorded, {"cell-02": "Minute 3. Say it."})
    first, second = deck.metadata[DECK]["slides"]
    assert (
        deck.metadata[DECK]["words"]["label"]
        == "RECORDED, not live: run on 2026-11-23 under Linux 6.12"
    )
    assert first["title"] == "A part"
    assert list(first["cells"]) == ["cell-02", "cell-04"]
    assert list(first["runs"]) == ["imports", "cell-01", "cell-02", "cell-04"]
    assert list(second["runs"]) == ["cell-05", "cell-06"]
    assert (first["notes"], second["notes"]) == ("Minute 3. Say it.", "")
    assert "what came out" in first["recorded"]
    assert "left out" not in first["recorded"]
    assert [cell.outputs for cell in deck.cells] == [[]] * 6


def test_what_a_deck_imports_is_there_before_its_first_cell_and_binds_no_name():
    cells = [make_cell("slide", "import os.path\nfrom json import loads\nloads('1')", 1)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    deck = make_deck(notebook, pretend_it_ran(notebook), {})
    assert "['json', 'os.path']" in deck.cells[0].source
    assert deck.metadata[DECK]["ahead"] == ["imports"]
    names = {}
    exec(deck.cells[0].source, names)
    assert not {"os", "json", "loads"} & names.keys()


def make_one_cell_deck(facts):
    cell = make_cell("slide", "time.sleep(5)", 1)
    cell.metadata[DECK] = facts
    notebook = nbformat.v4.new_notebook(cells=[cell])
    return make_deck(notebook, pretend_it_ran(notebook), {})


def test_a_cell_may_run_ahead_and_wait_for_less_than_in_the_notebook():
    facts = {"ahead": True, "waits_s": 3, "instead": {"sleep(5)": "sleep(3)"}}
    deck = make_one_cell_deck(facts)
    assert deck.cells[-1].source == "time.sleep(3)"
    assert deck.metadata[DECK]["ahead"] == ["imports", "cell-01"]
    assert deck.metadata[DECK]["waits_s"] == {"cell-01": 3}


def test_a_text_to_replace_that_has_gone_is_an_error():
    with pytest.raises(LabError, match="cell-01 has no sleep"):
        make_one_cell_deck({"instead": {"sleep(6)": "sleep(3)"}})


def test_in_chinese_everything_around_the_cells_is_chinese(monkeypatch):
    monkeypatch.setenv("LAB_LANG", "zh")
    facts = make_deck_of("09").metadata[DECK]
    said = [*facts["words"].values(), *(slide["notes"] for slide in facts["slides"])]
    assert all(re.search("[\u4e00-\u9fff]", text) for text in said)


def test_a_notebook_without_slides_is_refused():
    notebook = nbformat.v4.new_notebook(cells=[make_cell("", "1", 1)])
    with pytest.raises(LabError, match="no slides"):
        make_deck(notebook, pretend_it_ran(notebook), {})


def test_the_extension_is_what_jupyterlab_loads():
    (manifest,) = EXTENSIONS_DIR.glob("*/package.json")
    facts = json.loads(manifest.read_text())
    script = manifest.parent / facts["jupyterlab"]["_build"]["load"]
    assert f'window._JUPYTERLAB["{facts["name"]}"]' in script.read_text()
