"""Variants of labs: what is drawn, where it is put, and that it all follows from the key."""

import json

import pytest
from click.testing import CliRunner

from lablib.cli_check import check
from lablib.errors import GradingError
from lablib.grading.keys import make_key, read_key
from lablib.grading.labs import list_labs, load_lab
from lablib.grading.variants import Rendering, draw_lab

KEY = b"the key of a course, kept by its instructor"
STUDENTS = [f"student-{number}" for number in range(100)]

LAB = {
    "number": 1,
    "title": "What take_one keeps",
    "minutes": 5,
    "terms": 10,
    "parameters": {"ROOM": [48, 72, 96]},
    "names": {"take_one": ["take_one", "fetch_one", "get_one"]},
    "checks": [{"check": "flat_heap", "most_bytes": {"computed": "10 * ROOM"}, "points": 1}],
    "questions": [
        {
            "name": "bytes",
            "text": "How many bytes does take_one take?",
            "points": 1,
            "expected": {"computed": "ROOM * ROOM + 8"},
        },
        {
            "name": "where",
            "text": "Where?",
            "points": 1,
            "choices": {"A": "right", "B": "wrong", "C": "worse", "D": "worst"},
            "expected": "A",
            "feedback": {"B": "not wrong", "C": "not worse", "D": "not worst"},
        },
    ],
    "hints": {"flat_heap": ["Read take_one.", "Read on.", "Free in first."]},
}
SOURCE = """#include "leaky.h"

#define ROOM 48 /* bytes */
#define ROOMS 48

static void take_one(void) { first(), second(), third(), take_one_more(ROOM); }
"""


@pytest.fixture
def lab(tmp_path):
    folder = tmp_path / "little"
    folder.mkdir()
    (folder / "lab.json").write_text(json.dumps(LAB))
    (folder / "little.c").write_text(SOURCE)
    return load_lab("little", tmp_path)


def draw_all(lab):
    return [draw_lab(lab, KEY, student) for student in STUDENTS]


def test_the_lab_itself_is_what_lies_there(lab):
    assert lab.read_source() == SOURCE
    bytes_question, where = lab.questions
    assert (bytes_question.expected, where.expected) == (48 * 48 + 8, "A")
    assert lab.checks[0].parameters == {"most_bytes": 480}


def test_a_variant_is_the_same_on_every_machine_for_ever(lab):
    drawn = draw_lab(lab, KEY, "ada")
    assert drawn.rendering == draw_lab(lab, KEY, "ada").rendering
    assert drawn.rendering == Rendering(
        numbers={"ROOM": 72},
        names={"take_one": "get_one"},
        letters={"where": {"A": "A", "B": "C", "C": "B", "D": "D"}},
    )


def test_every_choice_is_drawn_by_some_student(lab):
    drawn = draw_all(lab)
    assert {each.rendering.numbers["ROOM"] for each in drawn} == {48, 72, 96}
    assert {each.title.split()[1] for each in drawn} == {"take_one", "fetch_one", "get_one"}
    assert {each.questions[1].expected for each in drawn} == set("ABCD")
    assert {each.hints["flat_heap"][0] for each in drawn} == {
        f"Read {name}." for name in ("take_one", "fetch_one", "get_one")
    }


def test_source_checks_and_questions_follow_the_numbers(lab):
    for drawn in draw_all(lab):
        room = drawn.rendering.numbers["ROOM"]
        assert f"#define ROOM {room} /* bytes */\n#define ROOMS 48\n" in drawn.read_source()
        assert drawn.questions[0].expected == room * room + 8
        assert drawn.checks[0].parameters == {"most_bytes": 10 * room}


def test_names_are_whole_identifiers_and_change_all_at_once():
    rendering = Rendering(names={"first": "second", "second": "first", "take_one": "get_one"})
    assert rendering.apply(SOURCE).splitlines()[-1] == (
        "static void get_one(void) { second(), first(), third(), take_one_more(ROOM); }"
    )


def test_letters_are_shuffled_with_their_reasons(lab):
    for drawn in draw_all(lab):
        where = drawn.questions[1]
        assert list(where.choices) == list("ABCD")
        assert where.choices[where.expected] == "right"
        assert where.feedback == {
            letter: f"not {text}" for letter, text in where.choices.items() if text != "right"
        }


def test_another_key_draws_another_class(lab):
    others = [draw_lab(lab, b"another", student).rendering for student in STUDENTS]
    assert others != [drawn.rendering for drawn in draw_all(lab)]


def test_a_student_is_the_same_however_the_accent_is_written(lab):
    assert draw_lab(lab, KEY, "Rene\u0301") == draw_lab(lab, KEY, "Ren\u00e9")


def test_one_of_several_programs_is_handed_out_under_the_name_of_the_lab(lab):
    data = {**LAB, "sources": ["little.c", "other.c"]}
    (lab.folder / "lab.json").write_text(json.dumps(data))
    (lab.folder / "other.c").write_text("int other;\n")
    drawn = {each.rendering.source: each for each in draw_all(lab)}
    assert drawn["other.c"].read_source() == "int other;\n"
    assert {each.source for each in drawn.values()} == {"little.c"}
    assert load_lab("little", lab.folder.parent).read_source() == SOURCE


def test_a_number_is_arithmetic_with_the_parameters_of_the_lab(lab):
    for expression in ("DOOR + 1", "__import__('os')", "ROOM ** 9"):
        with pytest.raises(ValueError, match="not arithmetic"):
            lab.rendering.apply_to_data({"computed": expression})


def test_a_notebook_is_rendered_in_its_cells(tmp_path):
    path = tmp_path / "little.ipynb"
    path.write_text(json.dumps({"cells": [{"source": ["#\n", "take_one\n", "x\ntake_one"]}]}))
    rendered = Rendering(names={"take_one": "get_one"}).apply_to_file(path)
    assert json.loads(rendered)["cells"][0]["source"] == ["#\n", "get_one\n", "x\nget_one"]


@pytest.mark.parametrize("name", list_labs())
def test_every_lab_can_be_drawn(name):
    lab = load_lab(name)
    for student in STUDENTS[:5]:
        drawn = draw_lab(lab, KEY, student)
        assert len(drawn.questions) == len(lab.questions)
        for question in drawn.questions:
            assert not question.choices or question.expected in question.choices


def test_a_key_is_its_owners_alone_and_never_written_over(tmp_path):
    path = tmp_path / "course.key"
    make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    key = read_key(path)
    assert len(key) == 64
    with pytest.raises(GradingError, match="is there already"):
        make_key(path)
    assert read_key(path) == key


def test_a_file_that_is_no_key_is_refused(tmp_path):
    with pytest.raises(GradingError, match=r"can't be read .*--new-key"):
        read_key(tmp_path / "none")
    (tmp_path / "short").write_text("secret\n")
    with pytest.raises(GradingError, match="too short"):
        read_key(tmp_path / "short")


def test_a_variant_is_judged_by_whose_it_is_and_where_it_lies(tmp_path):
    make_key(tmp_path / "key")
    ran = CliRunner().invoke(check, ["fib_leak", "--key-file", str(tmp_path / "key")])
    assert ran.exit_code == 2
    assert "--student ID --submission DIR" in ran.output
