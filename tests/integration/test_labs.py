"""Each lab's grader, tried on right and wrong submissions: what lies in instructor/.

Of the wrong fixes a few of each lab are tried; `./lab test --labs` tries them all.
"""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import require_tracer

from lablib.grading.judging import judge_submission
from lablib.grading.labs import ANSWERS, list_labs, load_lab

INSTRUCTOR = Path(__file__).parents[2] / "instructor"
FIRST_LINE = re.compile(r'/\* wrong: (.+); expects: "(.+)" \*/\n')
MIN_WRONG = 5
FEW = 3


@dataclass(frozen=True)
class Case:
    """A submission to judge: a program, and a file of answers or none."""

    lab: str
    source: Path
    answers: Path | None = None

    def __str__(self):
        """Its name among the tests."""
        return f"{self.lab}-{(self.answers or self.source).stem}"


def list_wrong(name):
    return sorted((INSTRUCTOR / name / "wrong").glob("*.c"))


def make_solutions(pattern="solution.c"):
    return [
        Case(name, source, INSTRUCTOR / name / ANSWERS)
        for name in list_labs()
        for source in sorted((INSTRUCTOR / name).glob(pattern))
    ]


HAND_OUTS = [Case(name, load_lab(name).folder / load_lab(name).source) for name in list_labs()]
WRONG = [
    pytest.param(Case(name, source), marks=[pytest.mark.labs] if number >= FEW else [])
    for name in list_labs()
    for number, source in enumerate(list_wrong(name))
]
WRONG_ANSWERS = [
    Case(name, INSTRUCTOR / name / "solution.c", answers)
    for name in list_labs()
    for answers in sorted((INSTRUCTOR / name).glob("wrong_answers/*.json"))
]
CHANGED = Case(
    "cache_not_leak",
    INSTRUCTOR / "cache_not_leak/wrong/smaller_cache.c",
    INSTRUCTOR / "cache_not_leak" / ANSWERS,
)


def judge(case, folder):
    """Hand in a case, and return the report on it."""
    lab = load_lab(case.lab)
    shutil.copy(case.source, folder / lab.source)
    if case.answers is not None:
        answers = json.loads(case.answers.read_text())
        (folder / ANSWERS).write_text(json.dumps(answers.get("answers", answers)))
    return judge_submission(lab, folder)


@pytest.fixture(scope="module")
def reports(request, tmp_path_factory):
    """The report on each case of the tests to come, two at a time: to wait for."""
    require_tracer()
    items = [item for item in request.session.items if item.module is request.module]
    given = [getattr(item, "callspec", None) for item in items]
    cases = dict.fromkeys(spec.params["case"] for spec in given if spec and "case" in spec.params)
    with ThreadPoolExecutor(2) as pool:
        yield {case: pool.submit(judge, case, tmp_path_factory.mktemp("lab")) for case in cases}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def report(reports, case):
    """The report on this case."""
    return reports[case].result()


@pytest.mark.parametrize("case", make_solutions(), ids=str)
def test_the_reference_fix_has_all_points(case, report):
    assert [f.sentence for f in report.findings if f.state != "passed"] == []
    assert report.points == report.possible > 0


@pytest.mark.parametrize("case", make_solutions("also_right/*.c"), ids=str)
def test_another_right_fix_has_all_points_too(case, report):
    assert [f.sentence for f in report.findings if f.state != "passed"] == []


@pytest.mark.parametrize("case", HAND_OUTS, ids=str)
def test_what_was_handed_out_has_no_points(case, report):
    assert report.points == 0
    assert not report.has_passed


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_a_wrong_fix_has_no_points_and_the_sentence_that_fits(case, report):
    expected = FIRST_LINE.match(case.source.read_text())[2]
    failed = next(f for f in report.findings if f.state == "failed")
    assert expected in failed.sentence
    assert report.points == 0


@pytest.mark.parametrize("case", WRONG_ANSWERS, ids=str)
def test_a_wrong_answer_gets_the_sentence_that_fits(case, report):
    (failed,) = (f for f in report.findings if f.state == "failed")
    assert json.loads(case.answers.read_text())["expects"] in failed.sentence


@pytest.mark.parametrize("case", [CHANGED], ids=str)
def test_right_answers_to_a_program_that_was_changed_have_no_points(case, report):
    assert report.points == 0


@pytest.mark.parametrize("name", list_labs())
def test_a_lab_has_enough_wrong_fixes_and_each_says_what_it_expects(name):
    assert len(list_wrong(name)) >= MIN_WRONG
    assert all(FIRST_LINE.match(source.read_text()) for source in list_wrong(name))


def test_each_lab_has_its_solution():
    assert {case.lab for case in make_solutions()} == set(list_labs())
