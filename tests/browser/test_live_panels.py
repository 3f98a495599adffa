"""The panels of the workbook while their programs live: they move, obey, and leave a picture."""

import contextlib
import re

import pytest
from notebook_page import (
    SIZES,
    await_change,
    await_fit,
    await_number,
    find_outputs,
    find_panel,
    move_slider,
    open_notebook,
    open_page,
    press_button,
    read_number,
    reload,
    reopen,
    resize,
    run_through,
    save,
    take_screenshot,
)
from parallel import MACHINE
from playwright.sync_api import expect

ROUNDING = 0.1  # of two numbers with one decimal
RSS = r"RSS\s+([\d,.]+) MiB"
MAPPED = r"([\d,.]+) MiB mapped"
USED_BLOCKS = r"used [\d.]+ \w+ \(([\d,]+) blocks?\)"
UNITS = {"bytes": 1 / (1 << 20), "KiB": 1 / 1024, "MiB": 1, "GiB": 1024}

_IS_LATER = """([chart, before]) =>
    Number(chart.getAttribute('aria-label').match(/to ([\\d.]+)/)[1]) > before"""


@contextlib.contextmanager
def open_live(chromium, server, name, words, title):
    """A page with a notebook that has run down to the cell with these words, and the panel."""
    with open_page(chromium) as page:
        open_notebook(page, server, name)
        run_through(page, words)
        panel = find_panel(page, title)
        expect(panel.get_by_text("Live")).to_be_visible()
        yield page, panel


def take_live_screenshots(page, panel, name):
    """One in each size, with the panel at the top; then it is a desktop again."""
    for size in SIZES:
        resize(page, size)
        panel.evaluate("panel => panel.scrollIntoView({block: 'start'})")
        await_fit(page)
        take_screenshot(page, name, "live")
    resize(page, "desktop")


def press(panel, name):
    """Press Start or Stop by keyboard, as soon as it can be pressed."""
    button = panel.get_by_role("button", name=name)
    expect(button).to_be_enabled()
    button.press("Enter")


def stop(panel):
    """Press Stop, and return the words for the picture that takes the place of what moved."""
    expect(panel.locator("img")).to_have_count(0)
    press(panel, "Stop")
    expect(panel.locator("img")).to_have_count(1)
    expect(panel.get_by_text("Stopped.")).to_be_visible()
    return read_picture(panel)


def read_picture(panel):
    """The words for a picture that is really drawn."""
    image = panel.locator("img")
    assert image.evaluate("image => image.decode().then(() => image.width)") > 300
    return image.get_attribute("alt")


def await_later(panel):
    """Wait until the chart's axis of time goes on, and its lines with it."""
    chart = panel.locator(".lab-lines canvas")
    drawn = chart.evaluate("canvas => canvas.toDataURL()")
    last = read_last_time(chart)
    panel.page.wait_for_function(_IS_LATER, arg=[chart.element_handle(), last])
    assert chart.evaluate("canvas => canvas.toDataURL()") != drawn


def read_last_time(chart):
    """The time of the newest point on a chart, in seconds."""
    return float(chart.get_attribute("aria-label").split(":")[0].split()[-1])


def read_regions(panel):
    """The rows of the map's table: name, and size in MiB."""
    rows = [row.split("\t") for row in panel.locator("tbody tr").all_inner_texts()]
    sizes = [row[3].split() for row in rows]
    return [
        (row[0].strip(), float(n) * UNITS[unit]) for row, (n, unit) in zip(rows, sizes, strict=True)
    ]


def test_sizes_move_obey_the_slider_and_outlive_page_and_kernel(chromium, notebook_server):
    name, title = "02_promised_and_paid.ipynb", "Promised (VmSize) and paid (RSS, PSS)"
    with open_live(chromium, notebook_server, name, "SizesPanel(", title) as (page, panel):
        await_later(panel)
        before = read_number(panel, RSS)
        assert move_slider(page, "touch (%", 5) == "50"
        expect(panel.get_by_text("touch 50: pages 25,600")).to_be_visible()
        grown = before + 50  # MiB, a quarter of the block of 200 MiB
        await_number(panel, RSS, grown - ROUNDING, grown + ROUNDING)
        await_later(panel)
        take_live_screenshots(page, panel, name)

        assert "VmSize" in stop(panel)
        expect(panel.locator(".lab-lines")).not_to_be_visible()
        press(panel, "Start")
        await_later(panel)
        expect(panel.locator("img")).to_have_count(0)
        words = stop(panel)
        save(page)
        reload(page)
        assert read_picture(panel) == words
        reopen(page, notebook_server, name)
        assert read_picture(page.locator(".jp-Cell-outputArea:has(img[alt*=VmSize])")) == words


