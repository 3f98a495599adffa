"""The panel of vmstat's columns: strips on one time axis, marks, and samples to wait for."""

import itertools
import re
import threading
import time

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from process_records import MIB, make_vmstat

from lablib.errors import LabError
from lablib.panels import MachinePanel, vmstat


@pytest.fixture
def outputs(monkeypatch):
    """What is displayed, as in a notebook: a list of messages."""
    had_shell = InteractiveShell.initialized()
    shell = InteractiveShell.instance()
    publisher = CapturingDisplayPublisher()
    monkeypatch.setattr(shell, "display_pub", publisher)
    yield publisher.outputs
    if not had_shell:
        InteractiveShell.clear_instance()


class Given:
    """A source that gives a sample when it is told to, as vmstat does when its second is over."""

    def __init__(self, samples):
        self.samples = iter(samples)
        self.turn = threading.Semaphore(0)

    def __call__(self):
        while True:
            self.turn.acquire()
            sample = next(self.samples, None)
            if sample is None:
                return
            yield sample

    def give(self, count=1):
        for _ in range(count):
            self.turn.release()


@pytest.fixture
def given(monkeypatch):
    monkeypatch.setattr(vmstat, "_READING_S", 0.0)
    return Given(make_vmstat([100 - 10 * index for index in range(10)]))


def start(panel, given, count=1):
    panel.start()
    given.give(count)
    await_samples(panel, count)


def await_samples(panel, count):
    deadline = time.monotonic() + 20
    while len(panel.samples) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def end(panel, given):
    given.give(20)
    panel.stop()


def test_each_column_has_its_strip_and_all_have_the_same_time():
    samples = make_vmstat(range(100, 80, -1), rss_bytes=range(20))
    panel = MachinePanel(samples, columns=("free", "si", "RSS"), points=8)
    for sample in samples:
        panel._draw(sample)
    assert list(panel.lines) == ["free", "si", "RSS"]
    assert list(panel.lines["free"].x) == list(range(12, 20)) == list(panel.lines["RSS"].x)
    assert list(panel.lines["free"].y) == [-index for index in range(8)]
    assert list(panel.lines["RSS"].y) == list(range(8))
    names, figures = zip(*(row.children for row in panel.view.children), strict=True)
    assert len({id(figure.axes[1].scale) for figure in figures}) == 1
    assert [re.sub("<.+?>", " ", name.value).split() for name in names] == [
        ["free", "MiB"],
        ["si", "MiB", "/", "s"],
        ["RSS", "MiB"],
    ]
    assert list(figures[2].axes[0].tick_values) == [0, 5]
    assert [figure.axes[1].label for figure in figures] == ["", "", "time (s)"]
    assert (panel._time.min, panel._time.max) == (12, 19)


def test_the_reading_has_the_sizes_themselves():
    panel = MachinePanel(make_vmstat([1500]), columns=("free", "available"))
    words = panel._draw(make_vmstat([1500])[0])
    assert "free <b>1,500.0 MiB</b>" in words
    assert "available <b>not known</b>" in words


def test_one_span_for_all_sizes_if_asked_for():
    samples = make_vmstat([500, 100], rss_bytes=[1, 2])
    for has_one_span in (False, True):
        panel = MachinePanel(samples, columns=("free", "RSS"), has_one_span=has_one_span)
        for sample in samples:
            panel._draw(sample)
        free, rss = (panel.lines[name].scales["y"] for name in ("free", "RSS"))
        assert (rss.max - rss.min == pytest.approx(free.max - free.min)) == has_one_span


def test_a_column_that_is_not_there_is_told_where_the_panel_is_made():
    with pytest.raises(LabError, match="there is no column used"):
        MachinePanel([], columns=("used",))


def test_a_mark_stands_at_the_next_sample_and_returns_it(given):
    panel = MachinePanel(given, columns=("free", "cache"))
    start(panel, given, 2)
    later = threading.Timer(0.1, given.give)
    later.start()
    before = panel.mark("leak starts")
    later.join()
    assert before.elapsed_s == 2
    assert before.free_bytes == 80 * MIB
    assert panel.marks == [(2.0, "leak starts")]
    assert [line.x.tolist() for line in panel.mark_lines.values()] == [[2, 2], [2, 2]]
    assert list(panel.mark_words.text) == ["leak starts"]
    given.give(2)
    await_samples(panel, 5)
    assert [one.elapsed_s for one in panel.since(before)] == [2, 3, 4]
    end(panel, given)


def test_a_sample_that_was_being_read_already_does_not_count(given, monkeypatch):
    monkeypatch.setattr(vmstat, "_READING_S", 0.3)
    panel = MachinePanel(given)
    start(panel, given)
    timers = [threading.Timer(after_s, given.give) for after_s in (0.1, 0.6)]
    for timer in timers:
        timer.start()
    assert panel.await_sample().elapsed_s == 2
    end(panel, given)


def test_without_samples_to_come_nobody_waits_for_ever(given):
    panel = MachinePanel(given, title="Strips")
    with pytest.raises(LabError, match="no sample comes: Strips; run the cell"):
        panel.mark("never started")
    start(panel, given)
    end(panel, given)
    with pytest.raises(LabError, match="no sample comes"):
        panel.mark("stopped")


def test_its_picture_has_the_marks_and_says_that_it_is_a_recording(outputs):
    panel = MachinePanel(
        make_vmstat([100, 90, 80], interval_s=0.02), columns=("free", "cache"), recorded_on="Monday"
    )
    panel.show()
    assert panel.wait(20)
    said = outputs[-1]["data"]["text/plain"]
    assert said.startswith("Recorded on Monday, not live. free starts at 100.0 MiB")
    assert "changes by -20.0" in said
    assert panel.view.layout.display == "none"


def test_starting_anew_forgets_samples_and_marks(given):
    panel = MachinePanel(given, columns=("free",))
    panel.marks.append((1.0, "earlier"))
    panel._draw(make_vmstat([5])[0])
    start(panel, given, 1)
    assert panel.marks == []
    assert [one.free_bytes for one in panel.samples] == [100 * MIB]
    assert list(panel.mark_words.text) == []
    end(panel, given)
    assert list(itertools.islice(panel.samples, 1))
