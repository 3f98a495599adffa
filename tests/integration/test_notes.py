"""labs/noting.c: who opened what is still open, and who gives back what is given back already.

No tracer looks here: the sentences must come without one too.
"""

from contextlib import contextmanager

import pytest
from submissions import INSTRUCTOR, Case, load_variant, make_program

from lablib.grading.building import LEVELS
from lablib.grading.checks import run_check
from lablib.grading.evidence import Evidence
from lablib.grading.labs import Check
from lablib.grading.limits import Limits
from lablib.grading.submissions import Submission

OPEN_FILES = Check("flat_kernel", 4, {"what": "open_files"})
CLOSED_ONCE = Check("given_back_once", 0, {"what": "files"})
CLOSE_ALL = """static void close_all(void)
{
	for (int file = 3; file < 200; file++)
		close(file);
}

int main("""
FORGET = """extern char lab_notes[8 + 16 * 1025];

__attribute__((destructor)) static void forget(void)
{
	memset(lab_notes, 0, sizeof(lab_notes));
}

int main("""


@contextmanager
def look_at(student="", patch=None, changes=()):
    """A submission of fd_leak, patched and then changed, looked at without a tracer."""
    case = Case("fd_leak", patch, student=student)
    lab = load_variant(case)
    source = make_program(lab, patch)
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    with Evidence(lab, Submission(source.encode(), {}), Limits()) as evidence:
        evidence.untraced = "nobody looks"
        yield evidence, source


def find_line(source, text):
    """The number of the line that has a text."""
    return next(number for number, line in enumerate(source.splitlines(), 1) if text in line)


@pytest.mark.parametrize("student", ["", "ada", "ken"])
def test_who_opened_what_stays_open_is_named_at_each_level(student):
    with look_at(student) as (evidence, source):
        function = evidence.lab.rendering.apply("is_new")
        expected = f"{function} (fd_leak.c:{find_line(source, 'open(board_path')})"
        found = [evidence.measure(level, evidence.lab.terms).notes for level in LEVELS]
        assert [notes.opened_by for notes in found] == [expected, expected]
        assert f"opened by {expected}." in run_check(OPEN_FILES, evidence).sentence


def test_a_file_that_the_labs_own_header_opens_is_who_called_its_function():
    each_time = ("\tif (journal < 0)\n\t\tjournal =", "\tjournal =")
    with look_at(
        changes=[each_time, ("return 0;\n\tstrcpy", "return close(file), 0;\n\tstrcpy")]
    ) as (
        evidence,
        source,
    ):
        line = find_line(source, "journal = open_scratch_file()")
        for level in LEVELS:
            notes = evidence.measure(level, evidence.lab.terms).notes
            assert notes.opened_by == f"write_journal (fd_leak.c:{line})"


def test_who_closes_all_numbers_at_the_end_has_not_given_back_twice():
    at_exit = ("\tleaky_run(&options, look);", "\tatexit(close_all);\n\tleaky_run(&options, look);")
    solution = INSTRUCTOR / "fd_leak" / "solution.patch"
    with look_at(patch=solution, changes=[("int main(", CLOSE_ALL), at_exit]) as (evidence, _):
        assert run_check(CLOSED_ONCE, evidence).state == "passed"


def test_who_wipes_the_notes_only_loses_the_name():
    with look_at(changes=[("int main(", FORGET)]) as (evidence, _):
        found = run_check(OPEN_FILES, evidence)
        assert found.state == "failed"
        assert "0.75 more with each term. The newest is" in found.sentence
