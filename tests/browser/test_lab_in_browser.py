"""A lab in a browser: look, answer, open the program beside the notebook, mend it, be judged."""

import pytest
from conftest import require_tracer
from notebook_page import (
    SIZES,
    find_cut_off,
    find_outputs,
    find_unlabelled_controls,
    find_unreached_controls,
    open_notebook,
    open_page,
    press_button,
    resize,
    run_all,
    take_screenshot,
)
from playwright.sync_api import expect
from submissions import load_variant, make_program, make_solution

LAB = "fib_leak"
CHECK_TIMEOUT_MS = 120_000


@pytest.fixture(scope="module", autouse=True)
def haste():
    """What the cells wait for is shortened."""
    require_tracer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_HASTE", "3")
        yield


@pytest.fixture(scope="module")
def page(haste, chromium, notebook_server):
    """The notebook with all cells run, once for the tests of this module, in their order."""
    with open_page(chromium) as page:
        open_notebook(page, notebook_server, f"{LAB}.ipynb", f"labs/{LAB}")
        run_all(page)
        yield page


def run_cell(page, code):
    """Run the cell of code with this text, by keyboard."""
    cell = page.locator(".jp-Notebook:visible .jp-CodeCell").filter(has_text=code)
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    return cell


def take_screenshots(page, place, step):
    """One in each size, with a part of the page at the top."""
    for size in SIZES:
        resize(page, size)
        place.evaluate("place => place.scrollIntoView({block: 'start'})")
        take_screenshot(page, f"lab_{LAB}", step)


def test_every_control_has_words_and_is_reached_by_tab(page):
    assert find_unreached_controls(page) == []
    assert find_unlabelled_controls(page) == []


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window(page, size):
    resize(page, size)
    assert find_cut_off(page) == []


def test_the_program_is_mended_beside_the_notebook_and_has_all_points(page):
    for number, cell in enumerate(page.locator(".jp-Notebook .jp-CodeCell").all(), start=1):
        take_screenshots(page, cell, f"cell{number}")
    resize(page, "desktop")
    outputs = find_outputs(page)
    expect(outputs.get_by_text("0 of 10 points.")).to_have_count(1)
    outputs.get_by_role("textbox", name="Your answer:").fill("8 KiB")
    outputs.get_by_role("radio", name="B: in an anonymous mapping").press("Space")
    press_button(page, "Keep my answers")
    expect(outputs.get_by_text("2 of 2 answered", exact=False)).to_have_count(1)

    outputs.get_by_role("link", name=f"{LAB}.c").click()
    editor = page.locator(".jp-FileEditor .cm-content")
    expect(editor).to_contain_text("calloc")
    solution = make_solution(LAB, "")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(make_program(load_variant(solution), solution.patch))
    take_screenshot(page, f"lab_{LAB}", "editor")
    page.keyboard.press("Control+s")
    expect(page.locator("#jp-main-dock-panel .lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)

    page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text=f"{LAB}.ipynb").click()
    judged = run_cell(page, "lab.check()")
    expect(judged.get_by_text("10 of 10 points.")).to_have_count(1, timeout=CHECK_TIMEOUT_MS)
    take_screenshots(page, judged, "judged")
    points = run_cell(page, 'lab.points("program")').locator(".jp-Cell-outputWrapper")
    expect(points).to_contain_text("8.0")
