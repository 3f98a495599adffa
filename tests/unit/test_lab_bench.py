"""A lab in its notebook: the form of its questions, its report as a page, what a run has shown."""

import json
import shutil

import pytest

from lablib.errors import GradingError, LabError
from lablib.grading.labs import LABS_DIR, load_lab
from lablib.records import Finding, GradeReport, ProcessResources
from lablib.teaching import open_lab
from lablib.teaching.lab_questions import QuestionForm
from lablib.teaching.lab_reports import judge_outside, read_report, render_report
from lablib.teaching.lab_runs import Holding, LabRun

NAME = "fib_leak"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(LABS_DIR / NAME, tmp_path / NAME)


def read_answers(folder):
    return json.loads((folder / "answers.json").read_text())


def test_a_lab_is_named_by_its_folder(folder, tmp_path):
    assert open_lab(folder).lab.name == NAME
    with pytest.raises(GradingError, match="there is no lab called"):
        open_lab(tmp_path)


def test_answers_are_kept_in_the_file_and_stand_in_the_form_again(folder):
    form = QuestionForm(load_lab(NAME), folder)
    assert form.keep() == 0
    assert read_answers(folder) == {"bytes": None, "place": ""}
    form.fields["bytes"].value = "8 KiB"
    form.fields["place"]._buttons[1].value = form.fields["place"]._buttons[1].options[0][1]
    assert form.keep() == 2
    assert read_answers(folder) == {"bytes": 8192, "place": "B"}
    again = QuestionForm(load_lab(NAME), folder)
    assert again.fields["bytes"].value == "8192"
    assert again.fields["place"].value.startswith("B: ")
    assert again.keep() == 2


def test_a_text_a_name_and_never_are_answers_too(tmp_path):
    folder = shutil.copytree(LABS_DIR / "incident", tmp_path / "incident")
    form = QuestionForm(load_lab("incident"), folder)
    given = {"function": "take_in", "oom_seconds": "Never", "cause": "Because of it."}
    for name, answer in given.items():
        form.fields[name].value = answer
    assert form.keep() == 3
    assert read_answers(folder) == {**read_answers(folder), **given, "oom_seconds": "never"}
    again = QuestionForm(load_lab("incident"), folder)
    assert [again.fields[name].value for name in given] == ["take_in", "never", "Because of it."]


def test_what_is_no_number_is_said_and_nothing_is_kept(folder):
    form = QuestionForm(load_lab(NAME), folder)
    form.fields["bytes"].value = "many"
    with pytest.raises(LabError, match="“many” is not understood"):
        form.keep()
    assert read_answers(folder)["bytes"] is None


@pytest.mark.parametrize("broken", ["", "[1, 2]", "{'bytes': 1}"])
def test_a_broken_file_of_answers_is_replaced(folder, broken):
    (folder / "answers.json").write_text(broken)
    QuestionForm(load_lab(NAME), folder).keep()
    assert read_answers(folder) == {"bytes": None, "place": ""}


REPORT = GradeReport(
    NAME,
    "",
    (
        Finding("builds", "passed", "It builds.", 0, 0),
        Finding("flat_heap", "failed", "Still <b>8</b> bytes.", 0, 5),
        Finding("flat_kernel", "unchecked", "Nobody could look.", 0, 3),
        Finding("question place", "passed", "Right.", 1, 1),
    ),
    "Look at the caller.",
)


def test_a_report_is_a_table_with_words_for_each_result():
    page, text = render_report(load_lab(NAME), REPORT)
    assert page.count('scope="row"') == 4
    assert "Still &lt;b&gt;8&lt;/b&gt; bytes." in page
    assert "✗ failed         Still <b>8</b> bytes.  (0 of 5)" in text
    assert "? unchecked      Nobody could look.  (0 of 3)" in text
    assert "1 of 9 points. 3 could not be given or refused on this machine." in text
    assert "✓ passed         Question 2: Right.  (1 of 1)" in text
    assert text.endswith("Hint: Look at the caller.")


def test_a_report_is_read_from_the_document_of_the_command():
    from lablib.grading.page import describe_report

    assert read_report(json.loads(json.dumps(describe_report(REPORT), default=list))) == REPORT


def test_points_are_those_of_a_part_and_what_is_unchecked_is_said(folder, monkeypatch, capsys):
    lab = open_lab(folder)
    judged = []
    monkeypatch.setattr("lablib.teaching.labs.judge_outside", lambda *_: judged.append(1) or REPORT)
    assert lab.points("program") == 0.0
    assert "unchecked, 3 points: Nobody could look." in capsys.readouterr().out
    assert lab.points("answers") == 1.0
    assert len(judged) == 1
    (folder / "fib_leak.c").write_text("changed")
    lab.points("answers")
    assert len(judged) == 2
    with pytest.raises(GradingError, match="no part called"):
        lab.points("style")


def test_what_can_not_be_judged_is_said_in_the_commands_words(folder):
    (folder / "fib_leak.c").unlink()
    with pytest.raises(GradingError, match=r"could not be judged: .*fib_leak\.c can't be read"):
        judge_outside(load_lab(NAME), folder)


def make_run(sizes, live=None):
    held = [
        Holding(place, ProcessResources(10 * size, size, 0, 0, 0, 1, 3), 5, live)
        for place, size in enumerate(sizes)
    ]
    return LabRun(tuple(held), None, "no tracer here")


def test_growth_leaves_out_the_start():
    run = make_run([0, 100, 200, 300, 400])
    assert run.growth("resident") == 300
    assert run.growth_per_s("resident") == 100
    assert run.growth_per_s("address space") == 1000
    assert run.grows("resident")
    assert not run.grows("open files")
    assert run.late_share("resident") == 50


def test_a_plateau_has_no_late_growth():
    run = make_run([0, 300, 400, 400, 400])
    assert run.late_share("resident") == 0
    assert make_run([7, 7, 7, 7, 7]).late_share("resident") == 0


def test_the_fastest_is_the_one_that_grows_most_of_what_it_was():
    assert (
        make_run([100, 100, 150, 200, 250]).name_fastest(["open files", "resident"]) == "resident"
    )
    level = make_run([100, 100, 101, 101, 102])
    assert level.name_fastest(["resident", "threads"]) == "none of them"


def test_what_was_seen_is_a_table_that_says_what_is_not_known(capsys):
    from unittest.mock import patch

    with patch("lablib.teaching.tables.display") as shown:
        make_run([1 << 20] * 5).show("a run")
    text = shown.call_args.args[0]["text/plain"]
    assert "after 1.0 s  after 2.0 s  after 4.0 s" in text
    assert "not known" in text
    assert (
        "Without the tracer, by the kernel's account only: no tracer here"
        in capsys.readouterr().out
    )
