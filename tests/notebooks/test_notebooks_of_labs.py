"""The labs' notebooks run unattended, show what they say, and everybody can read them.

All are run down to the questions, and a few are judged as well; `./lab test --labs` judges all.
"""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from accessibility import find_problems
from conftest import require_tracer
from execution import ROOT, run_lab
from submissions import hand_in, make_solution

from lablib.grading.labs import list_labs, load_lab
from lablib.teaching import open_lab

JUDGED = ("cache_not_leak", "fib_leak")
HASTE = "3"

# What is shown beside the prediction, where the program is as it was handed out.
RESULTS = {
    "fib_leak": r"[\d,]{7,9} bytes / s \(.+ / s\)",
    "error_path": "“only while calls fail”",
    "realloc_grow": "“it stays, and nobody can use it again”",
    "mmap_leak": "“mappings”",
    "thread_stack": r"\d\d\d? KiB",
    "fd_leak": "“open files”",
    "shm_survivor": r"1,\d+(\.\d)? KiB",
    "cache_not_leak": r"[1-4]?\d %",
    "arena_hold": r"1?\d(\.\d)? MiB",
    "overfix": r"[\d,]+ KiB / s",
    "two_suspects": "“what is resident”",
    "incident": r"\d+ %",
    "reachable": r"[1-9]\d %",
}


@pytest.fixture(scope="module")
def running(request):
    """The notebooks of the tests to come, two at a time: to wait for."""
    require_tracer()
    everything = request.config.getoption("--labs")
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setenv("LAB_HASTE", HASTE)
        yield {
            name: pool.submit(run_lab, name, everything or name in JUDGED) for name in list_labs()
        }
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def notebook(running, name):
    return running[name].result()


def read_shown(notebook):
    """All that the cells show, as text."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return "\n\n".join(out.get("text") or out["data"].get("text/plain", "") for out in outputs)


@pytest.mark.parametrize("name", list_labs())
def test_it_runs_and_the_result_is_as_its_text_says(notebook, name):
    shown = read_shown(notebook)
    assert re.search(rf"^The result: {RESULTS[name]}$", shown, re.MULTILINE), shown
    assert "The tracer's verdict: " in shown
    assert (load_lab(name).folder / load_lab(name).source).read_text().splitlines()[-1] in shown
    assert all(question.text in shown for question in load_lab(name).questions)


@pytest.mark.parametrize("name", list_labs())
def test_everybody_can_read_it(notebook):
    assert find_problems(notebook) == []


@pytest.mark.parametrize(
    "name",
    [
        name if name in JUDGED else pytest.param(name, marks=pytest.mark.labs)
        for name in list_labs()
    ],
)
def test_what_was_handed_out_is_judged_and_has_no_points(notebook, name):
    shown = read_shown(notebook)
    assert "✓ passed         It builds at -O0 and at -O2" in shown
    assert "✗ failed" in shown
    assert re.search(r"^0 of \d+ points\.$", shown, re.MULTILINE)
    points = [cell for cell in notebook.cells if cell.source.startswith("lab.points(")]
    assert {cell.outputs[-1].data["text/plain"] for cell in points} == {"0.0"}


def test_without_the_tracer_it_runs_on_what_the_kernel_counts(monkeypatch):
    monkeypatch.setenv("LAB_HASTE", HASTE)
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    shown = read_shown(run_lab("fib_leak", is_judged=False))
    assert "Without the tracer, by the kernel's account only: " in shown
    assert re.search(r"allocated by malloc, not freed \(the tracer\) +not known", shown)
    assert re.search(rf"^The result: {RESULTS['fib_leak']}$", shown, re.MULTILINE)


def test_the_reference_fix_has_all_points_in_the_notebook(tmp_path):
    folder = tmp_path / "fib_leak"
    shutil.copytree(ROOT / "labs" / "fib_leak", folder)
    lab = open_lab(folder)
    solution = make_solution("fib_leak", "")
    hand_in(replace(solution, answers=None), folder)
    assert (lab.points("program"), lab.points("answers")) == (8.0, 0.0)
    hand_in(solution, folder)
    assert (lab.points("program"), lab.points("answers")) == (8.0, 2.0)
