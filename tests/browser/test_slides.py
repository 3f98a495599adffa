"""Slides in a browser: they run live, and a key shows the recording, also when a cell hangs."""

import nbformat
import pytest
from conftest import JUPYTER_FOLDERS
from notebook_page import open_page, take_screenshot
from playwright.sync_api import expect

from lablib.jupyter.server import start_notebook_server
from lablib.presenter.deck import make_deck
from lablib.presenter.presenting import EXTENSIONS_DIR
from lablib.site.running import run_for_site

HANGS = (
    "import os, time\n"
    "print('the last words', flush=True)\n"
    "time.sleep(0 if os.environ.get('LAB_SOURCE') == 'recorded' else 3600)"
)
CELLS = [
    ("skip", "unseen = 'made by a cell that is not shown'"),
    ("slide", "import os\nprint(os.environ.get('LAB_SOURCE', 'live'), unseen)"),
    ("-", "from ipywidgets import IntSlider\nIntSlider(description='terms')"),
    ("slide", HANGS),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab as `./lab present` runs it, on a deck whose last slide hangs unless recorded."""
    folder = tmp_path_factory.mktemp("slides")
    (folder / "notebooks").mkdir()
    cells = [nbformat.v4.new_markdown_cell("# 00 · Small\n\n## What it prints")]
    cells += [
        nbformat.v4.new_code_cell(
            source, id=f"cell-{number:02}", metadata={"slideshow": {"slide_type": kind}}
        )
        for number, (kind, source) in enumerate(CELLS, start=1)
    ]
    path = folder / "notebooks" / "00_small.ipynb"
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.write(notebook, path)
    recorded = run_for_site(path, folder / "kept.ipynb", folder, "en")
    nbformat.write(make_deck(notebook, recorded, {"cell-02": "Minute 1. Say it."}), path)
    with pytest.MonkeyPatch.context() as patch:
        for variable in JUPYTER_FOLDERS:
            patch.setenv(variable, str(folder / variable.lower()))
        log = folder / "jupyter.log"
        with start_notebook_server(folder, log, extensions=EXTENSIONS_DIR) as running:
            yield running


@pytest.fixture
def page(chromium, server):
    with open_page(chromium, "projector") as page:
        page.goto(f"{server.address('00_small.ipynb')}&reset")
        page.locator(".lab-slides[popover]").wait_for()
        yield page


def test_slides_run_live_and_a_key_shows_the_recording_even_when_a_cell_hangs(page):
    place = page.locator(".lab-slides-head [role=status]")
    shown = page.locator(".lab-slides .jp-Cell:visible")
    recording = page.locator(".lab-slides-recorded")
    expect(place).to_have_text("1 / 2")
    expect(page.get_by_role("heading", name="What it prints")).to_be_visible()
    expect(shown).to_have_count(1)

    page.keyboard.press("Enter")
    expect(shown).to_have_count(2)
    page.keyboard.press("Enter")
    expect(shown.first).to_contain_text("live made by a cell that is not shown")
    expect(shown.last.locator(".widget-slider")).to_be_visible()
    take_screenshot(page, "slides", "live")

    page.keyboard.press("n")
    expect(page.get_by_role("complementary", name="Notes")).to_have_text("Minute 1. Say it.")
    page.keyboard.press("r")
    expect(recording).to_be_visible()
    expect(recording).to_contain_text("RECORDED, not live: run on ")
    expect(recording).to_contain_text("recorded made by a cell that is not shown")
    take_screenshot(page, "slides", "recorded")
    page.keyboard.press("r")
    expect(recording).to_be_hidden()

    page.keyboard.press("PageDown")
    expect(shown).to_have_count(1)
    page.keyboard.press("Enter")
    expect(shown.first).to_contain_text("the last words")
    expect(place).to_have_text("running · 2 / 2")
    page.keyboard.press("r")
    expect(recording).to_contain_text("the last words")
    expect(place).to_have_text("running · 2 / 2")
    page.keyboard.press("ArrowLeft")
    expect(recording).to_be_hidden()
    expect(place).to_have_text("running · 1 / 2")


def test_escape_leads_to_jupyterlab_and_f5_back(page):
    toolbar = page.locator(".jp-NotebookPanel-toolbar")
    expect(toolbar).to_be_hidden()
    page.keyboard.press("Escape")
    expect(toolbar).to_be_visible()
    page.keyboard.press("F5")
    expect(toolbar).to_be_hidden()
    expect(page.locator(".lab-slides-head [role=status]")).to_contain_text(" / 2")
