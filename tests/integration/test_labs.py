"""Each lab's grader, tried on right and wrong submissions: all that lies in instructor/."""

import re
import shutil
from pathlib import Path

import pytest

from lablib.grading.judging import judge_submission
from lablib.grading.labs import ANSWERS, list_labs, load_lab

INSTRUCTOR = Path(__file__).parents[2] / "instructor"
FIRST_LINE = re.compile(r'/\* wrong: (.+); expects: "(.+)" \*/\n')
WRONG = sorted(path.relative_to(INSTRUCTOR) for path in INSTRUCTOR.glob("*/wrong/*.c"))
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


@pytest.mark.parametrize("name", list_labs())
def test_a_lab_has_enough_wrong_fixes(name):
    assert sum(wrong.parts[0] == name for wrong in WRONG) >= MIN_WRONG
