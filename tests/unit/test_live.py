"""The live view of traces made by hand, on terminals of several sizes and on none."""

import io

import pytest
from rich.console import Console

from lablib.live import draw_sparkline, render_live, watch_live
from lablib.records import (
    Frame,
    HeapSnapshot,
    HeapTrace,
    ProcessResources,
    StackUsage,
    Target,
    TraceEvents,
)

GROW = (Frame("grow", "app", 31, "app.c", 14), Frame("work", "app", 3), Frame("main", "app", 5))
KEEP = (Frame(None, "libz.so", 0x3F),)
RESOURCES = ProcessResources(9 << 20, 1 << 20, 2 << 20, 0, 0, threads=1)
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def make_snapshot(second, missed=0, is_running=True, extra_stacks=0):
    """At `second`: `grow` holds that many blocks of 1,000 bytes, a nameless caller one of 64."""
    stacks = [
        StackUsage(KEEP, 64, 1, 0, 0),
        StackUsage(GROW, 1500 * second, 3 * second, 500 * second, 2 * second),
    ]
    stacks += [StackUsage((Frame(f"f{n}", "app", 0),), 9, 1, 0, 0) for n in range(extra_stacks)]
    lost = {"map_full": missed} if missed else {}
    events = TraceEvents(3 * second + 1, 2 * second, 0, 0, lost)
    return HeapSnapshot(float(second), tuple(stacks), events, RESOURCES, is_running)


def make_trace(*snapshots):
    return HeapTrace("ebpf", "6.1", Target(812, "./app --size [9]"), snapshots)


def print_view(trace, width=80, height=24, hint=""):
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    console.print(render_live(trace, width, height, hint))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


class Terminal:
    """A console on a terminal of 80 by 24 that remembers what was written, and a clock by hand."""

    def __init__(self, is_terminal=True, term="xterm"):
        self.written = io.StringIO()
        self.now_s = 100.0
        self.console = Console(
            file=self.written, force_terminal=is_terminal, width=80, height=24, markup=False,
            highlight=False, _environ={"TERM": term},
        )  # fmt: skip

    def watch(self, hint=""):
        return watch_live(self.console, hint, lambda: self.now_s)

    def text(self):
        return self.written.getvalue()


def test_the_view_shows_what_is_live_how_it_changed_and_who_holds_it():
    assert print_view(make_trace(make_snapshot(1), make_snapshot(3)), hint="Ctrl-C to stop") == [
        "process 812, 3.0 s, source ebpf: ./app --size [9]",
        "3,064 bytes in 4 blocks live, RSS 3.0 MiB, 3 allocations/s",
        "▃█ 0 to 3,064 bytes",
        "live bytes  change  blocks  freed  allocated by",
        "     3,000  +2,000       3      6  grow (app.c:14) < work < main",
        "        64       0       1      0  libz.so+0x3f (no symbols)",
        "Ctrl-C to stop",
    ]


def test_the_first_snapshot_is_compared_with_the_empty_heap():
    lines = print_view(make_trace(make_snapshot(2)))
    assert lines[1].endswith("4 allocations/s")
    assert lines[4].split()[:2] == ["2,000", "+2,000"]


def test_a_stack_that_shrinks_has_a_minus():
    lines = print_view(make_trace(make_snapshot(5), make_snapshot(2)))
    assert lines[4].split()[:2] == ["2,000", "-3,000"]


def test_nothing_is_invented_before_the_first_snapshot():
    lines = print_view(make_trace())
    assert lines[1] == "0 bytes in 0 blocks live, no RSS, no rate yet"
    assert lines[-1] == "No block is live."


def test_stacks_that_hold_nothing_are_not_listed():
    freed = StackUsage(KEEP, 64, 1, 64, 1)
    trace = make_trace(HeapSnapshot(1.0, (freed,), TraceEvents(1, 1, 0)))
    assert print_view(trace)[-1] == "No block is live."


