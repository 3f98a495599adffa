"""Found, seen, missed, false alarm or quiet: a report against the truth; and absent tools."""

import re
from types import SimpleNamespace

import pytest

from lablib.apps import find_source, read_truth
from lablib.errors import PrivilegeError
from lablib.language import say
from lablib.records import Frame, ToolFinding, ToolReport, ToolTotal
from lablib.tools import EXHIBITS, TOOLS, judge_report, run_tool
from lablib.tools.catalogue import Exhibit, Tool

LEAKER = "fib_leak"
TERMS = 400


def judge(report, name=LEAKER, terms=TERMS):
    return judge_report(report, read_truth(name), find_source(name).read_text(), terms)


def finding(*frames, size_bytes=8192 * TERMS, blocks=TERMS, is_complaint=True):
    return ToolFinding("lost", size_bytes, blocks, frames, is_complaint)


def report(*findings, totals=()):
    return ToolReport("tool", "", findings, totals)


def function(name, file=None, line=None):
    return Frame(name, "", 0, file, line)


def test_a_complaint_with_the_leaking_function_in_its_stack_has_found_it():
    outcome, said = judge(report(finding(function("calloc"), function("fibonacci"))))
    assert outcome == "found"
    assert said == "It names fibonacci, with 3.1 MiB in 400 blocks; 3.1 MiB leaked."


@pytest.mark.parametrize(("line", "outcome"), [(21, "found"), (53, "missed")])
def test_a_line_without_a_function_counts_when_it_is_one_of_the_function(line, outcome):
    assert judge(report(finding(function(None, "fib_leak.c", line))))[0] == outcome


def test_what_a_tool_lists_without_complaint_is_missed():
    reachable = finding(function("log_in"), is_complaint=False)
    outcome, said = judge(report(reachable), "session_registry")
    assert outcome == "missed"
    assert "doesn't call it a leak" in said


def test_less_than_a_byte_a_term_is_nothing():
    small = finding(function("fibonacci"), size_bytes=TERMS - 1, blocks=1)
    assert judge(report(small))[0] == "missed"
    assert judge(report(finding(function("main"), size_bytes=272)), "fib_fixed")[0] == "quiet"


def test_the_wrong_function_is_missed_and_named():
    outcome, said = judge(report(finding(function("main"))))
    assert outcome == "missed"
    assert "It names main" in said


def test_the_amount_without_a_name_is_seen():
    assert judge(report(finding(function(None), function("start_thread"))))[0] == "seen"
    assert judge(report(finding(function(None), size_bytes=128 << 20)))[0] == "missed"
    part = finding(function(None), size_bytes=8192 * TERMS // 3)
    outcome, said = judge(report(part))
    assert outcome == "missed"
    assert said == "It lists 1 MiB in 400 blocks, with no function of the program."


def test_a_total_that_grows_is_seen_and_a_flat_one_is_not():
    grown = ToolTotal("RSS", 1 << 20, (1 << 20) + 8192 * TERMS)
    flat = ToolTotal("RSS", 1 << 20, (1 << 20) + 4096)
    assert judge(report(totals=(flat, grown)))[0] == "seen"
    assert judge(report(totals=(flat,)))[0] == "missed"
    assert judge(report(totals=(grown,)), "lru_cache")[0] == "false alarm"
    assert judge(report(totals=(flat,)), "lru_cache")[0] == "quiet"


def test_open_files_are_counted_and_not_weighed():
    files = ToolFinding("open file descriptors", None, 75, (function("read_size"),))
    assert judge(report(files), "open_files", 100)[0] == "found"
    grown = ToolTotal("open files", 3, 78, "files")
    assert judge(report(totals=(grown,)), "open_files", 100)[0] == "seen"


def test_complaining_of_what_is_in_use_is_a_false_alarm():
    outcome, said = judge(report(finding(function("malloc"), function("resolve"))), "lru_cache")
    assert outcome == "false alarm"
    assert "resolve" in said


def test_each_exhibit_is_told_as_its_truth_tells_it():
    for exhibit in EXHIBITS:
        assert exhibit.summary == read_truth(exhibit.name)["summary"]


def test_each_exhibit_leaks_enough_for_any_total_to_show_it():
    for exhibit in EXHIBITS:
        for leak in read_truth(exhibit.name)["leaks"]:
            if leak["what"] != "open_files":
                assert leak["bytes_per_term"] * exhibit.terms >= 4 * (64 << 10), exhibit.name


def test_each_sentence_has_its_chinese(monkeypatch):
    """Also when it was judged, and recorded, under English."""
    said = [
        judge(report(finding(function("calloc"), function("fibonacci"))))[1],
        judge(report(finding(function("main"))))[1],
        judge(report(finding(function(None))))[1],
        judge(report(finding(function(None), size_bytes=8192)))[1],
        judge(report())[1],
        judge(report(finding(function("log_in"), is_complaint=False)), "session_registry")[1],
        judge(report(totals=(ToolTotal("RSS", 0, 1 << 22),)))[1],
        judge(report(totals=(ToolTotal("RSS", 0, 1 << 22),)), "lru_cache")[1],
        judge(report(finding(function("resolve"))), "lru_cache")[1],
        judge(report(finding(function(None))), "lru_cache")[1],
        judge(report(), "lru_cache")[1],
        judge(report(totals=(ToolTotal("files", 3, 78, "files"),)), "open_files", 100)[1],
    ]
    monkeypatch.setenv("LAB_LANG", "zh")
    for sentence in said:
        assert say(sentence) != sentence
        assert not re.search(r"[a-z]{3,} [a-z]{3,}", say(sentence)), say(sentence)


EXHIBIT = Exhibit("fib_fixed", 1, "all freed")


FOUND_BY_NAME = ("valgrind", "heaptrack", "libc-devtools", "bpftrace", "procps")
"""The packages of tools that are programs; the service looks for memleak."""

SEPARATE = [tool for tool in TOOLS if tool.package in FOUND_BY_NAME]


@pytest.mark.parametrize("tool", SEPARATE, ids=lambda tool: tool.name)
def test_a_tool_that_is_not_installed_says_so_and_how_to_get_it(tool, monkeypatch):
    nothing = SimpleNamespace(which=lambda name, path="": None)
    monkeypatch.setattr("lablib.tools.trial.shutil", nothing)
    run = run_tool(tool, EXHIBIT)
    assert run.outcome == "can't run"
    assert run.reason.endswith(" is not installed")
    assert run.fix == f"run: sudo apt-get install {tool.package}"


def test_a_tool_that_may_not_run_is_a_cell_with_its_reason():
    def refuse(trial):
        raise PrivilegeError("bpftrace needs root", "run this as root")

    run = run_tool(Tool("refused", refuse, "", ""), EXHIBIT)
    assert (run.outcome, run.reason, run.fix) == (
        "can't run",
        "bpftrace needs root",
        "run this as root",
    )
    assert run.report is None
