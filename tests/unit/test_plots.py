"""The figures that stay: what is drawn of records made by hand, and the words beside it."""

import dataclasses

import pytest
from matplotlib.patches import Rectangle
from process_records import (
    HEAP,
    KIB,
    MIB,
    PAGE,
    make_faults,
    make_group,
    make_heap_map,
    make_pages,
    make_sizes,
    make_space,
    make_vmstat,
)

from lablib.errors import LabError
from lablib.plots import (
    plot_address_space,
    plot_faults,
    plot_group,
    plot_heap_map,
    plot_heap_use,
    plot_resident_pages,
    plot_sizes,
    plot_vmstat,
)
from lablib.plots.group import find_kills
from lablib.plots.machine import choose_limits, read_strips
from lablib.plots.parts import spread_out
from lablib.plots.regions import find_span, measure_resident
from lablib.records import Chunk, GroupStep, HeapMap, HeapUse, ResidentPages
from lablib.wording import format_size


def texts_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def patches_named(figure, gid):
    found = figure.findobj(lambda artist: artist.get_gid() == gid)
    return [patch for patch in found if isinstance(patch, Rectangle)]


def test_sizes_have_a_line_each_in_mib_and_their_names_at_the_end():
    figure, words = plot_sizes(make_sizes(20))
    (axes,) = figure.axes
    assert {line.get_label(): line.get_ydata()[-1] for line in axes.lines} == {
        "VmSize": 260,
        "RSS": 40,
        "PSS": 39,
    }
    assert texts_of(figure) == ["VmSize 260.0 MiB", "RSS 40.0 MiB", "PSS 39.0 MiB"]
    assert axes.get_ylabel() == "size (MiB)"
    assert axes.get_ylim()[0] == 0
    assert "In 1.9 s VmSize goes from 4.0 to 260.0 MiB" in words


def test_names_at_the_end_are_in_the_order_of_the_lines_and_apart():
    figure, _ = plot_sizes([dataclasses.replace(s, pss_bytes=s.rss_bytes) for s in make_sizes()])
    (axes,) = figure.axes
    heights = [axes.transData.transform((0, text.xy[1]))[1] for text in axes.texts]
    assert heights[0] > heights[1]
    assert abs(heights[1] - heights[2]) >= 12


def test_a_size_that_is_not_known_has_no_line_and_is_said():
    figure, words = plot_sizes([dataclasses.replace(s, pss_bytes=None) for s in make_sizes()])
    assert [line.get_label() for line in figure.axes[0].lines] == ["VmSize", "RSS"]
    assert "PSS could not be read" in words


def test_no_sample_is_said_too():
    assert plot_sizes([])[1] == "No sample was taken."


def test_address_space_has_a_row_for_each_region_from_high_addresses_to_low():
    figure, words = plot_address_space(make_space())
    strip, labels, rows = figure.axes
    names = [text.get_text() for text in labels.texts if not text.get_text().startswith("0x")]
    assert names[0] == "vdso: code of the kernel"
    assert names[-2:] == ["program: code", "program: constants"]
    assert names.index("stack") < names.index("library libc.so.6 (4 parts)") < names.index("heap")
    assert len(patches_named(figure, "region")) == len(names) == 17
    assert strip.get_ylim() == (0, 1 << 47)
    assert rows.get_xscale() == "log"
    assert "138.4 MiB mapped of 128 TiB, 25.4 MiB of it resident, in 22 regions" in words


def test_address_space_writes_what_is_empty_and_how_much_is_resident():
    figure, words = plot_address_space(make_space())
    written = texts_of(figure)
    assert "41.6 TiB not mapped" in written
    assert "132 KiB, 8 KiB resident" in written
    assert "64 MiB, 24 MiB resident" in written
    assert "63.9 MiB, none resident" in written
    assert "heap 132 KiB (8 KiB resident)" in words
    assert words.index("program: code") < words.index("heap") < words.index("stack 132 KiB")