@pytest.mark.xdist_group(MACHINE)
def test_a_group_obeys_its_limit_swaps_and_is_killed_beyond_it(
    chromium, notebook_server, capped_groups
):
    name, title = "group.ipynb", "Your group"
    anonymous, swap = r"anonymous, in RAM\s+([\d,.]+) MiB", r"in swap\s+([\d,.]+) MiB"
    with open_live(chromium, notebook_server, name, "steer_group(", title) as (page, panel):
        await_number(panel, anonymous, 24, 32)
        assert move_slider(page, "limit (MiB", -6) == "16"
        expect(panel.get_by_text("limit 16: limit_bytes 16,777,216")).to_be_visible()
        await_number(panel, r"limit\s+([\d,.]+) MiB", 16, 16)
        await_number(panel, swap, 7, 20)
        await_change(panel.locator(".bqplot path.line").nth(1))
        take_live_screenshots(page, panel, name)
        assert move_slider(page, "rate (MiB / s", 16) == "32"
        await_number(panel, anonymous, 0, 1)  # of an eater that was killed
        words = stop(panel)
        assert "limit goes from 64 to 16 MiB" in words
        assert re.search(r"with [1-9]\d* OOM kill", words)  # each step of the slider is a start


def test_the_stack_grows_by_the_slider_and_stays(chromium, notebook_server):
    name, title = "03_the_stack.ipynb", "A recursion, and its return"
    with open_live(chromium, notebook_server, name, "SizesPanel(", title) as (page, panel):
        await_later(panel)
        before = read_number(panel, RSS)
        panel.get_by_role("slider").press("End")
        expect(panel.get_by_text("recurse 100 10000: ")).to_be_visible()
        grown = before + 100 * 10_000 / (1 << 20)
        after = await_number(panel, RSS, grown - ROUNDING, grown + 2 * ROUNDING)
        await_later(panel)
        take_live_screenshots(page, panel, name)
        press_button(page, "return from all calls")
        expect(panel.get_by_text("unwind: ")).to_be_visible()
        await_later(panel)
        assert read_number(panel, RSS) >= after
        assert "RSS goes from" in stop(panel)


def test_the_map_grows_zooms_and_says_what_a_region_is(chromium, notebook_server):
    name, title = "01_where_does_it_live.ipynb", "The address space"
    with open_live(chromium, notebook_server, name, "AddressSpacePanel(", title) as (page, panel):
        take_live_screenshots(page, panel, name)
        before, mapped = read_regions(panel), read_number(panel, MAPPED)
        press_button(page, "mapping: 1 MiB more")
        await_number(panel, MAPPED, mapped + 1 - ROUNDING, mapped + 1 + ROUNDING)
        grown = sum(size for _, size in read_regions(panel)) - sum(size for _, size in before)
        assert abs(grown - 1) <= ROUNDING
        assert read_regions(panel) != before

        detail = panel.locator(".lab-detail")
        heap = panel.get_by_role("row", name="heap ")
        heap.click()
        expect(detail).to_contain_text("heap: 0x")
        heap.press("Enter")
        expect(panel.get_by_text(" KiB of ")).to_be_visible()
        drawing = panel.locator(".lab-columns > svg")
        panel.locator("tbody tr").first.click()
        expect(detail).to_contain_text("stack: 0x")
        drawing.click(position={"x": 180, "y": 240})
        expect(detail).to_contain_text("heap: 0x")
        take_screenshot(page, name, "zoomed")
        heap.press("Escape")
        expect(panel.get_by_text("all ", exact=False).filter(has_text=" to scale")).to_be_visible()
        assert "regions" in stop(panel)


def test_the_heap_map_follows_its_buttons(chromium, notebook_server):
    name, title = "04_the_heap.ipynb", "The same heap, steered by you"
    with open_live(chromium, notebook_server, name, '"free_all_but_last")', title) as (page, panel):
        canvas = panel.locator("canvas")
        used = read_number(panel, USED_BLOCKS)
        drawn = canvas.evaluate("canvas => canvas.toDataURL()")
        press_button(page, "allocate 50 blocks of 800 bytes")
        await_number(panel, USED_BLOCKS, used + 50, used + 50)
        assert canvas.evaluate("canvas => canvas.toDataURL()") != drawn
        press_button(page, "free every third block")
        await_number(panel, USED_BLOCKS, 1, used + 49)
        canvas.press("ArrowRight")
        expect(panel.get_by_text("Block 1 of ")).to_be_visible()
        take_live_screenshots(page, panel, name)
        press_button(page, "free all")
        await_number(panel, USED_BLOCKS, 0, used - 300)  # what was there before the 300 blocks
        assert "block" in stop(panel)
        assert find_outputs(page).locator("canvas:visible").count() == 0
