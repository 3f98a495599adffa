"""Each lab's grader, tried on right and wrong submissions: all that lies in instructor/."""

import json
import re
import shutil
from pathlib import Path

import pytest

from lablib.grading.judging import judge_submission
from lablib.grading.labs import ANSWERS, list_labs, load_lab

INSTRUCTOR = Path(__file__).parents[2] / "instructor"
FIRST_LINE = re.compile(r'/\* wrong: (.+); expects: "(.+)" \*/\n')
WRONG = sorted(path.relative_to(INSTRUCTOR) for path in INSTRUCTOR.glob("*/wrong/*.c"))
ALSO_RIGHT = sorted(path.relative_to(INSTRUCTOR) for path in INSTRUCTOR.glob("*/also_right/*.c"))
WRONG_ANSWERS = sorted(p.relative_to(INSTRUCTOR) for p in INSTRUCTOR.glob("*/wrong_answers/*.json"))
MIN_WRONG = 5


def hand_in(lab, folder, source, answers=None):
    """A submission of this program, with these answers or none."""
    shutil.copy(source, folder / lab.source)
    if answers is not None:
        shutil.copy(answers, folder / ANSWERS)
    return folder


@pytest.fixture(autouse=True)
def needs_the_sandbox(tracer_service):
    """All of these run programs in the sandbox, and look at them with the tracer."""


@pytest.mark.parametrize("name", list_labs())
def test_the_reference_fix_has_all_points(name, tmp_path):
    lab, theirs = load_lab(name), INSTRUCTOR / name
    folder = hand_in(lab, tmp_path, theirs / "solution.c", theirs / ANSWERS)
    report = judge_submission(lab, folder)
    assert [f.sentence for f in report.findings if f.state != "passed"] == []
    assert report.points == report.possible > 0


@pytest.mark.parametrize("right", ALSO_RIGHT, ids=str)
def test_another_right_fix_has_all_points_too(right, tmp_path):
    lab = load_lab(right.parts[0])
    folder = hand_in(lab, tmp_path, INSTRUCTOR / right, INSTRUCTOR / lab.name / ANSWERS)
    report = judge_submission(lab, folder)
    assert [f.sentence for f in report.findings if f.state != "passed"] == []


@pytest.mark.parametrize("name", list_labs())
def test_what_was_handed_out_has_no_points(name, tmp_path):
    lab = load_lab(name)
    report = judge_submission(lab, hand_in(lab, tmp_path, lab.folder / lab.source))
    assert report.points == 0
    assert not report.has_passed


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_fix_has_no_points_and_the_sentence_that_fits(wrong, tmp_path):
    lab, source = load_lab(wrong.parts[0]), INSTRUCTOR / wrong
    first = FIRST_LINE.match(source.read_text())
    assert first, "its first line must say what is wrong, and what is to be said of it"
    report = judge_submission(lab, hand_in(lab, tmp_path, source))
    failed = next(f for f in report.findings if f.state == "failed")
    assert first[2] in failed.sentence
    assert report.points == 0


@pytest.mark.parametrize("wrong", WRONG_ANSWERS, ids=str)
def test_a_wrong_answer_gets_the_sentence_that_fits(wrong, tmp_path):
    lab, case = load_lab(wrong.parts[0]), json.loads((INSTRUCTOR / wrong).read_text())
    folder = hand_in(lab, tmp_path, INSTRUCTOR / lab.name / "solution.c")
    (folder / ANSWERS).write_text(json.dumps(case["answers"]))
    (failed,) = (f for f in judge_submission(lab, folder).findings if f.state == "failed")
    assert case["expects"] in failed.sentence


def test_right_answers_to_a_program_that_was_changed_have_no_points(tmp_path):
    lab, theirs = load_lab("cache_not_leak"), INSTRUCTOR / "cache_not_leak"
    folder = hand_in(lab, tmp_path, theirs / "wrong" / "smaller_cache.c", theirs / ANSWERS)
    assert judge_submission(lab, folder).points == 0


@pytest.mark.parametrize("name", list_labs())
def test_a_lab_has_enough_wrong_fixes(name):
    assert sum(wrong.parts[0] == name for wrong in WRONG) >= MIN_WRONG