def test_bars_are_filled_as_far_as_they_are_resident():
    figure, _ = plot_address_space(make_space(heap_bytes=40 * MIB, heap_rss=10 * MIB))
    ends = {round(patch.get_x() + patch.get_width()) for patch in patches_named(figure, "region")}
    filled = {
        round(patch.get_x() + patch.get_width()) for patch in patches_named(figure, "resident")
    }
    assert 40 * MIB in ends
    assert 10 * MIB in filled
    assert 40 * MIB not in filled


def test_a_bar_that_is_too_short_for_the_scale_is_filled_if_it_is_resident():
    figure, _ = plot_address_space(make_space())
    drawn, filled = (
        [patch.get_width() for patch in patches_named(figure, gid)]
        for gid in ("region", "resident")
    )
    assert min(filled) == min(drawn)


def test_pages_tell_a_regions_resident_bytes_better_than_its_mapping():
    heap = make_space().of_kind("heap")[0]
    assert measure_resident(heap) == (8 * KIB, True)
    assert measure_resident(heap, [make_pages(present=5)]) == (20 * KIB, True)
    elsewhere = make_pages(start=HEAP + PAGE)
    assert measure_resident(heap, [elsewhere]) == (8 * KIB, True)


def test_a_part_of_a_mapping_has_an_upper_bound_only():
    data, bss = make_space().of_kind("data")[0], make_space().of_kind("bss")[0]
    assert measure_resident(bss) == (PAGE, False)
    assert measure_resident(data) == (data.size_bytes, False)
    one_of_two = ResidentPages(data.vma.start, PAGE, bytes([0, 1]))
    assert measure_resident(data, [one_of_two]) == (0, True)
    assert measure_resident(bss, [one_of_two]) == (PAGE, True)
    figure, _ = plot_address_space(make_space())
    assert "7.9 KiB, up to 4 KiB resident" in texts_of(figure)


def test_many_libraries_share_a_row_so_that_the_figure_stays_readable():
    space = make_space()
    library = space.of_kind("library")[0]
    many = [
        dataclasses.replace(
            library,
            start=0x7000_0000_0000 + i * 0x1000,
            end=0x7000_0000_0000 + (i + 1) * 0x1000,
            name=f"lib{i}.so",
        )
        for i in range(60)
    ]
    segments = tuple(sorted((*space.segments, *many), key=lambda segment: segment.start))
    figure, _ = plot_address_space(dataclasses.replace(space, segments=segments))
    assert "libraries and files (60 parts)" in texts_of(figure)
    assert figure.get_size_inches()[1] < 9


def test_the_span_grows_with_the_machines_addresses():
    space = make_space()
    assert find_span(space) == 1 << 47
    high = dataclasses.replace(space.of_kind("stack")[0], start=1 << 47, end=(1 << 47) + PAGE)
    assert find_span(dataclasses.replace(space, segments=(high,))) == 1 << 48


def test_heap_map_draws_every_block_and_its_key_adds_them_up():
    heap_map = make_heap_map()
    figure, words = plot_heap_map(heap_map)
    (axes,) = figure.axes
    drawn = sum(
        path.vertices[:, 0].max() - path.vertices[:, 0].min()
        for bars in axes.collections
        for path in bars.get_paths()
    )
    assert drawn == 132 * KIB
    assert axes.get_xlim() == (0, PAGE)
    assert axes.get_ylim() == (33, 0)
    key = [text.get_text() for text in axes.get_legend().get_texts()]
    assert key == [
        "used: 45.4 KiB",
        "freed, cached: 2.1 KiB",
        "free: 2.1 KiB",
        "top: 82.5 KiB",
    ]
    assert "49 blocks of 45.4 KiB used; 4 blocks of 2.1 KiB freed, cached" in words


def test_a_line_of_a_large_heap_stands_for_several_pages():
    end = HEAP + 100 * MIB
    figure, _ = plot_heap_map(HeapMap.of(HEAP, end, [Chunk(HEAP, 100 * MIB, "used")]))
    (axes,) = figure.axes
    assert axes.get_xlim()[1] == 4 * MIB
    assert axes.get_ylim()[0] <= 40


def test_resident_pages_have_a_cell_each_that_says_what_it_is():
    figure, words = plot_resident_pages(make_pages(present=8, total=33))
    (axes,) = figure.axes
    cells = {bars.get_gid(): len(bars.get_paths()) for bars in axes.collections}
    assert cells == {"private": 7, "file": 1, "absent": 24, "swapped": 1}
    assert "32 KiB is in memory: 7 in memory, anonymous, 1 in memory, of a file or shared" in words


