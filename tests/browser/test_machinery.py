"""A small notebook in a browser: its controls, what moves, and what outlives its kernel."""

import pytest
from notebook_page import (
    SIZES,
    find_figures,
    find_outputs,
    find_unlabelled_controls,
    find_unreached_controls,
    move_slider,
    open_notebook,
    open_page,
    press_button,
    read_outputs,
    reopen,
    run_all,
    save,
    take_screenshot,
)
from playwright.sync_api import expect

NAME = "machinery.ipynb"
LINE = "A straight line: from 0 to 20 blocks in two seconds."


@pytest.fixture(params=SIZES)
def page(request, chromium, notebook_server):
    """The notebook, run once, in a window of each size."""
    with open_page(chromium, request.param) as page:
        open_notebook(page, notebook_server, NAME)
        run_all(page)
        yield page


def test_controls_answer_to_the_keyboard_and_figures_outlive_the_kernel(page, notebook_server):
    assert read_outputs(page)[-1].strip() == "blocks: 10 guess: 0 place: stack"
    assert move_slider(page, "blocks", 2) == "12"
    assert move_slider(page, "blocks", -1) == "11"

    progress = find_outputs(page).locator(".progress-bar")
    at_first = progress.get_attribute("style")
    press_button(page, "Start")
    expect(progress).not_to_have_attribute("style", at_first)
    take_screenshot(page, NAME, "started")
    press_button(page, "Stop")
    expect(find_outputs(page).locator("img")).to_have_count(2)
    alts = [figure.alt for figure in find_figures(page)]
    assert alts[0].startswith("One bar: ")
    assert alts[1] == LINE

    save(page)
    reopen(page, notebook_server)
    expect(find_outputs(page).locator("img")).to_have_count(2)
    figures = find_figures(page)
    assert [figure.alt for figure in figures] == alts
    assert all(figure.is_loaded and figure.width_px > 300 for figure in figures)
    expect(find_outputs(page).locator(".widget-slider .widget-readout")).to_have_text("11")
    take_screenshot(page, NAME, "reopened")


def test_every_control_has_words_and_is_reached_by_tab(page):
    assert find_unreached_controls(page) == []
    assert find_unlabelled_controls(page) == []


def test_controls_that_shut_people_out_are_found(chromium, notebook_server):
    with open_page(chromium) as page:
        open_notebook(page, notebook_server, "barriers.ipynb")
        run_all(page)
        (skipped,) = find_unreached_controls(page)
        assert "Skipped" in skipped
        (unlabelled,) = find_unlabelled_controls(page)
        assert unlabelled.startswith("<input")


def test_a_cell_that_fails_is_told_and_not_waited_for(chromium, notebook_server):
    with open_page(chromium) as page:
        open_notebook(page, notebook_server, "fails.ipynb")
        with pytest.raises(AssertionError, match="ZeroDivisionError"):
            run_all(page)
