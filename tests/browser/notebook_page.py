"""What a learner does with a notebook in JupyterLab, as functions on a Playwright page."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, Locator, Page, Playwright, expect

from lablib.jupyter.server import NotebookServer

SIZES = {"desktop": (1600, 1000), "projector": (1280, 720)}
# Generous bounds, for a machine that is busy with something else.
STEP_TIMEOUT_MS = 60_000
RUN_TIMEOUT_MS = 240_000
POLL_MS = 200  # not at every frame, as is usual: without a graphics card each one costs
MAX_TABS = 400
RECORDED = ("10_which_tool_sees_what",)
"""The notebooks whose live run takes a minute or two: tests/notebooks runs them live."""
expect.set_options(timeout=STEP_TIMEOUT_MS)

# Nothing is drawn by a graphics card, and nothing is fetched.
CHROMIUM_OPTIONS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_CONTROLS = ":is(button, input, select, textarea, a[href], [role=slider], [tabindex='0'])"
# Cells that wait for their turn have a star; at an error those below it lose theirs.
_RUN_IS_OVER = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
        .map(prompt => prompt.textContent);
    const status = document.querySelector('#jp-main-statusbar').textContent;
    return status.includes('| Idle') && prompts.some(prompt => /\\d/.test(prompt))
        && !prompts.some(prompt => prompt.includes('*'));
}"""

_CUT_OFF = """parts => {
    const edge = document.querySelector('.jp-NotebookPanel .jp-Notebook').getBoundingClientRect();
    return parts
        .filter(part => part.getBoundingClientRect().right > edge.right)
        .map(part => part.outerHTML.slice(0, 200));
}"""
_UNREACHED = """controls => {
    const reached = controls.filter(one => one.dataset.reached);
    const groups = new Set(reached.map(one => one.type === 'radio' && one.name));
    return controls
        .filter(one => !one.dataset.reached && !groups.has(one.name || 'no group'))
        .map(one => one.outerHTML);
}"""
_UNLABELLED = """controls => controls
    .filter(one => {
        const widget = one.closest('.jupyter-widgets');
        const label = widget && widget.querySelector('.widget-label');
        const labels = [...(one.labels || []), label].map(own => own && own.innerText);
        return ![one.ariaLabel, one.innerText, one.title, ...labels]
            .some(words => words && words !== 'null' && words.trim());
    })
    .map(one => one.outerHTML)"""


@dataclass(frozen=True)
class PageFigure:
    """A picture in a cell's output, as the browser has it."""

    alt: str
    is_loaded: bool
    width_px: float


@contextlib.contextmanager
def launch_chromium(playwright: Playwright) -> Iterator[Browser]:
    """Run the distribution's Chromium, without a window; raises `LookupError` where none starts."""
    paths = filter(None, map(shutil.which, ["chromium", "google-chrome", "chromium-browser"]))
    refusals = []
    for path in paths:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        except Error as error:
            refusals.append(f"{path}: {str(error).splitlines()[0]}")
            continue
        yield browser
        browser.close()
        return
    found = "; ".join(refusals) or "none is installed (Ubuntu has it as a snap only)"
    raise LookupError(f"no Chromium that Playwright can drive: {found}")


@contextlib.contextmanager
def open_page(browser: Browser, size: str = "desktop") -> Iterator[Page]:
    """Give a browser window of its own, of a size of `SIZES`."""
    width, height = SIZES[size]
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        context.set_default_timeout(STEP_TIMEOUT_MS)
        yield context.new_page()


def resize(page: Page, size: str) -> None:
    """Make the window as large as a desktop's or a projector's."""
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})


def open_notebook(page: Page, server: NotebookServer, name: str, folder: str = "notebooks") -> None:
    """Open a notebook, alone, and wait until its kernel is there."""
    page.goto(f"{server.address(name, folder)}&reset")
    await_kernel(page)


def await_kernel(page: Page) -> None:
    """Wait until the notebook is drawn and the status bar calls its kernel idle."""
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()