def test_many_pages_share_cells():
    pages = ResidentPages(HEAP, PAGE, bytes([1] * 8192 + [0] * 8192))
    figure, words = plot_resident_pages(pages)
    (axes,) = figure.axes
    cells = {bars.get_gid(): len(bars.get_paths()) for bars in axes.collections}
    assert cells == {"private": 2048, "absent": 2048}
    assert "cell of 4 pages" in axes.get_xlabel()
    assert "8,192 in memory, anonymous" in words


def test_faults_are_marked_where_and_when_they_came_by_sort():
    figure, words = plot_faults(make_faults(), HEAP, HEAP + 33 * PAGE)
    (axes,) = figure.axes
    marks = {
        line.get_marker(): list(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for line in axes.lines
    }
    assert len(marks["o"]) == 10
    assert marks["s"] == [(1.5, 12), (1.5, 13)]
    assert marks["X"] == [(2.0, 2)]
    assert words == (
        f"15 page faults on 12 pages from {HEAP:#x} on: 10 by write, 2 by read,"
        " 3 on a page that was there; 2 of them in a system call."
    )


def test_faults_outside_the_range_are_left_out():
    figure, words = plot_faults(make_faults(), HEAP + PAGE * 12, HEAP + PAGE * 13)
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [1]
    assert words.startswith("1 page fault on 1 page")
    assert plot_faults([])[1] == "No page fault was seen there."


def test_labels_are_spread_no_further_than_they_must():
    assert spread_out([1, 50, 90], 10) == [1, 50, 90]
    low, high = spread_out([50, 52], 10)
    assert (low, high) == (46, 56)
    assert [round(at) for at in spread_out([0, 0, 0], 10)] == [-10, 0, 10]


def test_sizes_are_worded_in_the_unit_that_fits():
    assert format_size(1) == "1 byte"
    assert format_size(1023) == "1,023 bytes"
    assert format_size(132 * KIB) == "132 KiB"
    assert format_size(MIB - 1) == "1 MiB"
    assert format_size(1 << 47) == "128 TiB"
    assert format_size(int(1.9 * MIB)) == "1.9 MiB"


def test_heap_use_has_a_chart_for_each_situation_on_one_scale():
    used = (HeapUse("allocate 2 9", MIB, 2 * MIB), HeapUse("free_all", 0, 2 * MIB))
    given_back = (HeapUse("allocate 2 9", MIB, 4 * MIB), HeapUse("free_all", 0, 0))
    figure, description = plot_heap_use({"Kept": used, "Given back": given_back})
    kept, other = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["Kept", "Given back"]
    assert [list(line.get_ydata()) for line in kept.get_lines()] == [[1, 0], [2, 2]]
    assert [label.get_text() for label in kept.get_xticklabels()] == ["allocate", "free"]
    assert kept.get_ylim() == other.get_ylim()
    assert len({line.get_linestyle() for line in kept.get_lines()}) == 2
    assert description == (
        "Kept: after 2 steps 0.0 MiB are live and RSS has grown by 2.0 MiB; RSS does not fall on"
        " the way. Given back: after 2 steps 0.0 MiB are live and RSS has grown by 0.0 MiB; RSS"
        " falls on the way."
    )


# The machine.


def test_strips_show_changes_of_sizes_and_rates_as_they_are():
    samples = make_vmstat([1000, 990, 900], cache_bytes=[50, 60, 150])
    samples = [dataclasses.replace(one, swap_out_bytes_per_s=3 * MIB) for one in samples]
    free, cache, so = read_strips(samples, ("free", "cache", "so"))
    assert (free.values, free.start_mib, free.unit) == ((0, -10, -100), 1000, "MiB")
    assert (cache.values, cache.last_mib) == ((0, 10, 100), 150)
    assert (so.times_s, so.values, so.unit) == ((1, 2), (3, 3), "MiB / s")


def test_a_column_that_vmstat_has_not_is_refused_with_the_ones_it_has():
    with pytest.raises(LabError, match="no column used; choose from: free, buff"):
        read_strips([], ("free", "used"))


def test_what_a_sample_does_not_know_is_left_out():
    figure, words = plot_vmstat(make_vmstat([10, 9, 8]), columns=("free", "available", "RSS"))
    assert [len(axes.lines[0].get_xdata()) for axes in figure.axes] == [3, 0, 0]
    assert words == (
        "free starts at 10.0 MiB and changes by -2.0; available was not measured;"
        " RSS was not measured."
    )


def test_with_one_span_equal_changes_look_equal_and_without_it_small_ones_are_seen():
    strips = read_strips(
        make_vmstat([900, 600, 500], cache_bytes=[0, 300, 400], rss_bytes=[7, 8, 12]),
        ("free", "cache", "RSS", "so"),
    )
    spans = {name: high - low for name, (low, high) in choose_limits(strips, True).items()}
    assert spans["free"] == pytest.approx(500) == spans["cache"] == spans["RSS"]
    assert spans["so"] < 2
    own = {name: high - low for name, (low, high) in choose_limits(strips).items()}
    assert own["RSS"] == pytest.approx(10)
    for strip in strips[:3]:
        low, high = choose_limits(strips, True)[strip.name]
        assert low < min(strip.values)
        assert max(strip.values) < high


def test_a_change_of_some_pages_is_not_blown_up():
    strips = read_strips(make_vmstat([100, 100.01]), ("free",))
    low, high = choose_limits(strips)["free"]
    assert high - low == pytest.approx(2)


def test_marks_stand_across_all_strips_with_their_words_on_the_first():
    marks = [(1.0, "leak starts"), (1.1, "again")]
    figure, words = plot_vmstat(
        make_vmstat([9, 8, 7, 6]), "Falling", ("free", "cache"), marks, has_one_span=True
    )
    first, second = figure.axes
    for axes in (first, second):
        assert [line.get_xdata()[0] for line in axes.lines if line.get_gid() == "mark"] == [1, 1.1]
    named = {text.get_text(): text for text in first.texts}
    assert named["leak starts"].get_position() != named["again"].get_position()
    assert not {"leak starts", "again"} & {text.get_text() for text in second.texts}
    assert second.get_xlabel() == "time (s)"
    assert first.get_ylabel() == "free\n(MiB)"
    assert words.endswith("Marked: leak starts at 1 s, again at 1 s.")


def test_a_group_has_its_sizes_under_its_limit_and_its_waiting_below():
    figure, words = plot_group(make_group(25))
    above, below = figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in above.lines}
    assert lines["limit"] == [64] * 25
    assert lines["anonymous, in RAM"][-1] == 64
    assert lines["page cache"][0] == 20
    assert lines["page cache"][-1] == 0
    assert lines["in swap"][-1] == 32
    hits = next(line for line in above.lines if line.get_label() == "the limit was met")
    assert min(hits.get_xdata()) > 2.2  # 20 MiB of a file and 44 taken
    assert [line.get_label() for line in below.lines] == ["some waited", "all waited"]
    assert list(below.lines[0].get_ydata())[-1] == pytest.approx(50)
    assert "in swap goes from 0 to 32 MiB" in words
    assert "the limit was met 13 times, with no OOM kill" in words
    assert "some process waited for memory for 17 % of the time, all of them for 17 %" in words


def test_an_oom_kill_is_a_line_with_its_name_and_steps_have_their_numbers():
    samples = make_group(30)
    steps = [GroupStep(at, 1.0, "eater grow 4") for at in (0.0, 0.05, 4.0)]
    figure, words = plot_group(samples, "A kill", steps)
    assert find_kills(samples) == [samples[25].elapsed_s]
    assert texts_of(figure) == ["1,2", "3", "OOM kill"]
    assert "with 1 OOM kill;" in words


def test_pressure_that_is_not_measured_is_said():
    figure, words = plot_group(make_group(10, has_pressure=False))
    assert "not measured by this kernel" in texts_of(figure)
    assert "how long processes waited is not measured" in words


def test_no_sample_of_a_group_is_said():
    assert plot_group([])[1] == "No sample was taken."
