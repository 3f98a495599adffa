"""Cards: each capability has one, before it is tried, while it is, and after."""

import pytest
from IPython.display import DisplayHandle

from lablib.doctor import PURPOSES
from lablib.records import Capability
from lablib.teaching import cards

WORKS = Capability("compiler", True, "compiled a <program>")
MISSING = Capability("swap", False, "refused", "run: sudo ./lab doctor")
NAMES = list(PURPOSES)


def test_each_capability_has_a_card_from_the_start():
    shown = cards.render_cards([], "compiler")
    assert shown.count("not tried yet") == len(NAMES) - 1
    assert shown.count("is being tried") == 1
    assert f"0 of {len(NAMES)} tried." in shown
    assert all(f">{name}</b>" in shown for name in NAMES)


def test_a_card_says_in_words_and_by_a_sign_what_works():
    shown = cards.render_cards([WORKS, MISSING])
    assert shown.count("<b>works</b>") == shown.count("✓") == 1
    assert shown.count("<b>does not work</b>") == shown.count("✗") == 1
    assert "Tried: compiled a &lt;program&gt;" in shown
    assert "What to do: run: <code>sudo ./lab doctor</code>" in shown


def test_the_text_says_the_same_as_the_cards():
    said = cards.word_cards([WORKS, MISSING])
    assert "✓ compiler works: compiled a <program>." in said
    assert "✗ swap does not work: refused. What to do: run: sudo ./lab doctor" in said


def test_a_summary_names_what_does_not_work():
    assert cards.summarise([WORKS, WORKS]) == "All 2 things that were tried work."
    assert cards.summarise([WORKS, MISSING]) == "1 of 2 things that were tried work; not: swap."


def test_cards_are_filled_in_one_by_one(monkeypatch):
    shown = []

    def examine(on_try, on_found):
        on_try("compiler")
        on_found(WORKS)
        return [WORKS]

    monkeypatch.setattr(cards, "examine", examine)
    monkeypatch.setattr(DisplayHandle, "display", lambda _, data, raw: shown.append(data))
    monkeypatch.setattr(DisplayHandle, "update", lambda _, data, raw: shown.append(data))
    assert cards.show_examination() == [WORKS]
    before, trying, after = [data["text/html"] for data in shown]
    assert "is being tried" not in before
    assert "is being tried" in trying
    assert "compiled a" in after
    assert "is being tried" not in after


@pytest.mark.parametrize("name", NAMES)
def test_each_capability_has_a_purpose(name):
    assert len(PURPOSES[name].split()) >= 2