def replay(server: NotebookServer, name: str, folder: str = "notebooks") -> None:
    """Have a notebook of the server's copy run on its recording."""
    address = f"{server.url}api/contents/{folder}/{name}.ipynb?token={server.token}"
    with urllib.request.urlopen(address) as answer:
        model = json.load(answer)
    code = next(cell for cell in model["content"]["cells"] if cell["cell_type"] == "code")
    code["source"] = f"%env LAB_SOURCE=recorded\n{code['source']}"
    body = json.dumps({key: model[key] for key in ("content", "format", "type")}).encode()
    with urllib.request.urlopen(urllib.request.Request(address, body, method="PUT")):
        pass


def run_all(page: Page) -> None:
    """Run all cells by the menu, and save; an error in a cell is an AssertionError."""
    cells = _run_by_menu(page, "Run All Cells")
    assert all(cell["execution_count"] for cell in cells)


def run_through(page: Page, words: str) -> None:
    """Run and save as `run_all` does, but only down to the first cell that has these words."""
    cells = page.locator(".jp-Notebook .jp-Cell")
    last = [words in text for text in cells.all_inner_texts()].index(True)
    cells.nth(last + 1).locator(".jp-InputPrompt").click()
    _run_by_menu(page, "Run All Above Selected Cell")


def _run_by_menu(page: Page, item: str) -> list[dict[str, Any]]:
    """Run cells, wait for their end, save, and return all cells of code; none may have failed."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=item, exact=True).click()
    page.wait_for_function(_RUN_IS_OVER, timeout=RUN_TIMEOUT_MS, polling=POLL_MS)
    save(page)
    cells = [cell for cell in read_saved(page)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    errors = [output for output in outputs if output["output_type"] == "error"]
    assert not errors, re.sub(r"\x1b\[[\d;]*m", "", "\n".join(errors[0]["traceback"]))
    return cells


def read_saved(page: Page) -> dict[str, Any]:
    """Return the open notebook as it is saved on the disk."""
    address = page.url.split("?")[0].replace("/lab/tree/", "/api/contents/")
    return page.request.get(address).json()["content"]


def read_outputs(page: Page) -> list[str]:
    """Return the text of each code cell's output, in order."""
    return page.locator(".jp-CodeCell .jp-Cell-outputWrapper").all_inner_texts()


def press_button(page: Page, name: str) -> None:
    """Press the button with this text, by keyboard; an icon before it is a letter of its own."""
    words = re.compile(rf"^\W*{re.escape(name)}$")
    button = find_outputs(page).get_by_role("button", name=words)
    button.focus()
    button.press("Enter")


def move_slider(page: Page, label: str, steps: int) -> str:
    """Move the slider with this label by arrow keys, to the left if negative; return its value."""
    slider = find_outputs(page).locator(".widget-slider").filter(has_text=label)
    handle = slider.get_by_role("slider")
    before = handle.get_attribute("aria-valuenow")
    handle.focus()
    for _ in range(abs(steps)):
        handle.press("ArrowRight" if steps > 0 else "ArrowLeft")
    expect(handle).not_to_have_attribute("aria-valuenow", before)
    return handle.get_attribute("aria-valuetext")


