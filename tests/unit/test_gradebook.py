"""The gradebook and the pages: nothing in them comes to life, and nothing is lost."""

import csv

import pytest
from bs4 import BeautifulSoup

from lablib.errors import GradingError
from lablib.grading.gradebook import (
    FIELDS,
    make_cell,
    make_key,
    make_row,
    read_gradebook,
    write_gradebook,
)
from lablib.grading.labs import load_lab
from lablib.grading.pages import name_page, render_index, render_page
from lablib.records import ClassResult, Finding, GradeReport

FINDINGS = (
    Finding("builds", "passed", "It builds.", 2, 2),
    Finding("same_output", "failed", '=1+1 is "2"\n\x1b[2J, <b>and</b>', 0, 5),
    Finding("flat_heap", "unchecked", "Not checked: nobody could look.", 0, 3),
)


def make_result(student="anna", findings=FINDINGS, problem=""):
    report = None if problem else GradeReport("fib_leak", student, tuple(findings))
    return ClassResult(student, "fib_leak", report, problem, 4.25)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@cmd", "'=1", "''"])
def test_no_cell_begins_like_a_formula_and_none_looks_like_another(text):
    assert make_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "anna", "1e5", 'a,"b"', "zoë", "a=b"])
def test_other_cells_are_as_they_are(text):
    assert make_cell(text) == text


def test_a_cell_is_one_line_without_control_characters():
    assert make_cell("\t=1\r\n\x1b") == "\ufffd=1\ufffd\ufffd\ufffd"
    assert make_cell("a\udcff") == "a\ufffd"


@pytest.mark.parametrize(
    ("findings", "problem", "state", "check", "points"),
    [
        (FINDINGS, "", "failed", "same_output", "2"),
        (FINDINGS[:1], "", "passed", "", "2"),
        ((FINDINGS[0], FINDINGS[2]), "", "unchecked", "flat_heap", "2"),
        ((), "there is no program", "could not be judged", "", "0"),
    ],
)
def test_a_row_says_what_came_of_it_and_what_failed_first(findings, problem, state, check, points):
    row = dict(zip(FIELDS, make_row(make_result("anna", findings, problem)), strict=True))
    assert (row["state"], row["check"], row["points"]) == (state, check, points)
    assert row["seconds"] == "4.2"


def test_what_is_written_is_read_again_sorted(tmp_path):
    path = tmp_path / "grades.csv"
    names = ["zoë", '=a,"b"', "anna", "-rf *"]
    rows = {make_key(name, "fib_leak"): make_row(make_result(name)) for name in names}
    write_gradebook(path, rows)
    assert read_gradebook(path) == rows
    with path.open(newline="", encoding="utf-8") as file:
        students = [row["student"] for row in csv.DictReader(file)]
    assert students == sorted(make_cell(name) for name in names)
    assert [each.name for each in tmp_path.iterdir()] == ["grades.csv"]


@pytest.mark.parametrize("text", ["my own notes\n", "student,lab\nanna,fib_leak\n", "\0"])
def test_a_file_that_is_no_gradebook_is_not_written_over(tmp_path, text):
    path = tmp_path / "notes.csv"
    path.write_text(text)
    with pytest.raises(GradingError, match="gradebook"):
        read_gradebook(path)


def test_where_nothing_can_be_written_is_a_sentence(tmp_path):
    with pytest.raises(GradingError, match="can't be written"):
        write_gradebook(tmp_path / "nowhere" / "grades.csv", {})


def test_names_of_pages_are_plain_and_of_one_student_each():
    names = ["anna", "a/b", "a b", "a_b", "..", "=1", "ä" * 120, "index", "a\nb", "x" * 200]
    pages = [name_page(name) for name in names]
    assert len({page.lower() for page in pages}) == len(names)
    assert all(page.replace("-", "").replace("_", "").isascii() for page in pages)
    assert all(len(page) < 120 and "/" not in page and page != "index.html" for page in pages)


def test_a_page_has_every_finding_with_its_state_in_words_and_nothing_as_html():
    page = render_page(load_lab("fib_leak"), make_result("<img src=x>"))
    soup = BeautifulSoup(page, "html.parser")
    assert [row.td.text for row in soup.select("tbody tr")] == ["passed", "failed", "unchecked"]
    assert "<b>and</b>" in soup.table.text
    assert soup.find_all(["img", "b", "script"]) == []
    assert "\x1b" not in page
    assert "2 of 10 points: failed. 3 could not be given or refused." in soup.p.text
    assert soup.h1.text.endswith("<img src=x>")


def test_a_page_of_who_could_not_be_judged_says_why():
    page = render_page(load_lab("fib_leak"), make_result(problem="it is a <link>"))
    assert "could not be judged: it is a &lt;link&gt;." in page


def test_the_index_has_a_row_for_each_and_a_link_where_there_is_a_page():
    rows = [make_row(make_result("anna")), make_row(make_result("b&b", problem="gone"))]
    page = render_index(load_lab("fib_leak"), rows, ["student-anna.html", ""])
    soup = BeautifulSoup(page, "html.parser")
    assert soup.p.text == "2 submissions: 1 could not be judged, 1 failed."
    assert [head.text for head in soup.select("tbody th")] == ["anna", "b&b"]
    assert [anchor["href"] for anchor in soup.find_all("a")] == ["student-anna.html"]
