"""The last two notebooks in Chinese in a browser: a learner predicts, and presses the buttons."""

import pytest
from left_english import find_english, read_html
from notebook_page import (
    RECORDED,
    find_figures,
    find_outputs,
    find_unlabelled_controls,
    find_unreached_controls,
    move_slider,
    open_notebook,
    open_page,
    press_button,
    replay,
    run_all,
    take_screenshot,
)
from parallel import mark_notebook
from playwright.sync_api import expect

from lablib.language import read_translations

TOOLS, ROOM = "10_which_tool_sees_what", "11_incident_room"
FOLDER = "notebooks/zh"


def in_chinese(text, **fields):
    """What the page says in the place of an English text."""
    said = read_translations("zh_CN").get(text, text)
    return said.format(**fields) if fields else said


def keep_choice(page, choice):
    """Choose an answer of the only prediction by choices, keep it, and see it kept."""
    outputs = find_outputs(page)
    words = in_chinese(choice)
    assert words != choice
    form = outputs.filter(has=page.get_by_role("radio", name=words, exact=True)).last
    form.get_by_role("radio", name=words, exact=True).press("Space")
    form.get_by_role("button", name=in_chinese("Keep my prediction")).press("Enter")
    quoted = in_chinese("“{answer}”", answer=words)
    kept = in_chinese("Your prediction: {answer}.", answer=quoted)
    expect(outputs.get_by_text(kept, exact=True)).to_have_count(1)


def run_cell(page, code):
    """Run the cell of code with this text, by keyboard."""
    page.locator(".jp-CodeCell").filter(has_text=code).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")


def use_the_tools(page):
    """Predict what memcheck says; look at a cell of the matrix; choose in the guide."""
    outputs = find_outputs(page)
    keep_choice(page, "it lists it, and doesn't call it a leak")
    run_cell(page, "table_by_memcheck.compare(")
    expect(outputs.get_by_text(in_chinese("You were right."), exact=True)).to_have_count(1)
    found = in_chinese("found")
    outputs.get_by_role("button", name=f"memcheck, fib_leak; {found}").last.click()
    said = in_chinese(
        "{tool} on {program}: {outcome}.", tool="memcheck", program="fib_leak", outcome=found
    )
    expect(outputs.get_by_text(said.rstrip("。"))).to_have_count(1)
    outputs.get_by_role("radio", name="smem").first.press("Space")
    said = in_chinese("No. A few lost blocks in a short test don't move a total.")
    expect(outputs.get_by_text(said)).to_have_count(1)


def use_the_room(page):
    """Predict how the service goes on, by a choice and by a slider; answer a question."""
    outputs = find_outputs(page)
    keep_choice(page, "yes, and they go on")
    moved = move_slider(page, in_chinese("Your prediction ({unit}):", unit="%"), 5)
    press_button(page, in_chinese("Keep my prediction"))
    kept = in_chinese("Your prediction: {answer}.", answer=f"{moved} %")
    expect(outputs.get_by_text(kept, exact=True)).to_have_count(1)
    outputs.get_by_placeholder(in_chinese("a name"), exact=True).fill("make_block")
    refusals = outputs.get_by_role("alert")
    before = refusals.count()
    press_button(page, in_chinese("Keep my answers"))  # to an incident that is gone by now
    expect(refusals).to_have_count(before + 1)


ACTS = {TOOLS: use_the_tools, ROOM: use_the_room}
PARAMETERS = [mark_notebook(name, f"browser {name} in Chinese") for name in ACTS]


@pytest.fixture(scope="module", params=PARAMETERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def page(name, chromium, chinese_server):
    """The notebook with all cells run, once for the tests of this module, in their order."""
    if name in RECORDED:
        replay(chinese_server, name, FOLDER)
    with open_page(chromium) as page:
        open_notebook(page, chinese_server, f"{name}.ipynb", FOLDER)
        run_all(page)
        yield page


def test_it_has_one_title_and_words_for_each_figure(page, name):
    expect(page.locator(".jp-Notebook h1")).to_have_count(1)
    assert all(figure.is_loaded and figure.alt for figure in find_figures(page))
    take_screenshot(page, f"{name}_zh", "run")


def test_every_control_has_words_and_is_reached_by_tab(page):
    assert find_unreached_controls(page) == []
    assert find_unlabelled_controls(page) == []


def test_it_answers_to_the_learner(page, name):
    ACTS[name](page)
    take_screenshot(page, f"{name}_zh", "answered")


def test_its_controls_say_nothing_in_english(page):
    """What a browser draws; tests/notebooks has the rest."""
    drawn = (
        find_outputs(page)
        .locator(".jupyter-widgets")
        .evaluate_all("parts => parts.map(part => part.outerHTML)")
    )
    assert drawn
    assert find_english(map(read_html, drawn)) == []
