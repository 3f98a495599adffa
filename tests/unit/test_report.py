"""The page and the document of a trace with its verdict, on heaps made by hand."""

import io
import json
from dataclasses import replace

from rich.console import Console
from simulated_heap import RESOURCES, blocks, every, make_heap_trace, site

from lablib.analysis import judge_trace
from lablib.report import MAX_STACKS_SHOWN, describe_trace, render_trace


def print_page(trace, width=100):
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    console.print(render_trace(trace, judge_trace(trace)))
    return console.file.getvalue()


def hold(number):
    """A table that is larger than any leak."""
    return blocks([0.1], size=1 << 20, frames=site(f"table_{number}"))


def test_what_leaks_stands_first_however_small():
    leak = blocks(every(1, 10), lost_after_s=0.1, size=16)
    page = print_page(make_heap_trace([*map(hold, range(2 * MAX_STACKS_SHOWN)), leak]))
    rows = [line for line in page.splitlines() if "app.c:14" in line]
    assert rows[0].split()[:5] == ["160", "10", "0", "10", "leaking"]
    assert "16 bytes/s" in page
    assert "more stacks" in page


def test_lost_blocks_are_counted_where_somebody_looked():
    leak = blocks(every(0.5, 10), lost_after_s=0.1)
    row = next(x for x in print_page(make_heap_trace([leak])).splitlines() if "app.c:14" in x)
    assert row.split()[3] == "20"
    unseen = print_page(make_heap_trace([leak], is_scanned=False))
    row = next(line for line in unseen.splitlines() if "app.c:14" in line)
    assert row.split()[3] == "?"


def test_what_else_leaks_or_grows_is_said_below_the_verdict():
    trace = make_heap_trace(
        [
            blocks(every(0.1, 10), lost_after_s=0.1),
            blocks(every(0.1, 10), size=50, frames=site("remember")),
        ],
        resources=lambda second, live: replace(RESOURCES, open_files=int(4 + 3 * second)),
    )
    lines = print_page(trace, width=400).splitlines()
    assert lines[-3].startswith("grow (app.c:14) leaks")
    assert lines[-2].startswith("- The process leaks 3.0")
    assert lines[-1].startswith("- remember (app.c:14) grows")


def test_the_document_has_the_evidence_of_each_verdict():
    trace = make_heap_trace([blocks(every(0.5, 10), lost_after_s=0.1)])
    document = json.loads(json.dumps(describe_trace(trace, judge_trace(trace))))
    (stack,) = document["stacks"]
    assert stack["evidence"]["lost_blocks"] == 20
    assert stack["evidence"]["window_s"] == 10
    assert document["verdict"]["evidence"]["scans"] == 5
    assert {count["resource"] for count in document["resources"]} == {"open files", "threads"}
