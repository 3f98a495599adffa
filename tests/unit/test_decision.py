"""To mend, or to leave alone: the check that asks for a decision, and for its reason."""

from types import SimpleNamespace

import pytest

from lablib.grading.checks.failing import Failed, NotChecked
from lablib.grading.checks.output import check_decision

HANDED_OUT = "int main(void)\n{\n\treturn 0;\n}\n"
CHANGED = HANDED_OUT.replace("0", "1")
LEAK, NO_LEAK = {"is_leak": True}, {"is_leak": False}


def decide(truth, source, kind, expected="C"):
    question = SimpleNamespace(name="kind", expected=expected if truth else None)
    lab = SimpleNamespace(questions=(question,), truth=truth, read_source=lambda: HANDED_OUT)
    submission = SimpleNamespace(source=source.encode(), answers={"kind": kind})
    return check_decision(SimpleNamespace(lab=lab, submission=submission), None)


def test_what_leaks_is_changed_and_what_does_not_is_left_alone():
    assert "there was something to mend" in decide(LEAK, CHANGED, "")
    assert "there is nothing in it to mend" in decide(NO_LEAK, HANDED_OUT, " c ")


@pytest.mark.parametrize("kind", ["", "A", None, 3])
def test_to_leave_it_alone_without_the_right_reason_is_no_decision(kind):
    with pytest.raises(Failed, match="Mend it; or"):
        decide(NO_LEAK, HANDED_OUT, kind)


def test_a_leak_that_is_left_alone_has_the_same_sentence():
    with pytest.raises(Failed, match="Mend it; or"):
        decide(LEAK, HANDED_OUT, "C")


def test_a_change_where_nothing_leaks_fails_and_says_where_it_is():
    with pytest.raises(Failed, match=r"line 3 is the first.*nothing in it to mend"):
        decide(NO_LEAK, CHANGED, "C")


@pytest.mark.parametrize("source", [HANDED_OUT, CHANGED])
def test_a_hand_out_does_not_know_whether_the_decision_is_right(source):
    with pytest.raises(NotChecked, match="your instructor's copy knows"):
        decide(None, source, "A")


def test_a_hand_out_that_nobody_has_touched_fails():
    with pytest.raises(Failed, match="Mend it; or"):
        decide(None, HANDED_OUT, "")
