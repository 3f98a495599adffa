"""10: what it claims of the tools, by the letters of its matrix; run with the real tools here."""

import re

import nbformat
import pytest
from descendants import list_own_apps
from execution import NOTEBOOKS, UNIT, execute
from outputs import read_outputs, read_result, read_shown, read_table

from lablib.tools import TOOLS

pytestmark = pytest.mark.xdist_group(UNIT)

NAME = "10_which_tool_sees_what"
CLAIMED = {
    "memcheck": "FFMMFFQQ",
    "massif": "FFFMFMQQ",
    "heaptrack": "FFFMFMQQ",
    "LeakSanitizer": "FFMMMMQQ",
    "AddressSanitizer": "FFMMMMQQ",
    "mtrace": "FFFMMMQQ",
    "malloc_info": "SSSMMMQQ",
    "memleak": "FFFM[SF]MAA",
    "bpftrace": "FFFM[MF]MAQ",
    "pmap": "SSSSSMQQ",
    "smem": "SSSSSMQQ",
    "lab: eBPF": "FFFFFSQQ",
    "lab: preload": "FFFFFSQQ",
}
"""By tool, a letter for each program. Two: memleak and bpftrace need frame pointers in glibc."""


def read_matrix(shown):
    """The letters of the matrix that was run, by tool."""
    last = re.findall(r"^memcheck +\S(?: \S){7}$.*?^\d+ cells in", shown, re.M | re.S)[-1]
    rows = re.findall(r"^(.{17})(\S(?: \S){7})$", last, re.MULTILINE)
    return {tool.strip(): letters.replace(" ", "") for tool, letters in rows}


def test_each_tool_sees_what_the_notebook_says():
    matrix = read_matrix(read_shown(NAME))
    assert list(matrix) == [tool.name for tool in TOOLS]
    rooted = {tool.name for tool in TOOLS if tool.needs_root}
    able = {name for name, letters in matrix.items() if letters != "X" * 8}
    assert able >= set(matrix) - rooted, "./lab test installs them"
    wrong = {
        name: (letters, CLAIMED[name])
        for name, letters in matrix.items()
        if name in able and not re.fullmatch(CLAIMED[name], letters)
    }
    assert wrong == {}


def test_nothing_is_left_of_the_programs():
    read_outputs(NAME)
    assert list_own_apps() == []


def test_memcheck_lists_the_table_and_does_not_call_it_a_leak():
    result = read_result(NAME, "What does memcheck say of the table that only grows?")
    assert result == "“it lists it, and doesn't call it a leak”"
    text, _ = read_outputs(NAME)
    assert re.search(r"368,000 bytes in 400 blocks are still reachable", text)
    assert "ERROR SUMMARY: 0 errors" in text


def test_the_costs_are_told_for_each_tool_and_differ_as_the_notebook_says():
    _, figures = read_outputs(NAME)
    said = figures[-1].data["text/plain"]
    costs = {
        tool: (float(time), float(memory))
        for tool, time, memory in re.findall(
            r"(?:\. |; )([\w: ]+): ([\d.]+) times the time, ([\d.]+) times the memory", said
        )
    }
    assert {"memcheck", "heaptrack", "smem", "lab: preload"} <= set(costs)
    assert costs["memcheck"][0] > 2 * costs["lab: preload"][0]
    assert max(costs, key=lambda tool: costs[tool][1]) == "AddressSanitizer"
    assert costs["smem"][1] < 2


def test_what_a_tool_asks_for_is_in_a_table():
    demands = read_table(NAME, "What each asks for")
    assert demands["memleak"] == ["no", "yes", "yes"]
    assert demands["LeakSanitizer"] == ["yes: -fsanitize=leak", "no", "no"]


def test_without_the_tools_it_shows_its_recording_and_says_so(monkeypatch):
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    notebook = execute(nbformat.read(NOTEBOOKS / f"{NAME}.ipynb", as_version=4))
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    assert text.count("RECORDED, not live") == 2
    shown = "\n\n".join(out["data"].get("text/plain", "") for out in outputs if "data" in out)
    assert read_matrix(shown)["memcheck"] == CLAIMED["memcheck"]
