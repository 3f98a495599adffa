"""Each notebook of the workbook in a browser: it runs, obeys the keyboard, outlives its kernel."""

from pathlib import Path

import pytest
from notebook_page import (
    RECORDED,
    SIZES,
    find_cut_off,
    find_figures,
    find_outputs,
    find_unlabelled_controls,
    find_unreached_controls,
    move_slider,
    open_notebook,
    open_page,
    press_button,
    reopen,
    replay,
    resize,
    run_all,
    save,
    take_screenshot,
)
from parallel import mark_notebook
from playwright.sync_api import expect

NAMES = sorted(path.stem for path in Path(__file__).parents[2].glob("notebooks/*.ipynb"))


def spoil_the_fix(page):
    """The learner takes the free away, builds it, and is told; then puts it back."""
    field = find_outputs(page).locator("textarea")
    right = field.input_value()
    field.fill(right.replace("free(v);", ""))
    press_button(page, "Build, run and compare")
    said = find_outputs(page).get_by_text("keeps 8,192 bytes a term, as before", exact=False)
    expect(said).to_have_count(1, timeout=60_000)
    field.fill(right.replace("free(v);", "free(w);"))
    press_button(page, "Build, run and compare")
    expect(find_outputs(page).get_by_text("it doesn't compile", exact=False)).to_have_count(1)
    field.fill(right)
    press_button(page, "Build, run and compare")
    said = find_outputs(page).get_by_text("✓ fibonacci (fib_leak.c:19) kept", exact=False)
    expect(said).to_have_count(1, timeout=60_000)
    assert move_slider(page, "terms / s", -1) == "99"


def keep_a_prediction(page):
    """It takes a number with its unit, and then stays."""
    find_outputs(page).get_by_role("textbox").fill("100 MiB")
    press_button(page, "Keep my prediction")
    expect(find_outputs(page).get_by_text("Your prediction: 100 MiB.")).not_to_have_count(0)


def steer_the_map(page):
    """The zoom of the map; and a button for the program, which has ended with the last cell."""
    press_button(page, "Show all addresses")
    expect(find_outputs(page).get_by_text(" TiB to scale", exact=False)).not_to_have_count(0)
    press_button(page, "heap: 1 MiB more")
    expect(find_outputs(page).get_by_text("segments has been closed")).to_have_count(1)


def touch_more(page):
    """The slider of the program, which has ended with the last cell."""
    assert move_slider(page, "touch (%", 1) == "30"
    expect(find_outputs(page).get_by_text("pages has been closed")).to_have_count(1)


def go_deeper(page):
    """The slider of one program and a button of another, which have both ended."""
    assert move_slider(page, "100 calls more", 2) == "3000"
    press_button(page, "come back")
    expect(find_outputs(page).get_by_text("recursion has been closed")).to_have_count(2)


def steer_the_heap(page):
    """A button below the map, for a program that has ended with the last cell."""
    press_button(page, "trim")
    expect(find_outputs(page).get_by_text("trim: blocks has been closed")).to_have_count(1)


def steer_the_family(page):
    """A button for the parent, which has ended with the last cell."""
    press_button(page, "fork")
    expect(find_outputs(page).get_by_text("fork: sharing has been closed")).to_have_count(1)


def watch_again(page):
    """The strips move again, with all cells run, and a second Stop leaves another picture."""
    pictures = len(find_figures(page))
    find_outputs(page).get_by_role("button", name="Start").first.click()
    expect(find_outputs(page).get_by_text("Live.", exact=True)).to_have_count(1)
    expect(find_outputs(page).locator(".bqplot:visible")).not_to_have_count(0)
    page.wait_for_timeout(4000)
    take_screenshot(page, "07_vmstat_and_its_friends", "strips")
    find_outputs(page).get_by_role("button", name="Stop").first.click()
    expect(find_outputs(page).locator("img")).to_have_count(pictures)


def limit_a_group(page):
    """A slider and a button for the learner's own group, which has ended with a cell above."""
    assert move_slider(page, "rate (MiB / s", 1) == "2"
    expect(find_outputs(page).get_by_text("grow 2: the experiment is over")).to_have_count(1)
    press_button(page, "free all of it")
    expect(find_outputs(page).get_by_text("release: the experiment is over")).to_have_count(1)


