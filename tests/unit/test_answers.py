"""Answers to a lab's questions, judged without a program: letters, numbers, names and texts."""

from types import SimpleNamespace

import pytest

from lablib.errors import GradingError, TracerError
from lablib.grading.answers import check_answers
from lablib.grading.exhausting import Exhaustion
from lablib.grading.labs import Question, Service

SERVICE = Service(rate=5, limit_bytes=64 << 20, horizon=10_000)
KILLED = Exhaustion(is_killed=True, terms=4000, peak_rss_bytes=None)
UNHARMED = Exhaustion(is_killed=False, terms=10_000, peak_rss_bytes=9_000_000)
WHEN = {"wrong": "another time", "never": "it was killed", "number": "it was not killed"}


def make_question(**fields):
    return Question(
        **{"name": "q", "text": "?", "points": 2, "choices": {}, "feedback": {}, **fields}
    )


def judge(question, answer, fared=KILLED):
    """The finding for an answer, where the program fares so under its limit."""

    def exhaust_handed_out(service):
        assert service == SERVICE
        if isinstance(fared, Exception):
            raise fared
        return fared

    lab = SimpleNamespace(questions=(question,), service=SERVICE)
    submission = SimpleNamespace(answers={"q": answer}, complaint="")
    evidence = SimpleNamespace(
        lab=lab, submission=submission, exhaust_handed_out=exhaust_handed_out
    )
    (finding,) = check_answers(evidence)
    assert finding.points == (2 if finding.state == "passed" else 0)
    return finding


NAME = make_question(expected=("read_body", "take_in"), is_name=True, feedback={"wrong": "Not it."})


@pytest.mark.parametrize("answer", ["read_body", " take_in ", "read_body()", "read_body();"])
def test_a_name_is_right_however_it_is_written(answer):
    assert judge(NAME, answer).state == "passed"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("Read_Body", "Not it."),
        ("read_bod", "Not it."),
        ("read_body or wrap_lines", "is not a name"),
        ("read_body, take_in", "is not a name"),
        ("", "No answer"),
        (14, "between quotation marks"),
        (["read_body"], "between quotation marks"),
    ],
)
def test_another_name_is_not_right_nor_are_two(answer, sentence):
    finding = judge(NAME, answer)
    assert finding.state == "failed"
    assert sentence in finding.sentence


TEXT = make_question(expected=("read_body", "take_in"), least_words=6)


def test_a_text_is_judged_only_for_being_there_and_naming_the_function():
    finding = judge(TEXT, "The block that read_body() returns is lost.")
    assert finding.state == "passed"
    assert "a person must judge" in finding.sentence


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("read_body did it", "3 words are too few"),
        ("A block is lost, and read_body_twice is innocent.", "does not name the function"),
        (7, "between quotation marks"),
    ],
)
def test_a_text_that_is_too_short_or_names_nobody_fails(answer, sentence):
    finding = judge(TEXT, answer)
    assert finding.state == "failed"
    assert sentence in finding.sentence


def test_a_text_need_name_nobody_where_no_name_is_asked_for():
    question = make_question(expected=(), least_words=3)
    assert judge(question, "A test would have.").state == "passed"


OOM = make_question(expected="oom_seconds", may_be_never=True, tolerance=0.2, feedback=WHEN)
PEAK = make_question(expected="peak_rss_bytes", may_be_never=True, tolerance=0.1, feedback=WHEN)


@pytest.mark.parametrize(
    ("question", "answer", "fared", "state"),
    [
        (OOM, 800, KILLED, "passed"),
        (OOM, 960, KILLED, "passed"),
        (OOM, 641, KILLED, "passed"),
        (OOM, "Never", UNHARMED, "passed"),
        (PEAK, 8_500_000, UNHARMED, "passed"),
        (PEAK, "never", KILLED, "passed"),
    ],
)
def test_what_was_predicted_is_compared_with_what_was_run(question, answer, fared, state):
    assert judge(question, answer, fared).state == state


@pytest.mark.parametrize(
    ("question", "answer", "fared", "sentence"),
    [
        (OOM, 961, KILLED, "another time"),
        (OOM, 639, KILLED, "another time"),
        (OOM, "never", KILLED, "it was killed"),
        (OOM, 2000, UNHARMED, "it was not killed"),
        (OOM, 0, UNHARMED, "it was not killed"),
        (OOM, "800", KILLED, 'a plain number for q, such as 12.5, or "never"'),
        (OOM, True, UNHARMED, "a plain number"),
        (PEAK, 7_000_000, UNHARMED, "another time"),
        (PEAK, "never", UNHARMED, "it was killed"),
        (PEAK, 8_500_000, KILLED, "it was not killed"),
    ],
)
def test_a_wrong_prediction_is_told_what_was_seen(question, answer, fared, sentence):
    finding = judge(question, answer, fared)
    assert finding.state == "failed"
    assert sentence in finding.sentence


@pytest.mark.parametrize("error", [TracerError("no group here"), GradingError("it ended badly")])
def test_where_no_limit_can_be_set_the_prediction_is_unchecked(error):
    finding = judge(OOM, 800, error)
    assert finding.state == "unchecked"
    assert str(error) in finding.sentence


def test_a_hand_out_does_not_know_what_is_right():
    assert judge(make_question(expected=None, is_name=True), "read_body").state == "unchecked"


def test_chinese_is_counted_by_characters_and_its_names_are_found():
    question = make_question(expected=("take_in",), least_words=15)
    long = "函数take_in拿走了内存，一直没有归还给任何人。"
    assert judge(question, long).state == "passed"
    assert "too few" in judge(question, "函数take_in拿走内存。").sentence
    assert "does not name" in judge(question, long.replace("take_in", "take")).sentence
