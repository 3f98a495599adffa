"""Slides in a browser: they run live, and a key shows the recording, also when a cell hangs."""

import re

import nbformat
import pytest
from conftest import JUPYTER_FOLDERS
from notebook_page import open_page, take_screenshot
from playwright.sync_api import expect

from lablib.jupyter.server import start_notebook_server
from lablib.presenter.deck import DECK, make_deck
from lablib.presenter.presenting import EXTENSIONS_DIR
from lablib.site.running import run_for_site

HANGS = (
    "import os, time\n"
    "print('the last words', flush=True)\n"
    "time.sleep(0 if os.environ.get('LAB_SOURCE') == 'recorded' else 3600)"
)
CELLS = [
    ("skip", "unseen = 'made by a cell that is not shown'", {}),
    ("slide", "import os\nprint(os.environ.get('LAB_SOURCE', 'live'), unseen)", {}),
    ("-", "from ipywidgets import IntSlider\nIntSlider(description='terms')", {"ahead": True}),
    ("slide", HANGS, {"waits_s": 3600}),
]
CHINESE = [
    ("slide", "from lablib.language import tell\ntell('running')", {}),
    ("-", "import os\nassert os.environ.get('LAB_SOURCE') == 'recorded', 'not today'", {}),
]


def write_small_deck(folder, name, cells, language):
    """A deck of these cells, in a language, recorded by a run of them."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# 00 · Small\n\n## What it prints")]
    )
    for number, (kind, source, facts) in enumerate(cells, start=1):
        metadata = {"slideshow": {"slide_type": kind}, DECK: facts}
        made = nbformat.v4.new_code_cell(source, id=f"cell-{number:02}", metadata=metadata)
        notebook.cells.append(made)
    path = folder / "notebooks" / name
    nbformat.write(notebook, path)
    recorded = run_for_site(path, folder / f"kept_{name}", folder, language)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_LANG", language)
        deck = make_deck(notebook, recorded, {"cell-02": "Minute 1. Say it."}, language)
    nbformat.write(deck, path)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab as `./lab present` runs it, on a deck that hangs at last, and on a Chinese one."""
    folder = tmp_path_factory.mktemp("slides")
    (folder / "notebooks").mkdir()
    write_small_deck(folder, "00_small.ipynb", CELLS, "en")
    write_small_deck(folder, "00_chinese.ipynb", CHINESE, "zh")
    with pytest.MonkeyPatch.context() as patch:
        for variable in JUPYTER_FOLDERS:
            patch.setenv(variable, str(folder / variable.lower()))
        patch.setenv("LAB_LANG", "zh")
        log = folder / "jupyter.log"
        with start_notebook_server(folder, log, extensions=EXTENSIONS_DIR) as running:
            yield running


def open_slides(page, server, name):
    page.goto(f"{server.address(name)}&reset")
    page.locator(".lab-slides[popover]").wait_for()


@pytest.fixture
def page(chromium, server):
    with open_page(chromium, "projector") as page:
        yield page


def test_slides_run_live_and_a_key_shows_the_recording_even_when_a_cell_hangs(page, server):
    open_slides(page, server, "00_small.ipynb")
    place = page.locator(".lab-slides-head [role=status]")
    shown = page.locator(".lab-slides .jp-Cell:visible")
    recording = page.locator(".lab-slides-recorded")
    expect(place).to_have_text("1 / 2")
    expect(page.get_by_role("heading", name="What it prints")).to_be_visible()
    expect(shown).to_have_count(1)

    page.keyboard.press("Enter")
    expect(shown).to_have_count(2)
    slider = page.locator(".lab-slides .widget-slider")
    expect(slider).to_have_count(1)  # its cell has run ahead
    expect(slider).to_be_hidden()
    page.keyboard.press("Enter")
    expect(slider).to_be_visible()
    expect(shown.first).to_contain_text("live made by a cell that is not shown")
    take_screenshot(page, "slides", "live")

    page.keyboard.press("n")
    expect(page.get_by_role("complementary", name="Notes")).to_contain_text("Minute 1. Say it.")
    page.keyboard.press("r")
    expect(recording).to_be_visible()
    expect(recording).to_contain_text("RECORDED, not live: run on ")
    expect(recording.get_by_text("recorded made by a cell that is not shown")).to_be_visible()
    take_screenshot(page, "slides", "recorded")
    page.keyboard.press("r")
    expect(recording).to_be_hidden()

    page.keyboard.press("PageDown")
    expect(shown).to_have_count(1)
    page.keyboard.press("Enter")
    expect(shown.first).to_contain_text("the last words")
    expect(place).to_have_text(re.compile(r"^running · 3\d\d\d s left · 2 / 2$"))
    page.keyboard.press("r")
    expect(recording).to_contain_text("the last words")
    expect(place).to_have_text(re.compile(r"^running · 3\d\d\d s left · 2 / 2$"))
    page.keyboard.press("ArrowLeft")
    expect(recording).to_be_hidden()
    expect(place).to_have_text(re.compile("^running .* 1 / 2$"))


def test_escape_leads_to_jupyterlab_and_f5_back(page, server):
    open_slides(page, server, "00_small.ipynb")
    toolbar = page.locator(".jp-NotebookPanel-toolbar")
    expect(toolbar).to_be_hidden()
    page.keyboard.press("Escape")
    expect(toolbar).to_be_visible()
    page.keyboard.press("F5")
    expect(toolbar).to_be_hidden()
    expect(page.locator(".lab-slides-head [role=status]")).to_contain_text(" / 2")


def test_in_chinese_the_kernel_the_recording_and_the_keys_are_chinese(page, server):
    open_slides(page, server, "00_chinese.ipynb")
    expect(page.locator(".lab-slides")).to_have_attribute("lang", "zh")
    page.keyboard.press("Enter")
    expect(page.locator(".lab-slides .jp-Cell:visible")).to_contain_text(["运行中", "assert"])
    page.keyboard.press("Enter")
    expect(page.get_by_text("not today").last).to_be_visible()  # an error is not hidden
    page.keyboard.press("n")
    expect(page.get_by_role("complementary", name="讲稿")).to_contain_text("Enter 运行下一个单元格")
    page.keyboard.press("r")
    recording = page.get_by_role("region", name="录制的结果")
    expect(recording).to_contain_text("录制的，不是实时的：运行于 ")
    expect(recording.get_by_text("运行中")).to_be_visible()
    take_screenshot(page, "slides", "chinese")