def take_form_screenshots(page, form, step):
    """One in each size, with the form at the top; then the window is as it was."""
    before = page.viewport_size
    for size in SIZES:
        resize(page, size)
        form.evaluate("form => form.scrollIntoView({block: 'start'})")
        take_screenshot(page, "06_what_is_a_leak", step)
    page.set_viewport_size(before)


def classify(page):
    """A letter by keyboard, in both rounds; each is answered once, and says the score."""
    forms = find_outputs(page).locator(".lab-classes")
    for left in (2, 1):
        expect(forms).to_have_count(left)
        form = forms.first
        form.get_by_role("radio", name="A: Leak").press("Space")
        form.get_by_role("radio", name="A: Leak").press("ArrowDown")
        expect(form.get_by_role("radio", name="A: Growth")).to_be_checked()
        form.get_by_role("radio", name="B: Can't tell").press("Space")
        take_form_screenshots(page, form, f"round{3 - left}")
        button = find_outputs(page).get_by_role("button", name="Give my answers").first
        button.press("Enter")
        expect(find_outputs(page).get_by_text(" left open.")).to_have_count(3 - left)
    expect(find_outputs(page).get_by_role("cell", name="○ left open")).not_to_have_count(0)


def look_into_the_matrix(page):
    """A cell of the matrix shows what the tool said; a choice in the guide is answered."""
    outputs = find_outputs(page)
    outputs.get_by_role("button", name="memcheck, fib_leak; found").last.click()
    expect(outputs.get_by_text("memcheck on fib_leak: found")).to_have_count(1)
    take_screenshot(page, "10_which_tool_sees_what", "matrix")
    outputs.get_by_role("radio", name="smem").first.press("Space")
    said = outputs.get_by_text("A few lost blocks in a short test", exact=False)
    expect(said).to_have_count(1)


def answer_the_page(page):
    """Answers to an incident that was left with nothing written: it is said that it is gone."""
    find_outputs(page).get_by_placeholder("a name", exact=True).fill("make_block")
    press_button(page, "Keep my answers")
    expect(find_outputs(page).get_by_text("can't be written", exact=False)).to_have_count(1)


# What a learner does in a notebook: it is given the page, with all cells run.
INTERACTIONS = {
    "00_start_here": keep_a_prediction,
    "01_where_does_it_live": steer_the_map,
    "02_promised_and_paid": touch_more,
    "03_the_stack": go_deeper,
    "04_the_heap": steer_the_heap,
    "05_shared_and_mapped": steer_the_family,
    "07_vmstat_and_its_friends": watch_again,
    "06_what_is_a_leak": classify,
    "08_when_memory_runs_out": limit_a_group,
    "09_fibonacci_case": spoil_the_fix,
    "10_which_tool_sees_what": look_into_the_matrix,
    "11_incident_room": answer_the_page,
}


@pytest.fixture(scope="module", params=[mark_notebook(name, f"browser {name}") for name in NAMES])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def page(name, chromium, notebook_server):
    """The notebook with all cells run, once for the tests of this module, in their order."""
    if name in RECORDED:
        replay(notebook_server, name)
    with open_page(chromium) as page:
        open_notebook(page, notebook_server, f"{name}.ipynb")
        run_all(page)
        yield page


def test_it_has_one_title_and_words_for_each_figure(page):
    expect(page.locator(".jp-Notebook h1")).to_have_count(1)
    figures = find_figures(page)
    assert all(figure.is_loaded and figure.alt for figure in figures)


def test_every_control_has_words_and_is_reached_by_tab(page):
    assert find_unreached_controls(page) == []
    assert find_unlabelled_controls(page) == []


def test_it_answers_to_the_learner(page, name):
    """What has a button or a slider has an interaction above that tries it."""
    controls = find_outputs(page).locator(":is(.widget-button, .widget-slider)")
    if controls.count():
        INTERACTIONS[name](page)


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window(page, name, size):
    resize(page, size)
    take_screenshot(page, name, "run")
    for number, image in enumerate(find_outputs(page).locator("img").all(), start=1):
        image.scroll_into_view_if_needed()
        take_screenshot(page, name, f"figure{number}")
    assert find_cut_off(page) == []


def test_a_saved_notebook_shows_its_figures_when_its_kernel_has_ended(page, name, notebook_server):
    resize(page, "desktop")
    before = find_figures(page)
    save(page)
    reopen(page, notebook_server, f"{name}.ipynb")
    expect(find_outputs(page).locator("img")).to_have_count(len(before))
    take_screenshot(page, name, "reopened")
    assert find_figures(page) == before
