"""The flame graph of snapshots made by hand: every byte has its place, and the SVG is sound."""

import colorsys
import time
from xml.etree import ElementTree

import pytest

from lablib.flame import MAX_BOXES, ROW_PX, Box, draw_flame, lay_out_flame
from lablib.records import Frame, HeapSnapshot, StackUsage, TraceEvents

SVG = "{http://www.w3.org/2000/svg}"
MAIN = Frame("main", "app", 5, "app.c", 30)
GROW = Frame("grow", "app", 31, "app.c", 14)
KEEP = Frame("keep", "app", 9, "app.c", 7)


def make_usage(*frames, live=1000, blocks=10, is_cut=False):
    """A stack that holds `live` bytes in `blocks` blocks and has freed 500 in 5."""
    return StackUsage(frames, live + 500, blocks + 5, 500, 5, 1.0, is_cut)


def make_snapshot(*usages, missed=0):
    lost = {"map_full": missed} if missed else {}
    return HeapSnapshot(3.0, usages, TraceEvents(100, 50, 0, 0, lost))


def parse_boxes(svg):
    """The drawn boxes by their tooltip, each as its SVG element."""
    return {box.find(f"{SVG}title").text: box for box in ElementTree.fromstring(svg).iter() if
            box.tag == f"{SVG}svg" and box.get("data-at")}  # fmt: skip


def test_the_outermost_caller_stands_on_the_root_and_the_allocating_function_on_top():
    assert lay_out_flame([make_usage(GROW, MAIN)]) == (
        Box(0, 0, 1000, 10, "all"),
        Box(1, 0, 1000, 10, "main (app.c:30)", "app"),
        Box(2, 0, 1000, 10, "grow (app.c:14)", "app"),
    )


def test_callees_are_in_order_of_their_names_and_add_up_to_their_caller():
    usages = [make_usage(KEEP, MAIN, live=300), make_usage(GROW, MAIN, live=700)]
    _, main, grow, keep = lay_out_flame(usages)
    assert (grow.label, grow.start_bytes, grow.width_bytes) == ("grow (app.c:14)", 0, 700)
    assert (keep.label, keep.start_bytes, keep.width_bytes) == ("keep (app.c:7)", 700, 300)
    assert main.width_bytes == 1000


def test_what_a_function_allocates_itself_has_nothing_on_top():
    usages = [make_usage(MAIN, live=400), make_usage(GROW, MAIN, live=600)]
    _, main, grow = lay_out_flame(usages)
    assert (main.start_bytes, main.width_bytes) == (0, 1000)
    assert (grow.start_bytes, grow.width_bytes) == (400, 600)


def test_recursion_makes_a_tower_and_no_bytes():
    boxes = lay_out_flame([make_usage(GROW, GROW, GROW, MAIN)])
    assert [box.width_bytes for box in boxes] == [1000] * 5


def test_stacks_that_read_the_same_are_one_box():
    elsewhere = Frame("grow", "app", 99, "app.c", 14)
    assert lay_out_flame([make_usage(GROW), make_usage(elsewhere)])[1].blocks == 20


def test_functions_of_one_name_in_two_modules_are_two_boxes():
    other = Frame("grow", "plugin.so", 31, "app.c", 14)
    assert len(lay_out_flame([make_usage(GROW), make_usage(other)])) == 3


@pytest.mark.parametrize(
    ("usage", "labels"),
    [
        (make_usage(GROW, is_cut=True), ["(callers missing)", "grow (app.c:14)"]),
        (make_usage(), ["(no frame could be read)"]),
        (make_usage(is_cut=True), ["(callers missing)", "(no frame could be read)"]),
        (make_usage(Frame(None, "libz.so", 0x3F)), ["[unknown] (libz.so+0x3f)"]),
        (make_usage(Frame("qsort", "libc.so.6", 4)), ["qsort (libc.so.6)"]),
        (make_usage(Frame("put", "app", 4, "a.c", 2, True)), ["put (a.c:2, inlined)"]),
    ],
)
def test_what_is_not_known_is_said(usage, labels):
    assert [box.label for box in lay_out_flame([usage])] == ["all", *labels]


def test_what_was_freed_is_not_drawn_but_empty_live_blocks_are_counted():
    root, *boxes = lay_out_flame([make_usage(GROW, live=0, blocks=0), make_usage(KEEP, live=0)])
    assert root == Box(0, 0, 0, 10, "all")
    assert [box.label for box in boxes] == ["keep (app.c:7)"]


def test_a_tooltip_names_the_function_its_line_bytes_blocks_and_share():
    snapshot = make_snapshot(
        make_usage(GROW, MAIN, live=12345), make_usage(KEEP, MAIN, live=14727, blocks=1)
    )
    boxes = parse_boxes(draw_flame(snapshot, "Heap"))
    assert "grow (app.c:14): 12,345 bytes in 10 blocks, 45.6 %" in boxes
    assert "all: 27,072 bytes in 11 blocks, 100.0 %" in boxes
    keep = boxes["keep (app.c:7): 14,727 bytes in 1 block, 54.4 %"]
    assert keep.get("data-at") == "2 12345 14727"


