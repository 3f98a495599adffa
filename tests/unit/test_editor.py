"""The text field for a fix: what is built from it, and what is said below it."""

import pytest

from lablib.apps import build_app
from lablib.editing import OWN_DIR, read_function
from lablib.errors import AppError, TracerError
from lablib.panels import FixEditor
from lablib.records import BuildWork, Comparison

NAME = "test_editor_own"


def make_comparison(kind="fixed", source="ebpf"):
    work = BuildWork("app", ("app",), 0, 0.1, 1)
    return Comparison(source, kind, f"{kind}: 8,192 <bytes>.", 10, work, work, ())


@pytest.fixture
def make_editor():
    def make(judge):
        app = build_app("fib_leak")
        fixed = read_function(build_app("fib_fixed").source.read_text(), "child")
        return FixEditor(app, "child", fixed, judge, NAME)

    yield make
    for suffix in ("", ".c"):
        (OWN_DIR / f"{NAME}{suffix}").unlink(missing_ok=True)


def test_what_stands_in_the_field_is_built_into_the_programs_source(make_editor):
    built = []
    editor = make_editor(lambda app: built.append(app) or make_comparison())
    assert editor.prove().kind == "fixed"
    assert built[0].name == NAME
    source = built[0].source.read_text()
    assert "free(v);" in source
    assert "int main(" in source
    assert "✓ fixed: 8,192 &lt;bytes&gt;." in editor.answer.value


def test_a_verdict_that_is_not_good_has_another_sign(make_editor):
    editor = make_editor(lambda app: make_comparison("not_fixed"))
    editor.button.click()
    assert "✗ not_fixed" in editor.answer.value
    assert editor.comparison.kind == "not_fixed"


def test_a_recording_is_not_passed_off_as_the_learners_program(make_editor):
    editor = make_editor(lambda app: make_comparison(source="recorded: Linux 6.1, 2026-11-01"))
    editor.prove()
    assert "✓" not in editor.answer.value
    assert "could not be traced here" in editor.answer.value
    assert "(recorded: Linux 6.1, 2026-11-01): fixed" in editor.answer.value


def test_what_does_not_compile_is_said_and_the_field_stays_usable(make_editor):
    editor = make_editor(lambda app: make_comparison())
    right = editor.field.value
    editor.field.value = right.replace("free(v)", "free(w)")
    editor.button.click()
    assert "it doesn&#x27;t compile" in editor.answer.value
    assert not editor.button.disabled
    with pytest.raises(AppError, match="compile"):
        editor.prove()
    editor.field.value = right.replace("free(v);", "int unused; free(v);")
    editor.button.click()
    assert "✓" in editor.answer.value
    assert "unused" in editor.answer.value


def test_what_can_not_be_judged_is_said(make_editor):
    def refuse(app):
        raise TracerError("the tracer service does not run", "run: ./lab tracer start")

    editor = make_editor(refuse)
    editor.button.click()
    assert "the tracer service does not run; run: ./lab tracer start" in editor.answer.value
    assert not editor.button.disabled
