"""A class is judged by a process for each: whatever happens to one, the others get results."""

import json
import os
import sys
import threading

import pytest

from lablib.errors import GradingError
from lablib.grading import classes
from lablib.grading.classes import find_submissions, judge_class
from lablib.grading.page import describe_report
from lablib.records import Finding, GradeReport

REPORT = GradeReport("fib_leak", "x", (Finding("builds", "passed", "It builds.", 2, 2),))
JUDGES = {
    "good": f"print({json.dumps(json.dumps(describe_report(REPORT)))})",
    "crashed": "import os; os.kill(os.getpid(), 9)",
    "garbage": "print('[]')",
    "refused": "import sys; sys.exit('lab: there is no program')",
    "hangs": "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)",
    "pretends": f"print({json.dumps(json.dumps(describe_report(REPORT)))}); exit(3)",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A class whose judges do as their student's name says, and have a second for it."""
    monkeypatch.setattr(
        classes,
        "make_command",
        lambda handed, lab, key_file: [sys.executable, "-c", JUDGES[handed.student]],
    )
    monkeypatch.setattr(classes, "_END_S", 0.2)
    for name in JUDGES:
        (tmp_path / name).mkdir()
    return tmp_path


def judge_all(handed):
    results = []
    judge_class(handed, "fib_leak", None, 2, lambda _: None, results.append)
    return {result.student: result for result in results}


def test_whatever_a_judge_does_costs_only_its_submission(folder):
    handed = [each for each in find_submissions(folder, "fib_leak") if each.student != "hangs"]
    results = judge_all(handed)
    assert set(results) == {*JUDGES} - {"hangs"}
    assert (results["good"].state, results["good"].report.points) == ("passed", 2)
    problems = {name: result.problem for name, result in results.items() if name != "good"}
    assert problems == {
        "crashed": "its judge ended without a report",
        "garbage": "its judge ended without a report",
        "refused": "there is no program",
        "pretends": "its judge ended without a report",
    }
    assert all(results[name].state == "could not be judged" for name in problems)


def test_a_judge_that_hangs_is_ended_though_it_ignores_that_it_is_asked_to(folder, monkeypatch):
    monkeypatch.setattr(classes, "SECONDS", 1.0)
    handed = [each for each in find_submissions(folder, "fib_leak") if each.student == "hangs"]
    (result,) = judge_all(handed).values()
    assert result.state == "could not be judged"
    assert result.problem == "it could not be judged within 1 s"


def test_a_key_is_handed_on_so_that_each_is_judged_by_his_variant(tmp_path):
    handed = classes.Handed("=a b", tmp_path)
    plain, drawn = (classes.make_command(handed, "fib_leak", key) for key in (None, tmp_path / "k"))
    assert drawn == [*plain, f"--key-file={tmp_path / 'k'}"]
    assert "--student==a b" in plain


def test_left_early_it_ends_what_is_under_way(folder):
    begun = threading.Event()

    def leave(result):
        raise KeyboardInterrupt

    handed = find_submissions(folder, "fib_leak")
    hanging = [each for each in handed if each.student in ("crashed", "hangs")]
    with pytest.raises(KeyboardInterrupt):
        judge_class(hanging, "fib_leak", None, 2, lambda _: begun.set(), leave)
    assert begun.is_set()


def test_a_program_lies_in_the_student_s_folder_or_in_the_lab_s_below(tmp_path):
    (tmp_path / "a" / "fib_leak").mkdir(parents=True)
    (tmp_path / "b" / "fd_leak").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / "list.txt").write_text("")
    (tmp_path / "c").symlink_to("/etc")
    found = find_submissions(tmp_path, "fib_leak")
    assert [(each.student, each.folder, bool(each.problem)) for each in found] == [
        ("a", tmp_path / "a" / "fib_leak", False),
        ("b", tmp_path / "b", False),
        ("c", tmp_path / "c", True),
    ]


def test_a_folder_without_submissions_is_a_sentence(tmp_path):
    with pytest.raises(GradingError, match="has no submissions"):
        find_submissions(tmp_path, "fib_leak")


def test_two_who_look_the_same_in_print_are_refused(tmp_path):
    for name in ("a\n", "a\t"):
        (tmp_path / name).mkdir()
    with pytest.raises(GradingError, match="look the same"):
        find_submissions(tmp_path, "fib_leak")


def test_a_name_that_is_no_text_is_a_student_s_all_the_same(tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    (found,) = find_submissions(tmp_path, "fib_leak")
    assert found.folder.is_dir()