def test_missed_events_stand_in_bold():
    console = Console(width=80, file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    console.print(render_live(make_trace(make_snapshot(1, missed=7))))
    assert "\x1b[1mNOT COMPLETE, 7 events missed: 7 map_full\x1b[0m" in console.file.getvalue()


def test_the_end_of_the_process_is_said():
    assert "the process has ended" in print_view(make_trace(make_snapshot(1, is_running=False)))[1]


@pytest.mark.parametrize("height", [8, 12, 24, 50])
@pytest.mark.parametrize("width", [50, 80, 200])
def test_the_view_fits_the_terminal(width, height):
    trace = make_trace(make_snapshot(1), make_snapshot(20, missed=1, extra_stacks=100))
    lines = print_view(trace, width, height, "Ctrl-C to stop and judge")
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    shown = height - 7
    assert lines[-2] == f"... and {102 - shown} more stacks with live blocks"
    assert lines[-1] == "Ctrl-C to stop and judge"


def test_names_of_a_stranger_cannot_steer_the_terminal():
    usage = StackUsage((Frame("evil\x1b[2J\n[red]", "app", 0),), 9, 1, 0, 0)
    snapshot = HeapSnapshot(1.0, (usage,), TraceEvents(1, 0, 0))
    trace = HeapTrace("ebpf", "6.1", Target(1, "a\nb\x1b]0;c\udcff"), (snapshot,))
    lines = print_view(trace)
    assert lines[0].endswith(": a\ufffdb\ufffd]0;c\ufffd")
    assert lines[-1].endswith("evil\ufffd[2J\ufffd[red]")


@pytest.mark.parametrize(
    ("values", "columns", "bars"),
    [
        ([], 8, ""),
        ([0, 0], 8, "▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([5, 5, 5], 8, "███"),
        ([0, 7, 0, 0, 0, 0], 3, "█▁▁"),
        ([0, 0, 0, 0, 7], 2, "▁█"),
        ([-7, 7], 8, "▁█"),
    ],
)
def test_a_sparkline_runs_from_zero_to_the_largest_and_loses_no_peak(values, columns, bars):
    assert draw_sparkline(values, columns) == bars


def test_a_sparkline_is_never_wider_than_its_room():
    assert {len(draw_sparkline(range(n), 60)) for n in range(60, 300)} == {60}


def test_a_terminal_is_redrawn_at_most_four_times_a_second():
    terminal = Terminal()
    drawn = []
    with terminal.watch() as show:
        for second in range(1, 11):
            length = len(terminal.text())
            show(make_trace(*(make_snapshot(n) for n in range(1, second + 1))))
            drawn.append(len(terminal.text()) > length)
            terminal.now_s += 0.125
    assert drawn == [True, False] * 5
    assert "9,064 bytes in 10 blocks live" in terminal.text()
    assert "▃" in terminal.text()


@pytest.mark.parametrize("failure", [None, KeyboardInterrupt, ValueError])
def test_the_terminal_is_clean_at_the_end_whatever_happens(failure):
    terminal = Terminal()
    trace = make_trace(make_snapshot(1))

    def run():
        with terminal.watch("Ctrl-C to stop") as show:
            show(trace)
            if failure:
                raise failure

    if failure:
        with pytest.raises(failure):
            run()
    else:
        run()
    text = terminal.text()
    view = text[text.index("process") : text.index("Ctrl-C to stop")]
    assert text.startswith(HIDE_CURSOR)
    wiped_out = "\r" + "\x1b[1A\x1b[2K" * (view.count("\n") + 1)
    assert text.endswith(SHOW_CURSOR + wiped_out)


@pytest.mark.parametrize("terminal", [Terminal(is_terminal=False), Terminal(term="dumb")])
def test_elsewhere_a_line_is_printed_every_five_seconds(terminal):
    with terminal.watch("Ctrl-C to stop") as show:
        for second in range(1, 13):
            terminal.now_s += 1
            show(make_trace(make_snapshot(second, missed=second // 10)))
    assert terminal.text().splitlines() == [
        "process 812: 5.0 s, 5,064 bytes in 6 blocks live",
        "process 812: 10.0 s, 10,064 bytes in 11 blocks live, 1 event MISSED",
    ]
