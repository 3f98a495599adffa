"""Each lab's grader, tried on right and wrong submissions: what lies in instructor/.

Each is tried on the lab as it lies there and on variants drawn for students. Of the wrong fixes and
of the variants a few of each lab are tried; `./lab test --labs` tries them all.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from conftest import require_tracer, try_capped_groups
from submissions import (
    EXPECTS,
    INSTRUCTOR,
    Case,
    fill_in,
    find_folder,
    hand_in,
    list_patches,
    list_programs,
    load_variant,
    make_solution,
    read_expected,
)

from lablib.grading.judging import judge_submission
from lablib.grading.labs import ANSWERS, LABS_DIR, list_labs, list_sources, load_lab

MIN_WRONG, MIN_WRONG_OF_A_FAMILY = 5, 2
FEW_WRONG, FEW_VARIANTS = 3, 2
MANY = 100
EVERY_FAMILY = 6  # of a lab with many programs only each sixth is tried without --labs
STUDENTS = ["ada", "barbara", "dennis", "edsger", "fran", "grace", "hal", "joan", "ken", "niklaus"]
HANDED_OUT = {
    "fib_leak": "Still {8 * NUMBERS} bytes a term from fibonacci (",
    "error_path": "bytes a refusal from begin_job (",
    "realloc_grow": "bytes a refusal from make_room (",
    "mmap_leak": "Still {4096 * (SIXTEENTHS - 1) / 16} bytes a term from open_window (",
    "thread_stack": "Still {1024 * STACK_KIB + 4096} bytes a term from put_question (",
    "fd_leak": "{1 - 1 / NEWS_EVERY} more with each term, opened by is_new (fd_leak.c:41)",
    "shm_survivor": "{52 * DAYS} bytes",
    "cache_not_leak": "No answer",
    "arena_hold": "No answer",
    "overfix": "bytes a term from write_answer (",
    "reachable": "bytes a visitor from add_page (",
    "two_suspects": "Still {LINES_BYTES} bytes a term from write_bill (",
    "incident": "Mend it; or, if there is nothing to mend",
}
"""What is said of a lab as it was handed out, by the arithmetic of its questions."""

PROGRAMS = list_programs()


def mark_but_few(name, source, cases, few):
    """The cases of a program as parameters; those after the first few only with --labs."""
    if source:
        few = int(list_sources(LABS_DIR / name).index(source) % EVERY_FAMILY == 0)
    return [
        pytest.param(case, marks=[pytest.mark.labs] if number >= few else [])
        for number, case in enumerate(cases)
    ]


SOLUTIONS = [
    parameter
    for program in PROGRAMS
    for parameter in mark_but_few(
        *program, [make_solution(*program, who) for who in ("", *STUDENTS)], 1 + FEW_VARIANTS
    )
]
HAND_OUTS = [
    parameter
    for name, source in PROGRAMS
    for parameter in mark_but_few(
        name,
        source,
        [
            Case(name, None, load_lab(name).folder / ANSWERS, student, source)
            for student in ("ken", "")
        ],
        1,
    )
]
WRONG = [
    parameter
    for name, source in PROGRAMS
    for parameter in mark_but_few(
        name,
        source,
        [
            Case(name, patch, student="ken", source=source)
            for patch in list_patches(name, source, "wrong/*")
        ],
        FEW_WRONG,
    )
]
ALSO_RIGHT = [
    parameter
    for name, source in PROGRAMS
    for parameter in mark_but_few(
        name,
        source,
        [
            Case(name, patch, find_folder(name, source) / ANSWERS, source=source)
            for patch in list_patches(name, source, "also_right/*")
        ],
        FEW_WRONG,
    )
]
WRONG_ANSWERS = [
    parameter
    for name, source in PROGRAMS
    for parameter in mark_but_few(
        name,
        source,
        [
            replace(make_solution(name, source), answers=answers)
            for answers in sorted(find_folder(name, source).glob("wrong_answers/*.json"))
        ],
        MANY,
    )
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
    """What did not pass, but what could not be tried: a program under its limit of memory."""
    return [f.sentence for f in report.findings if f.state != "passed" and not is_excused(f)]


def is_excused(finding):
    """Whether there was no capped group: none here at all, or none that others have left free."""
    could_not = finding.state == "unchecked" and "under its limit" in finding.sentence
    return could_not and (
        "of one user run at once" in finding.sentence or not try_capped_groups().works
    )


@pytest.mark.parametrize("case", SOLUTIONS, ids=str)
def test_the_reference_fix_has_all_points(case, report):
    assert find_not_passed(report) == []
    assert report.points == report.possible - report.unchecked > 0


@pytest.mark.parametrize("case", ALSO_RIGHT, ids=str)
def test_another_right_fix_has_all_points_too(case, report):
    assert find_not_passed(report) == []


@pytest.mark.parametrize("case", HAND_OUTS, ids=str)
def test_what_was_handed_out_has_no_points(case, report):
    failed = next(f for f in report.findings if f.state == "failed")
    assert fill_in(load_variant(case), HANDED_OUT[case.lab]) in failed.sentence
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
    of_each = [
        list_patches(name, source, "wrong/*") for source in list_sources(LABS_DIR / name) or [""]
    ]
    assert sum(map(len, of_each)) >= MIN_WRONG
    assert min(map(len, of_each)) >= MIN_WRONG_OF_A_FAMILY
    assert all(EXPECTS.match(patch.read_text()) for patches in of_each for patch in patches)


@pytest.mark.parametrize(("name", "source"), PROGRAMS)
def test_each_lab_has_its_solution_but_where_nothing_is_to_be_mended(name, source):
    case, lab = make_solution(name, source), load_lab(name, source=source)
    is_right_as_it_is = "unchanged" in [check.kind for check in lab.checks]
    if lab.truth:
        is_right_as_it_is = not lab.truth["is_leak"]
    assert (case.patch is None) == is_right_as_it_is
    assert case.answers.is_file()
