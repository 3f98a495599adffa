"""What can go wrong is told in the reader's language: each error is made of texts by `term`."""

import ast
from pathlib import Path

import lablib
from lablib import errors
from lablib.errors import LabError, TracerError
from lablib.language import term

PACKAGE = Path(lablib.__file__).parent
KINDS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
ENGLISH = ("cli_release.py", "cli_site.py", "release.py", "bundle.py", "site/")
"""Who makes a release, the bundle or the site reads English."""
INSTRUCTORS = ("classes", "gradebook", "hand_outs", "keys", "marking", "rendering", "variants")
"""The parts of lablib/grading that a learner has nothing to do with."""


def is_for_a_learner(path):
    place = path.relative_to(PACKAGE).as_posix()
    return not place.startswith((*ENGLISH, *(f"grading/{name}.py" for name in INSTRUCTORS)))


def find_bare_texts(tree):
    """Where an error gets a text that no catalogue can have: an f-string, or a literal."""
    for node in ast.walk(tree):
        called = getattr(node, "func", None)
        if getattr(called, "id", getattr(called, "attr", "")) in KINDS:
            for text in [*node.args[:2], *(word.value for word in node.keywords)]:
                is_empty = isinstance(text, ast.Constant) and not text.value
                if isinstance(text, (ast.JoinedStr, ast.Constant, ast.BinOp)) and not is_empty:
                    yield node.lineno


def test_every_error_that_a_learner_meets_can_be_said_in_another_language():
    paths = [path for path in PACKAGE.rglob("*.py") if is_for_a_learner(path)]
    assert len(paths) > 200
    bare = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in paths
        for line in find_bare_texts(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert bare == []


def test_a_bare_text_is_found():
    source = "raise LabError('a b', f'{c}')\nraise errors.AppError(term('a'), fix='b' + c)"
    assert list(find_bare_texts(ast.parse(source))) == [1, 1, 2]


def test_it_is_said_in_the_readers_language_and_stays_english_to_a_program(monkeypatch):
    error = TracerError(term("the tracer service does not run"), term("run: ./lab tracer start"))
    english = "the tracer service does not run; run: ./lab tracer start"
    assert str(error) == error.sentence == english
    monkeypatch.setenv("LAB_LANG", "zh")
    assert str(error) == "跟踪服务没有在运行；运行：./lab tracer start"
    assert error.sentence == english
    assert error.message == "the tracer service does not run"


def test_what_no_catalogue_has_is_said_as_it_is(monkeypatch):
    monkeypatch.setenv("LAB_LANG", "zh")
    assert str(LabError("said by {another} program")) == "said by {another} program"
