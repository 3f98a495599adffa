"""A small notebook in a browser: its controls, what moves, and what outlives its kernel."""

import pytest
from notebook_page import (
    SIZES,
    await_change,
    find_cut_off,
    find_figures,
    find_outputs,
    find_unlabelled_controls,
    find_unreached_controls,
    move_slider,
    open_notebook,
    open_page,
    press_button,
    read_outputs,
    read_saved,
    reload,
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

    press_button(page, "Start")
    await_change(find_outputs(page).locator(".widget-hprogress"))
    take_screenshot(page, NAME, "started")
    press_button(page, "Stop")
    expect(find_outputs(page).locator("img")).to_have_count(2)
    alts = [figure.alt for figure in find_figures(page)]
    assert alts[0].startswith("One bar: ")
    assert alts[1] == LINE

    save(page)
    assert [model["state"]["value"] for model in read_saved_sliders(page)] == [11]
    reload(page)
    expect(find_outputs(page).locator(".widget-slider .widget-readout")).to_have_text("11")
    assert move_slider(page, "blocks", 1) == "12"

    reopen(page, notebook_server, NAME)
    expect(find_outputs(page).locator("img")).to_have_count(2)
    figures = find_figures(page)
    assert [figure.alt for figure in figures] == alts
    assert all(figure.is_loaded and figure.width_px > 300 for figure in figures)
    take_screenshot(page, NAME, "reopened")


def read_saved_sliders(page):
    saved = read_saved(page)["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]
    return [model for model in saved["state"].values() if model["model_name"] == "IntSliderModel"]


def test_every_control_has_words_is_reached_by_tab_and_is_in_the_window(page):
    assert find_unreached_controls(page) == []
    assert find_unlabelled_controls(page) == []
    assert find_cut_off(page) == []


def test_what_shuts_people_out_is_found(chromium, notebook_server):
    with open_page(chromium) as page:
        open_notebook(page, notebook_server, "barriers.ipynb")
        run_all(page)
        (skipped,) = find_unreached_controls(page)
        assert "Skipped" in skipped
        (unlabelled,) = find_unlabelled_controls(page)
        assert unlabelled.startswith("<input")
        (cut_off,) = find_cut_off(page)
        assert cut_off.startswith("<svg")


def test_a_cell_that_fails_is_told_and_not_waited_for(chromium, notebook_server):
    with open_page(chromium) as page:
        open_notebook(page, notebook_server, "fails.ipynb")
        with pytest.raises(AssertionError, match="ZeroDivisionError"):
            run_all(page)
