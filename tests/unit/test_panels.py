"""The panels without a browser: what their widgets hold after some records, and what they leave."""

import base64
import importlib
import itertools
import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from process_records import (
    HEAP,
    KIB,
    LIBC,
    MIB,
    PAGE,
    make_group,
    make_heap_map,
    make_pages,
    make_sizes,
    make_space,
)

from lablib import language
from lablib.errors import AppError, LabError, ProcessError
from lablib.panels import (
    AddressSpacePanel,
    AppControls,
    Button,
    GroupPanel,
    HeapMapPanel,
    SizesPanel,
    Slider,
    base,
)
from lablib.panels.address_space import UNKNOWN, AddressSpaceWidget, gather_cells
from lablib.panels.heap_map import HeapMapWidget
from lablib.panels.line_chart import LineChart
from lablib.panels.sources import MAX_SHARE, Pace
from lablib.records import GroupStep, ResidentPages

PNG = b"\x89PNG\r\n"
DEADLINE_S = 20


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


def await_that(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def count_threads(panel):
    return sum(thread.name == f"panel: {panel.title}" for thread in threading.enumerate())


def stream(records):
    """Records that come one by one, then none for ever, as from a process that does nothing."""
    never = threading.Event()

    def give():
        yield from records
        while not never.wait(0.01):
            yield records[-1]

    return give


# Sizes.


def test_sizes_panel_has_the_last_points_in_its_lines():
    panel = SizesPanel(make_sizes(20), points=8)
    for record in make_sizes(20):
        panel._draw(record)
    assert [line["name"] for line in panel.chart.lines] == ["VmSize", "RSS", "PSS"]
    times, sizes = zip(*panel.chart.read_line("RSS"), strict=True)
    assert np.allclose(times, np.arange(12, 20) * 0.1)
    assert sizes == (26, 28, 30, 32, 34, 36, 38, 40)
    assert [size for _, size in panel.chart.read_line("VmSize")] == [260] * 8


def test_a_size_that_is_not_known_has_no_point_and_its_last_number_is_in_words():
    records = make_sizes(4)
    panel = SizesPanel(records)
    panel._draw(records[0])
    for record in records[1:]:
        words = panel._draw(replace(record, pss_bytes=None))
    assert [len(panel.chart.read_line(name)) for name in ("RSS", "PSS")] == [4, 1]
    known = panel.chart.read_line("PSS")[0][1]
    assert f"PSS <b>{known:,.1f} MiB</b>" in words
    panel._clear()
    assert panel.chart.read_line("RSS") == []


def test_a_frame_of_sizes_is_one_message_of_a_few_kilobytes(monkeypatch):
    records = make_sizes(301)
    panel = SizesPanel(records)
    for record in records[:-1]:
        panel._draw(record)
    sent = []
    monkeypatch.setattr(LineChart, "send_state", lambda self, key=None: sent.append(key))
    panel._draw(records[-1])
    assert sent == ["points"]
    assert len(panel.chart.points) == 300 * 4 * 4


# How often.


def test_a_panel_that_costs_much_has_fewer_frames_and_says_so(outputs):
    def burn():
        done_s = time.thread_time() + 0.05
        while time.thread_time() < done_s:
            pass
        return make_sizes(1)[0]

    panel = SizesPanel(burn, interval_s=0.01)
    panel.show()
    await_that(lambda: base.SLOWED in panel.status.value)
    panel.stop()
    assert len(panel.samples) < 20


def test_the_pace_bounds_what_a_panel_costs_in_a_second():
    stopping = threading.Event()
    waits = []
    stopping.wait = waits.append  # nobody stops it
    pace = Pace(0.1, stopping)
    for _ in range(20):
        done_s = time.thread_time() + 0.01
        while time.thread_time() < done_s:
            pass
        pace.wait()
    assert pace.is_slowed
    assert waits[-1] > 0.01 / MAX_SHARE / 2
    for _ in range(40):
        pace.wait()
    assert not pace.is_slowed
    assert waits[-1] <= 0.1


def test_a_recording_runs_at_its_pace_says_so_and_ends(outputs):
    records = make_sizes(4, interval_s=0.05)
    panel = SizesPanel(records, recorded_on="2026-11-20, kernel 6.1")
    statuses = []
    panel.status.observe(lambda change: statuses.append(change["new"]), "value")
    began = time.monotonic()
    panel.show()
    assert panel.wait(DEADLINE_S)
    assert time.monotonic() - began >= 0.15
    assert "Recorded on 2026-11-20, kernel 6.1, not live." in statuses[0]
    assert "The recording is over, after 4 records." in panel.status.value
    assert "PSS" in panel.reading.value
    assert "7.0 MiB" in panel.reading.value


def test_records_at_hand_are_never_called_live():
    assert not SizesPanel(make_sizes(2)).is_live
    assert not AddressSpacePanel(make_space()).is_live
    assert not SizesPanel(stream(make_sizes(2)), recorded_on="Monday").is_live
    assert SizesPanel(stream(make_sizes(2))).is_live


def test_show_starts_it_and_stop_leaves_a_picture_in_the_same_output(outputs):
    panel = SizesPanel(stream(make_sizes(5)), interval_s=0.01)
    panel.show()
    await_that(lambda: "a second" in panel.status.value)
    assert re.search(r"Live, [\d.e+]+ a second\.", panel.status.value)
    assert panel.stop_button.disabled is False
    assert panel.start_button.disabled is True
    panel.stop()
    assert not panel.is_running
    shown, place, *later = outputs
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
    display_id = place["transient"]["display_id"]
    assert {message["transient"]["display_id"] for message in later} == {display_id}
    picture = later[-1]
    assert picture["update"]
    assert base64.b64decode(picture["data"]["image/png"]).startswith(PNG)
    assert 'alt="In ' in picture["data"]["text/html"]
    assert "VmSize goes from 4.0 to 260.0 MiB" in picture["data"]["text/html"]
    assert picture["metadata"]["image/png"]["alt"] == picture["data"]["text/plain"]
    assert panel.view.layout.display == "none"
    assert panel.start_button.disabled is False


def test_the_picture_is_there_too_when_the_source_ends_by_itself(outputs):
    panel = SizesPanel(lambda: iter(make_sizes(3)))
    panel.show()
    assert panel.wait(DEADLINE_S)
    assert "The source has ended, after 3 records." in panel.status.value
    assert "image/png" in outputs[-1]["data"]


def test_start_begins_anew_and_takes_the_picture_away(outputs):
    panel = SizesPanel(lambda: iter(make_sizes(3)))
    panel.show()
    panel.wait(DEADLINE_S)
    panel.start()
    panel.wait(DEADLINE_S)
    assert len(panel.samples) == 3
    emptied = [message for message in outputs[2:] if not message["data"]["text/html"]]
    assert emptied
    assert "image/png" in outputs[-1]["data"]


def test_there_is_one_thread_however_often_it_is_started(outputs):
    panel = SizesPanel(stream(make_sizes(2)), title="one thread")
    panel.show()
    for _ in range(5):
        panel.start()
        panel.start_button.click()
    assert count_threads(panel) == 1
    panel.stop_button.click()
    panel.stop()
    assert count_threads(panel) == 0


def test_running_the_cell_again_ends_the_panels_that_it_had(outputs, monkeypatch):
    shown = []

    def show(cell, run):
        monkeypatch.setattr(base, "name_running_cell", lambda: (cell, run))
        shown.append(SizesPanel(stream(make_sizes(2)), title=f"{cell}, {run}"))
        shown[-1].show()

    show("one cell", "run 1")
    show("one cell", "run 1")
    show("another cell", "run 2")
    assert [panel.is_running for panel in shown] == [True, True, True]
    show("one cell", "run 3")
    assert [panel.is_running for panel in shown] == [False, False, True, True]
    for panel in shown:
        panel.stop()


def test_the_end_of_the_kernel_ends_the_threads(outputs):
    panels = [SizesPanel(stream(make_sizes(2)), title=f"at the end {i}") for i in range(2)]
    for panel in panels:
        panel.show()
    base._end_all()
    assert not any(panel.is_running for panel in panels)


def test_a_block_shows_runs_and_stops_it(outputs):
    with SizesPanel(stream(make_sizes(2))) as panel:
        await_that(lambda: panel.samples)
    assert not panel.is_running
    assert "image/png" in outputs[-1]["data"]


def test_an_error_of_the_source_is_a_sentence_and_the_picture_is_left(outputs):
    def fail():
        yield from make_sizes(2)
        raise ProcessError("process 812 <b>is gone</b>", "start it again")

    panel = SizesPanel(fail)
    panel.show()
    assert panel.wait(DEADLINE_S)
    assert "process 812 &lt;b&gt;is gone&lt;/b&gt;; start it again" in panel.status.value
    assert "image/png" in outputs[-1]["data"]
    assert panel.start_button.disabled is False


def test_an_error_before_the_first_record_leaves_no_picture(outputs):
    def refuse():
        raise ProcessError("reading process 1 is not permitted", "run it as root")

    panel = SizesPanel(refuse)
    panel.show()
    panel.wait(DEADLINE_S)
    assert "not permitted; run it as root" in panel.status.value
    assert all("image/png" not in message["data"] for message in outputs)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_of_a_source_is_not_hidden(outputs):
    def fail():
        yield from make_sizes(2)
        raise ZeroDivisionError

    panel = SizesPanel(fail)
    panel.show()
    panel.wait(DEADLINE_S)
    assert "The panel has failed" in panel.status.value
    assert "image/png" in outputs[-1]["data"]


def test_stop_before_start_and_without_a_cell_does_no_harm():
    panel = SizesPanel(make_sizes(2))
    panel.stop()
    panel.start()
    panel.wait(DEADLINE_S)
    panel.stop()
    assert len(panel.samples) == 2


def test_a_page_without_widgets_has_words_in_their_place(outputs):
    panel = SizesPanel(make_sizes(1), title="Pages of <app>")
    panel.show(starts=False)
    assert outputs[0]["data"]["text/plain"].startswith("Pages of <app>")
    assert "Pages of &lt;app&gt;" in panel.box.children[0].value
    assert "Not started." in panel.status.value


# The address space.


def test_address_space_panel_tells_the_map_every_region_in_words():
    panel = AddressSpacePanel(make_space())
    words = panel._draw(make_space())
    regions = {region["start"]: region for region in panel.map.regions}
    assert len(regions) == 21
    heap = regions[HEAP]
    assert (heap["kind"], heap["size"], heap["resident"]) == ("heap", "132 KiB", "8 KiB")
    assert heap["share"] == round(8 / 132, 4)
    for said in ("malloc, by brk", "rw-p", "PSS 8 KiB", "[heap]", "Readable, writable, private"):
        assert said in heap["words"]
    assert "as its shape suggests" in next(
        region["words"] for region in regions.values() if region["kind"] == "arena"
    )
    assert "<b>25.4 MiB</b> resident" in words
    assert panel.map.span == 1 << 47


def test_what_has_not_changed_is_not_sent_again(monkeypatch):
    panel = AddressSpacePanel(make_space())
    sent = []
    panel._draw(make_space())
    monkeypatch.setattr(
        AddressSpaceWidget, "send_state", lambda self, key=None: sent.extend(key or ())
    )
    panel._draw(make_space())
    assert sent == []
    panel._draw(make_space(heap_rss=40 * KIB))
    assert sent == ["changes"]
    assert [region["start"] for region in panel.map.changes["new"]] == [HEAP]
    assert panel.map.changes["gone"] == []


def test_the_map_is_told_all_again_where_much_has_changed():
    panel = AddressSpacePanel(make_space())
    panel._draw(make_space())
    whole = make_space()
    few = replace(whole, segments=whole.segments[:3])
    panel._draw(few)
    assert [region["start"] for region in panel.map.regions] == [s.start for s in few.segments]
    assert panel.map.changes == {"new": [], "gone": []}
    panel._draw(replace(whole, segments=whole.segments[1:4]))
    assert len(panel.map.regions) == 3


def test_a_region_that_is_gone_or_back_as_it_was_is_told():
    panel = AddressSpacePanel(make_space())
    whole = make_space()
    panel._draw(whole)
    panel._draw(replace(whole, segments=whole.segments[1:]))
    assert panel.map.changes == {"new": [], "gone": [whole.segments[0].start]}
    assert len(panel.map.regions) == 21
    panel._draw(make_space())
    assert panel.map.changes == {"new": [], "gone": []}


def test_pages_are_read_only_where_the_view_is_small_enough():
    asked = []

    def read(start, end):
        asked.append((start, end))
        return make_pages(start, present=2, total=(end - start) // PAGE)

    panel = AddressSpacePanel(make_space(), read)
    panel._draw(make_space())
    assert not asked
    assert panel.map.pages == {}
    panel.zoom_to(HEAP + 5)
    assert panel.map.selected == HEAP
    assert asked == [(HEAP, HEAP + 132 * KIB)]
    cells = panel.map.pages["cells"]
    at_heap = (HEAP - panel.map.pages["start"]) // PAGE
    assert list(cells[at_heap : at_heap + 33]) == [100, 100] + [0] * 31
    assert set(cells[:at_heap]) <= {UNKNOWN}


def test_recorded_pages_are_marked_the_same_way():
    panel = AddressSpacePanel(make_space(), [make_pages(present=8)])
    panel._draw(make_space())
    panel.map.view = [HEAP, HEAP + 16 * PAGE]
    assert list(panel.map.pages["cells"]) == [100] * 8 + [0] * 8


def test_pages_that_cannot_be_read_any_more_are_not_marked():
    def refuse(start, end):
        raise ProcessError("process 812 has ended")

    panel = AddressSpacePanel(make_space(), refuse)
    panel._draw(make_space())
    panel.zoom_to(HEAP)
    assert panel.map.pages == {}


def test_segments_that_share_a_page_have_it_read_once():
    asked = []
    panel = AddressSpacePanel(
        make_space(), lambda s, e: asked.append((s, e)) or ResidentPages(s, PAGE, b"")
    )
    panel._draw(make_space())
    program = make_space().segments[0].start
    panel.map.view = [program, program + 16 * PAGE]
    assert asked == [(program, program + 6 * PAGE)]


def test_cells_stand_for_several_pages_where_there_are_many():
    pages = ResidentPages(LIBC, PAGE, bytes([1] * 1024 + [0] * 1024))
    marked = gather_cells([pages], LIBC, LIBC + 2048 * PAGE)
    assert marked["cell_bytes"] == 4 * PAGE
    assert list(marked["cells"]) == [100] * 256 + [0] * 256
    one = gather_cells([ResidentPages(LIBC, PAGE, bytes([0, 0, 1, 0] * 512))], LIBC, LIBC + 8 * MIB)
    assert set(one["cells"]) == {25}


def test_a_page_in_memory_is_seen_however_many_share_its_cell():
    pages = ResidentPages(LIBC, PAGE, bytes([1] + [0] * (512 * 256 - 1)))
    assert gather_cells([pages], LIBC, LIBC + 512 * 256 * PAGE)["cells"][0] == 1


def test_the_live_address_space_is_read_again_and_again(outputs):
    rss = itertools.count(1)
    panel = AddressSpacePanel(lambda: make_space(heap_rss=next(rss) * PAGE), interval_s=0.01)
    panel.show()
    await_that(lambda: next(rss) > 5)
    panel.stop()
    assert "Process 812 (app) has" in outputs[-1]["data"]["text/plain"]
    assert panel.view.layout.display != "none"


def test_the_scripts_fetch_nothing():
    for widget in (AddressSpaceWidget, HeapMapWidget, LineChart):
        for text in (str(widget._esm), str(widget._css)):
            assert "import " not in text
            assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
            assert "url(//" not in text


# The heap.


def test_heap_map_panel_packs_each_block():
    panel = HeapMapPanel(make_heap_map())
    words = panel._draw(make_heap_map())
    sizes = np.frombuffer(panel.map.sizes, np.uint32)
    assert len(sizes) == len(panel.map.states) == 58
    assert sizes.sum() == 132 * KIB
    assert (sizes[0], sizes[1]) == (0x290, 0x410)
    assert panel.map.state_names[panel.map.states[-1]] == "top"
    assert panel.map.first == HEAP
    assert panel.map.row_bytes == PAGE
    assert "<b>45.4 KiB</b> (49 blocks)" in words
    assert "49 blocks of 45.4 KiB used" in panel.map.words


def test_heap_map_panel_runs_on_a_recording_and_leaves_its_picture(outputs):
    panel = HeapMapPanel([make_heap_map(), make_heap_map()], interval_s=0.01)
    panel.show()
    assert panel.wait(DEADLINE_S)
    words = outputs[-1]["data"]["text/plain"]
    assert words.startswith("Recorded, not live. The heap has 132 KiB")


# Controls.


class FakeApp:
    def __init__(self):
        self.asked = []

    def ask(self, command, *values):
        if command == "break":
            raise AppError("the app <said> no", "ask for less")
        self.asked.append((command, *values))
        return {"pages": 6553, "address": HEAP} if values else {}


def test_controls_send_their_commands_and_show_the_answer():
    app = FakeApp()
    panel = AppControls(
        app,
        [
            Slider("touch", "touch", 0, 100, 0, unit="%"),
            Slider("read", "read_pages", 0, 10, 1, values=(4,)),
            Button("give back", "release"),
            Button("reserve", "reserve", (1 << 20,)),
        ],
    )
    touch, read, release, reserve = panel.controls
    assert touch.continuous_update is False
    assert touch.description == "touch (%)"
    touch.value = 25
    assert f"touch 25: pages 6,553, address {HEAP:#x}" in panel.answer.value
    read.value = 3
    release.click()
    assert "release: done" in panel.answer.value
    reserve.click()
    assert app.asked == [
        ("touch", 25),
        ("read_pages", 4, 3),
        ("release",),
        ("reserve", 1 << 20),
    ]


def test_buttons_are_side_by_side_and_a_slider_is_alone():
    one, other = Button("one", "release"), Button("other", "release")
    panel = AppControls(FakeApp(), [one, other, Slider("s", "touch", 0, 1, 0), one])
    first, slider, last, _ = panel.box.children
    assert list(first.children) == panel.controls[:2]
    assert slider is panel.controls[2]
    assert list(last.children) == panel.controls[3:]


def test_a_refused_command_is_a_sentence_and_the_controls_go_on():
    app = FakeApp()
    panel = AppControls(app, [Button("break", "break"), Button("give back", "release")])
    panel.controls[0].click()
    assert "break: the app &lt;said&gt; no; ask for less" in panel.answer.value
    panel.controls[1].click()
    assert app.asked == [("release",)]


def test_controls_and_buttons_say_what_they_do(outputs):
    panel = AppControls(FakeApp(), [Button("b", "release"), Slider("s", "touch", 0, 1, 0)])
    panel.show()
    sizes = SizesPanel(make_sizes(1))
    for widget in (*panel.controls, sizes.start_button, sizes.stop_button):
        assert widget.tooltip
        assert widget.description
        assert isinstance(widget, (ipywidgets.Button, ipywidgets.IntSlider))
    assert "application/vnd.jupyter.widget-view+json" in outputs[0]["data"]
    assert issubclass(AppError, LabError)


# A group and its limit.


def test_group_panel_has_what_the_group_holds_its_limit_and_the_waiting():
    panel = GroupPanel(make_group(25), points=20)
    for record in make_group(25):
        words = panel._draw(record)
    assert len(panel.lines["limit"].y) == 20
    assert set(panel.lines["limit"].y) == {64}
    assert list(panel.lines["anonymous"].y)[-1] == 64
    assert list(panel.lines["page cache"].y)[-1] == 0
    assert list(panel.lines["swap"].y)[-3:] == [24, 28, 32]
    assert list(panel.waiting["some"].y)[-1] == pytest.approx(50)
    assert len(panel.hits.x) == 13
    assert set(panel.hits.y) == {64}
    assert panel.sizes.max > 64
    assert "in swap <b>32.0 MiB</b>" in words
    assert "some waited <b>50 %</b>" in words
    assert "the limit was met <b>13 times</b>" in words
    assert (panel.times.min, panel.times.max) == (pytest.approx(1.0), pytest.approx(4.8))


def test_group_panel_says_how_long_the_room_lasts():
    panel = GroupPanel(make_group(25))
    words = [panel._draw(record) for record in make_group(25)]
    assert "room <b>96.0 MiB</b>" in words[0]
    assert "at this rate" not in words[0]
    assert "room <b>56.0 MiB</b>, for <b>2.8 s</b> at this rate" in words[10]


def test_group_panel_without_a_limit_or_pressure_says_so():
    panel = GroupPanel(make_group(3, limit=None, has_pressure=False))
    words = [panel._draw(record) for record in make_group(3, limit=None, has_pressure=False)]
    assert "waiting <b>not known</b>" in words[-1]
    assert "no limit" in words[-1]
    assert list(panel.lines["limit"].x) == []


def test_group_panel_leaves_a_picture_with_the_steps_that_were_taken_meanwhile(outputs):
    steps = []
    panel = GroupPanel(lambda: iter(make_group(30)), steps=steps)
    steps.append(GroupStep(0.5, 1.0, "eater grow 4"))
    panel.show()
    assert panel.wait(DEADLINE_S)
    assert "with 1 OOM kill" in outputs[-1]["data"]["text/plain"]
    figure, _ = panel._plot()
    assert figure.axes[0].texts[0].get_text() == "1"


def test_group_panel_begins_anew_without_the_old_points(outputs):
    panel = GroupPanel(lambda: iter(make_group(3)))
    panel.show()
    panel.wait(DEADLINE_S)
    panel.start()
    panel.wait(DEADLINE_S)
    assert len(panel.samples) == 3
    assert len(panel.lines["anonymous"].x) == 3


@pytest.mark.parametrize("name", ["address_space", "heap_map"])
def test_what_a_page_says_is_what_its_panel_has_translated(name, monkeypatch):
    module = importlib.import_module(f"lablib.panels.{name}")
    script = Path(module.__file__).with_suffix(".js").read_text()
    said = set(re.findall(r'\bsay\("([^"]+)"', script))
    assert said
    assert said <= set(module._TEXTS)
    assert all(f'"{text}"' in script for text in module._TEXTS)
    assert language.list_texts(module._TEXTS) == {}
    monkeypatch.setenv("LAB_LANG", "zh")
    assert set(language.list_texts(module._TEXTS)) == set(module._TEXTS)