def save(page: Page) -> None:
    """Save by keyboard, and wait until the tab has no mark of unsaved work."""
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-NotebookPanel:visible")).to_have_count(1)
    expect(page.locator("#jp-main-dock-panel .lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)


def reopen(page: Page, server: NotebookServer, name: str) -> None:
    """Open the notebook again after its kernel has ended, as on the next day.

    Only figures are sure to be there: ipywidgets 8.1 may ask for a saved widget before it has read
    the notebook's state, and then says "model not found".
    """
    sessions = f"{server.url}api/sessions"
    authorised = {"Authorization": f"token {server.token}"}
    page.goto("about:blank")
    for session in page.request.get(sessions, headers=authorised).json():
        page.request.delete(f"{sessions}/{session['id']}", headers=authorised)
    open_notebook(page, server, name)


def reload(page: Page) -> None:
    """Load the page again, while the kernel runs on."""
    page.reload()
    await_kernel(page)


def find_outputs(page: Page) -> Locator:
    """Return all places where cells show their outputs."""
    return page.locator(".jp-Notebook .jp-OutputArea-output")


def find_figures(page: Page) -> list[PageFigure]:
    """Return the pictures that the cells show."""
    return [
        PageFigure(
            image.get_attribute("alt") or "",
            image.evaluate("image => image.complete && image.naturalWidth > 0"),
            image.bounding_box()["width"],
        )
        for image in find_outputs(page).locator("img").all()
    ]


def await_change(part: Locator) -> None:
    """Wait until a part of the page, such as a live panel, is drawn differently than now."""
    part.page.wait_for_function(
        "([part, before]) => part.outerHTML !== before",
        arg=[part.element_handle(), part.evaluate("part => part.outerHTML")],
    )


def find_panel(page: Page, title: str) -> Locator:
    """Return the outputs of the cell that shows the live panel with this title."""
    outputs = page.locator(".jp-Notebook .jp-Cell-outputArea")
    return outputs.filter(has=page.get_by_text(title, exact=True))


def read_number(part: Locator, pattern: str) -> float:
    """Return the number that the pattern's group has in the text of a part of the page."""
    return float(re.search(pattern, part.inner_text())[1].replace(",", ""))


def await_number(part: Locator, pattern: str, low: float, high: float = math.inf) -> float:
    """Wait until that number is between two others, and return it."""
    part.page.wait_for_function(
        "([part, pattern, low, high]) => {"
        " const found = part.innerText.match(new RegExp(pattern));"
        " const number = found ? Number(found[1].replaceAll(',', '')) : NaN;"
        " return low <= number && (high === null || number <= high); }",
        arg=[part.element_handle(), pattern, low, None if high == math.inf else high],
    )
    return read_number(part, pattern)


def await_fit(page: Page) -> None:
    """Wait until what is drawn has been drawn anew for the window's size, and none is cut off."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    parts = _find_drawn(page).element_handles()
    page.wait_for_function(f"parts => !({_CUT_OFF})(parts).length", arg=parts)


def find_cut_off(page: Page) -> list[str]:
    """Return the start of the HTML of each picture or widget that is wider than the notebook."""
    return _find_drawn(page).evaluate_all(_CUT_OFF)


def _find_drawn(page: Page) -> Locator:
    return find_outputs(page).locator(":is(img, svg, canvas, .jupyter-widgets):visible")


def find_unreached_controls(page: Page) -> list[str]:
    """Return the HTML of each control in the outputs that the Tab key does not come to.

    Of radio buttons with one name it comes to one, and arrow keys do the rest.
    """
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.keyboard.press("Escape")
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        is_inside = page.evaluate(
            "() => { const at = document.activeElement; at.dataset.reached = 'yes';"
            " return at.closest('.jp-Notebook') !== null; }"
        )
        if not is_inside:
            break
    return _find_controls(page).evaluate_all(_UNREACHED)


def find_unlabelled_controls(page: Page) -> list[str]:
    """Return the HTML of each control in the outputs that has no words beside or in it."""
    return _find_controls(page).evaluate_all(_UNLABELLED)


def _find_controls(page: Page) -> Locator:
    return find_outputs(page).locator(f"{_CONTROLS}:visible:enabled")


def take_screenshot(page: Page, name: str, step: str) -> Path:
    """Save what the window shows as NAME-SIZE-STEP.png among the test artefacts."""
    viewport = (page.viewport_size["width"], page.viewport_size["height"])
    size = next((size for size, pixels in SIZES.items() if pixels == viewport), "long")
    path = artefacts() / f"{re.sub('[.]ipynb$', '', name)}-{size}-{step}.png"
    page.screenshot(path=path)
    return path


def artefacts() -> Path:
    """Return the folder for screenshots: LAB_SCREENSHOTS, or results/browser."""
    default = Path(__file__).parents[2] / "results" / "browser"
    folder = Path(os.environ.get("LAB_SCREENSHOTS", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
