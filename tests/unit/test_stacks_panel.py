"""The call stacks that hold the most: the live panel, its table, and the picture that stays."""

import re

import pytest
from bs4 import BeautifulSoup
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from lablib.panels import StacksPanel
from lablib.plots import plot_stacks
from lablib.plots.palette import STACK_STYLES
from lablib.records import Frame, HeapSnapshot, StackUsage, TraceEvents

BLOCK = 8192


def usage(function, blocks, freed=0, caller="main"):
    frames = (Frame(function, "app", 7, "app.c", 19), Frame(caller, "app", 9, "app.c", 40))
    return StackUsage(frames, BLOCK * (blocks + freed), blocks + freed, BLOCK * freed, freed)


def snapshot(at, *stacks):
    return HeapSnapshot(float(at), stacks, TraceEvents(0, 0, 0))


def make_snapshots(count=6):
    """A stack that grows by ten blocks a second beside one that doesn't."""
    return [snapshot(at, usage("lose", 10 * at, 5), usage("keep", 20)) for at in range(count)]


@pytest.fixture
def outputs(monkeypatch):
    had_shell = InteractiveShell.initialized()
    shell = InteractiveShell.instance()
    publisher = CapturingDisplayPublisher()
    monkeypatch.setattr(shell, "display_pub", publisher)
    yield publisher.outputs
    if not had_shell:
        InteractiveShell.clear_instance()


def feed(panel, snapshots):
    """Draw the snapshots without waiting between them; return the table's cells by stack."""
    for record in snapshots:
        words = panel._draw(record)
    rows = BeautifulSoup(words, "html.parser").select("tbody tr")
    return {row.th.text: [cell.text for cell in row.find_all("td")[1:]] for row in rows}


def find_lines(panel):
    """The lines with points, by their colours."""
    return {mark.colors[0]: list(mark.y) for mark in panel.lines.values() if len(mark.x)}


def test_each_stack_has_a_line_and_a_row_with_its_numbers():
    panel = StacksPanel(make_snapshots())
    table = feed(panel, make_snapshots())
    assert table["lose (app.c:19)"] == ["409,600", "50", "5", "+81,920"]
    assert table["keep (app.c:19)"] == ["163,840", "20", "0", "+0"]
    sizes = sorted(find_lines(panel).values(), key=lambda line: line[-1])
    assert sizes[0] == [20 * BLOCK / 2**20] * 6
    assert sizes[1] == [10 * at * BLOCK / 2**20 for at in range(6)]
    assert panel.scales["y"].max >= sizes[1][-1]


def test_a_stack_keeps_its_look_when_another_overtakes_it():
    panel = StacksPanel(make_snapshots())
    looks = []
    for record in make_snapshots():
        feed(panel, [record])
        by_last = {line[-1]: color for color, line in find_lines(panel).items()}
        looks.append(by_last[20 * BLOCK / 2**20] if record.elapsed_s != 2 else None)
    assert len(set(looks) - {None}) == 1


def test_only_the_largest_are_shown_and_one_that_comes_late_has_its_past():
    small = [usage(f"f{number}", number + 1) for number in range(7)]
    late = [snapshot(0, *small), snapshot(1, *small, usage("late", 100))]
    panel = StacksPanel(late)
    table = feed(panel, late)
    assert [name.split()[0] for name in table] == ["late", "f6", "f5", "f4", "f3"]
    assert sorted(find_lines(panel).values())[1] == [4 * BLOCK / 2**20] * 2
    assert [0, 100 * BLOCK / 2**20] in find_lines(panel).values()
    assert len(set(find_lines(panel))) == len(STACK_STYLES)


def test_two_stacks_of_one_site_are_told_apart_by_their_callers():
    both = [snapshot(1, usage("lose", 2, caller="one"), usage("lose", 1, caller="two"))]
    assert list(feed(StacksPanel(both), both)) == [
        "lose (app.c:19) < one",
        "lose (app.c:19) < two",
    ]


def test_names_of_a_stranger_can_not_break_the_table():
    odd = [snapshot(1, usage("<img src=x>\x1b[2J", 1))]
    panel = StacksPanel(odd)
    assert "<img" not in panel._draw(odd[0])
    assert "\x1b" not in panel._draw(odd[0])


def test_a_stack_that_has_given_all_back_is_shown_too():
    panel = StacksPanel([])
    table = feed(panel, [snapshot(1, usage("churn", 0, 99), usage("keep", 1))])
    assert table["churn (app.c:19)"] == ["0", "0", "99", "+0"]
    assert list(table) == ["keep (app.c:19)", "churn (app.c:19)"]
    assert panel.scales["y"].max >= 0.1


def test_an_empty_heap_is_said_to_be_empty():
    assert StacksPanel([])._draw(snapshot(1)) == "No block has been allocated."


def test_stopping_leaves_a_picture_with_its_numbers_in_words(outputs):
    panel = StacksPanel([snapshot(at / 100, usage("lose", 10 * at)) for at in range(6)])
    panel.show()
    assert panel.wait(20)
    pictures = [out for out in outputs if "image/png" in out["data"]]
    alternative = BeautifulSoup(pictures[-1]["data"]["text/html"], "html.parser").img["alt"]
    assert "Recorded, not live." in alternative
    assert "lose (app.c:19) holds 409,600 bytes in 50 blocks" in alternative


def test_the_picture_has_the_looks_of_the_panel():
    panel = StacksPanel(make_snapshots())
    feed(panel, make_snapshots())
    figure, _ = panel._plot()
    drawn = {line.get_color().upper(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert drawn == {color.upper(): line for color, line in find_lines(panel).items()}


def test_the_figure_has_units_and_words():
    figure, words = plot_stacks(make_snapshots(), "The heap of app")
    (axes,) = figure.axes
    assert axes.get_xlabel().endswith("(s)")
    assert axes.get_ylabel() == "live heap (MiB)"
    assert len({(line.get_marker(), line.get_linestyle()) for line in axes.lines}) == 2
    assert re.search(r"lose \(app.c:19\) holds .*\+81,920 bytes a second; keep", words)
    assert plot_stacks([])[1] == "No snapshot was taken."
    assert plot_stacks([snapshot(2)])[1] == "After 2.0 s no block has been allocated."
