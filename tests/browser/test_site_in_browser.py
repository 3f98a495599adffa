"""The site in a browser, from its files: nothing is fetched, search works, nobody is shut out."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from notebook_page import open_page, resize, take_screenshot
from playwright.sync_api import expect

from lablib.site import build_site, make_editions

ROOT = Path(__file__).parents[2]
PAGES = [
    "index.html",
    "en/notebooks/00_start_here.html",
    "en/notebooks/09_fibonacci_case.html",
    "en/notebooks/glossary.html",
    "en/docs/what-works-where.html",
    "zh/notebooks/04_the_heap.html",
]
RUN = {"en": "10_which_tool_sees_what", "zh": "02_promised_and_paid"}
RECORDED = {"en": "RECORDED, not live", "zh": "录制的，不是实时的"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("site") / "built"
    build_site(ROOT, place, make_editions(ROOT, place.with_name("made")), runs=False)
    return place


@pytest.fixture(scope="module")
def folder_with_outputs(tmp_path_factory):
    """As much of the site as runs in seconds, in both languages; its builder checks the links."""
    top = tmp_path_factory.mktemp("run")
    editions = []
    for edition in make_editions(ROOT, top / "made"):
        few = top / edition.code
        few.mkdir()
        for name in (f"{RUN[edition.code]}.ipynb", "glossary.md"):
            shutil.copy(edition.notebooks / name, few)
        editions.append(replace(edition, notebooks=few))
    build_site(ROOT, top / "built", editions)
    return top / "built"


@pytest.fixture
def page(chromium):
    """A window that has no network; what it asks for elsewhere, or doesn't get, is in `misses`."""
    with open_page(chromium, "projector") as page:
        page.context.set_offline(True)
        page.misses = []
        page.on("request", lambda asked: note_if_elsewhere(page, asked.url))
        page.on("requestfailed", lambda asked: page.misses.append(asked.url))
        page.on("pageerror", lambda error: page.misses.append(str(error)))
        yield page


def note_if_elsewhere(page, url):
    if not url.startswith(("file:", "data:")):
        page.misses.append(url)


def test_pages_open_from_their_files_and_fetch_nothing(page, folder):
    for name in PAGES:
        page.goto((folder / name).as_uri())
        expect(page.locator("h1")).to_have_count(1)
    assert page.misses == []


def test_search_finds_a_section_and_leads_there(page, folder):
    page.goto((folder / "en/notebooks/09_fibonacci_case.html").as_uri())
    page.get_by_role("searchbox", name="Search").fill("program break")
    expect(page.get_by_role("status")).to_contain_text("Places found: ")
    found = page.locator("#results a").first
    expect(found).to_have_text("Glossary: program break")
    take_screenshot(page, "site", "search")
    found.click()
    expect(page).to_have_url((folder / "en/notebooks/glossary.html").as_uri() + "#program-break")
    page.get_by_role("searchbox", name="Search").fill("kein solches wort")
    expect(page.get_by_role("status")).to_have_text("Nothing has these words.")
    assert page.misses == []


def test_search_needs_no_word_boundaries(page, folder):
    """Chinese writes none: a part of a run of letters is found too."""
    page.goto((folder / "zh/notebooks/01_where_does_it_live.html").as_uri())
    page.get_by_role("searchbox", name="搜索").fill("线程 内存")
    expect(page.get_by_role("status")).to_contain_text("找到 ")
    expect(page.locator("#results mark").first).to_have_text("线程")
    page.get_by_role("searchbox", name="搜索").fill("内存线程")  # nowhere as it stands
    expect(page.get_by_role("status")).to_contain_text("找到 ")
    expect(page.locator("#results mark").first).to_have_text("内存")
    assert page.misses == []


def test_axe_finds_no_barrier(page, folder):
    for name in PAGES:
        page.goto((folder / name).as_uri())
        violations = Axe().run(page).response["violations"]
        assert [(name, one["id"], one["nodes"][0]["html"]) for one in violations] == []


def test_pages_with_outputs_hold_no_barrier_and_fetch_nothing(page, folder_with_outputs):
    """In both languages, as wide as a projector and as narrow as a telephone."""
    for language, name in RUN.items():
        page.goto((folder_with_outputs / language / "notebooks" / f"{name}.html").as_uri())
        outputs = page.locator(".jp-OutputArea")
        expect(outputs.get_by_text(RECORDED[language]).first).to_be_visible()
        widths = outputs.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
        assert widths, name
        assert all(widths), name
        assert page.misses == []
        found = Axe().run(page).response["violations"]
        assert [(name, one["id"], one["nodes"][0]["html"]) for one in found] == []
        page.misses.clear()  # axe tries to read the styles' files
        page.set_viewport_size({"width": 400, "height": 800})
        is_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.evaluate(is_wide), name
        resize(page, "projector")
