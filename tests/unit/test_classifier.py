"""The blind test: it can be answered once, tells the score and why, and stays when it is saved."""

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from lablib.errors import LabError
from lablib.teaching import Classifier
from lablib.teaching.classifier import KINDS, OPEN, Score

RIGHT = {"A": ("leaking",), "B": ("plateau", "churn"), "C": ("retention",)}
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def outputs(monkeypatch):
    """What is displayed, as in a notebook: a list of messages."""
    had_shell = InteractiveShell.initialized()
    shell = InteractiveShell.instance()
    publisher = CapturingDisplayPublisher()
    monkeypatch.setattr(shell, "display_pub", publisher)
    yield publisher.outputs
    if not had_shell:
        InteractiveShell.clear_instance()


def make(answers=None):
    return Classifier(RIGHT, lambda letter, said: f"<{letter} is no {said}>", answers)


def test_the_score_counts_right_wrong_and_open():
    classifier = make()
    classifier.choose("A", "leaking")
    classifier.choose("B", "churn")
    classifier.choose("B", "growing")
    assert classifier.give() == Score(right=1, wrong=1, left_open=1)
    assert str(classifier.score) == "1 of 3 right, 1 wrong, 1 left open."


def test_each_of_several_right_kinds_is_right_and_cannot_tell_is_open():
    classifier = make({"A": OPEN, "B": "churn", "C": "retention"})
    assert classifier.give() == Score(2, 0, 1)


def test_what_is_not_right_is_told_why_and_nothing_else_is():
    classifier = make({"A": "leaking", "B": "leaking"})
    classifier.give()
    page = classifier._repr_mimebundle_()["text/html"]
    assert "&lt;B is no leaking&gt;" in page
    assert "&lt;C is no open&gt;" in page
    assert "A is no" not in page
    assert page.count("✓ right") == page.count("✗ not right") == page.count("○ left open") == 1
    assert "A: Leak, right.\nB: Leak, wrong. <B is no leaking>\nC: no answer, open." in repr(
        classifier
    )


def test_the_answers_are_given_once():
    classifier = make({"A": "leaking"})
    classifier.give()
    with pytest.raises(LabError, match="given already; run the cell again"):
        classifier.give()
    with pytest.raises(LabError, match="given already"):
        classifier.choose("A", "churn")
    assert classifier._choices.is_locked
    assert classifier._button.disabled


@pytest.mark.parametrize(("letter", "kind"), [("Z", "leaking"), ("A", "clean")])
def test_what_is_no_choice_is_refused(letter, kind):
    with pytest.raises(LabError, match="is not a choice"):
        make().choose(letter, kind)


def test_nothing_chosen_is_said_and_the_form_stays(outputs):
    classifier = make()
    classifier.show()
    classifier._button.click()
    assert 'role="alert"' in classifier._message.value
    assert "nothing is chosen yet" in classifier._message.value
    assert classifier.score is None
    assert len(outputs) == 1


def test_a_notebook_that_nobody_answers_goes_on(outputs):
    classifier = make()
    classifier.show()
    (shown,) = outputs
    assert WIDGET in shown["data"]
    assert shown["data"]["text/html"] == "<p>No answers were given.</p>"
    assert classifier.answers == {}


def test_the_result_takes_the_place_of_the_form(outputs):
    classifier = make()
    classifier.show()
    classifier._choices.answers = {"A": "leaking"}  # as the radio button does
    classifier._button.click()
    form, result = outputs
    assert result["transient"] == form["transient"]
    assert result["update"]
    assert WIDGET not in result["data"]
    assert "1 of 3 right" in result["data"]["text/html"]


def test_a_second_round_begins_with_the_answers_of_the_first():
    first = make({"A": "churn"})
    first.give()
    second = make(first.answers)
    second.choose("A", "leaking")
    assert second.give().right == 1
    assert first.answers == {"A": "churn"}


def test_each_kind_can_be_chosen_by_words_and_the_script_fetches_nothing():
    choices = make()._choices
    assert [kind["value"] for kind in choices.kinds] == list(KINDS)
    assert all(kind["label"] and kind["words"] for kind in choices.kinds)
    for text in (str(choices._esm), str(choices._css)):
        assert "import " not in text
        assert "http" not in text