def test_callers_are_drawn_beneath_and_rows_do_not_overlap():
    boxes = parse_boxes(draw_flame(make_snapshot(make_usage(GROW, MAIN)), "Heap")).values()
    tops = [int(box.get("y")) for box in boxes]
    assert tops == [tops[0], tops[0] - ROW_PX, tops[0] - 2 * ROW_PX]
    assert all(float(box.get("x")) + float(box.get("width")) <= 1200 for box in boxes)


def test_a_label_is_cut_to_its_box():
    long = Frame("a" * 300, "app", 1)
    boxes = [*parse_boxes(draw_flame(make_snapshot(make_usage(long)), "Heap")).values()]
    text = boxes[1].find(f"{SVG}text").text
    assert text.endswith("a…")
    assert len(text) * 7.2 < 1188


def test_names_that_would_break_a_page_are_harmless():
    nasty = Frame('operator<<(A&)"\x1b\x00\udcff]]></script>', "app", 1)
    svg = draw_flame(make_snapshot(make_usage(nasty)), "a < b & \x07")
    root = ElementTree.fromstring(svg.encode("utf-8"))
    assert root.find(f"{SVG}title").text == "a < b & \ufffd"
    label = 'operator<<(A&)"\ufffd\ufffd\ufffd]]></script> (app)'
    assert f"{label}: 1,000 bytes in 10 blocks, 100.0 %" in parse_boxes(svg)


def test_the_figure_needs_nothing_from_outside():
    svg = draw_flame(make_snapshot(make_usage(GROW, MAIN)), "Heap")
    assert svg.count("http") == svg.count("http://www.w3.org/2000/svg") == 1
    assert "href" not in svg
    assert "@import" not in svg


def test_the_figure_is_described_in_words():
    svg = draw_flame(make_snapshot(make_usage(GROW, MAIN), make_usage(KEEP, live=7)), "Heap of app")
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert [part.tag for part in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert "1,007 bytes in 20 blocks live after 3.0 s." in root[1].text
    assert "Most is of grow (app.c:14), 1,000 bytes; keep (app.c:7), 7 bytes." in root[1].text
    assert "Not drawn" not in root[1].text


def test_boxes_too_narrow_to_see_are_left_out_and_counted():
    tiny = [make_usage(Frame(f"tiny{n}", "app", 0), MAIN, live=1) for n in range(3)]
    svg = draw_flame(make_snapshot(make_usage(GROW, live=20_000), *tiny), "Heap")
    assert "tiny" not in "".join(parse_boxes(svg))
    assert "too narrow: 3 boxes and what stands on them" in svg
    assert "the narrowest that is drawn has 3 bytes" in svg


def test_missed_events_are_shown():
    assert "NOT COMPLETE: 7 events missed." in draw_flame(
        make_snapshot(make_usage(GROW), missed=7), "Heap"
    )
    assert "NOT COMPLETE" not in draw_flame(make_snapshot(make_usage(GROW)), "Heap")


@pytest.mark.parametrize("usages", [(), (make_usage(GROW, live=0),)])
def test_a_heap_without_live_bytes_says_so(usages):
    root = ElementTree.fromstring(draw_flame(make_snapshot(*usages), "Heap"))
    shown = " ".join(filter(None, (text.text for text in root.iter(f"{SVG}text"))))
    assert "No bytes are live" in shown
    assert root.find(f"{SVG}script") is None


def read_luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_dark_text_can_be_read_on_every_fill():
    frames = [Frame(f"f{n}", f"lib{n % 97}.so", 0) for n in range(1000)]
    svg = draw_flame(make_snapshot(*(make_usage(frame) for frame in frames)), "Heap")
    fills = {rect.get("fill") for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect")} - {None}
    assert len(fills) > 500
    text = read_luminance("#111111")
    assert min((read_luminance(fill) + 0.05) / (text + 0.05) for fill in fills) >= 4.5


def test_a_module_keeps_to_its_part_of_the_colour_circle_in_every_figure():
    def read_hues(snapshot):
        rects = ElementTree.fromstring(draw_flame(snapshot, "Heap")).iter(f"{SVG}rect")
        fills = [rect.get("fill") for rect in rects][2:]
        parts = [[int(fill[at : at + 2], 16) / 255 for at in (1, 3, 5)] for fill in fills]
        return fills, [colorsys.rgb_to_hls(*part)[0] for part in parts]

    fills, hues = read_hues(
        make_snapshot(*(make_usage(Frame(f"f{n}", "app", 0)) for n in range(9)))
    )
    assert len(set(fills)) > 1
    assert max((hue - hues[0] + 0.5) % 1 for hue in hues) < 0.68
    assert read_hues(make_snapshot(make_usage(Frame("f0", "app", 0))))[0] == fills[:1]


def test_many_deep_stacks_are_drawn_fast_and_small():
    frames = [[Frame(f"f{n}_{depth}", "app", 0) for depth in range(64)] for n in range(10_000)]
    snapshot = make_snapshot(*(make_usage(*stack, live=100 + n) for n, stack in enumerate(frames)))
    started = time.process_time()
    svg = draw_flame(snapshot, "Heap")
    assert time.process_time() - started < 2  # 0.4 s where it was measured
    assert len(svg) < 6_000_000
    assert svg.count("data-at") == MAX_BOXES
    assert "Not drawn" in svg
