"""Each lab's grader, tried on right and wrong submissions: what lies in instructor/.

Each is tried on the lab as it lies there and on variants drawn for students. Of the wrong fixes and
of the variants a few of each lab are tried; `./lab test --labs` tries them all.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import require_tracer
from submissions import (
    EXPECTS,
    INSTRUCTOR,
    Case,
    fill_in,
    hand_in,
    list_patches,
    load_variant,
    make_solutions,
    read_expected,
)

from lablib.grading.judging import judge_submission
from lablib.grading.labs import ANSWERS, list_labs, load_lab

MIN_WRONG = 5
FEW_WRONG, FEW_VARIANTS = 3, 2
STUDENTS = ["ada", "barbara", "dennis", "edsger", "fran", "grace", "hal", "joan", "ken", "niklaus"]
HANDED_OUT = {
    "fib_leak": "Still {8 * NUMBERS} bytes a term from fibonacci (",
    "error_path": "bytes a refusal from begin_job (",
    "realloc_grow": "bytes a refusal from make_room (",
    "mmap_leak": "Still {4096 * (SIXTEENTHS - 1) / 16} bytes a term from open_window (",
    "thread_stack": "Still {1024 * STACK_KIB + 4096} bytes a term from put_question (",
    "fd_leak": "{1 - 1 / NEWS_EVERY} more with each term",
    "shm_survivor": "{52 * DAYS} bytes",
    "cache_not_leak": "No answer",
    "arena_hold": "No answer",
    "overfix": "bytes a term from write_answer (",
    "reachable": "bytes a visitor from add_page (",
}
"""What is said of a lab as it was handed out, by the arithmetic of its questions."""


def mark_but_few(cases, few):
    """The cases as parameters; those after the first few only with --labs."""
    return [
        pytest.param(case, marks=[pytest.mark.labs] if number >= few else [])
        for number, case in enumerate(cases)
    ]


SOLUTIONS = [
    parameter
    for cases in zip(*map(make_solutions, ["", *STUDENTS]), strict=True)
    for parameter in mark_but_few(cases, 1 + FEW_VARIANTS)
]
HAND_OUTS = [
    parameter
    for name in list_labs()
    for parameter in mark_but_few(
        [Case(name, None, load_lab(name).folder / ANSWERS, student) for student in ("ken", "")], 1
    )
]
WRONG = [
    parameter
    for name in list_labs()
    for parameter in mark_but_few(
        [Case(name, patch, student="ken") for patch in list_patches(name, "wrong/*")], FEW_WRONG
    )
]
ALSO_RIGHT = [
    Case(name, patch, INSTRUCTOR / name / ANSWERS)
    for name in list_labs()
    for patch in list_patches(name, "also_right/*")
]
WRONG_ANSWERS = [
    Case(case.lab, case.patch, answers)
    for case in make_solutions()
    for answers in sorted((INSTRUCTOR / case.lab).glob("wrong_answers/*.json"))
]
CHANGED = Case(
    "cache_not_leak",
    INSTRUCTOR / "cache_not_leak/wrong/smaller_cache.patch",
    INSTRUCTOR / "cache_not_leak" / ANSWERS,
)


def judge(case, folder):
    """Hand in a case, and return the report on it."""
    return judge_submission(hand_in(case, folder), folder)


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


def find_not_passed(report):
    return [f.sentence for f in report.findings if f.state != "passed"]


@pytest.mark.parametrize("case", SOLUTIONS, ids=str)
def test_the_reference_fix_has_all_points(case, report):
    assert find_not_passed(report) == []
    assert report.points == report.possible > 0


@pytest.mark.parametrize("case", ALSO_RIGHT, ids=str)
def test_another_right_fix_has_all_points_too(case, report):
    assert find_not_passed(report) == []


@pytest.mark.parametrize("case", HAND_OUTS, ids=str)
def test_what_was_handed_out_has_no_points(case, report):
    failed = next(f for f in report.findings if f.state == "failed")
    assert fill_in(load_variant(case), HANDED_OUT.get(case.lab, "")) in failed.sentence
    assert report.points == 0
    assert not report.has_passed


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_a_wrong_fix_has_no_points_and_the_sentence_that_fits(case, report):
    failed = next(f for f in report.findings if f.state == "failed")
    assert read_expected(case) in failed.sentence
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
    assert len(list_patches(name, "wrong/*")) >= MIN_WRONG
    assert all(EXPECTS.match(patch.read_text()) for patch in list_patches(name, "wrong/*"))


@pytest.mark.parametrize("case", make_solutions(), ids=str)
def test_each_lab_has_its_solution_but_where_nothing_is_to_be_mended(case):
    kinds = [check.kind for check in load_lab(case.lab).checks]
    assert (case.patch is None) == ("unchanged" in kinds)
    assert case.answers.is_file()
