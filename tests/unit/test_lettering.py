"""Words on figures are Chinese where there is a font with the letters, and else English."""

import matplotlib
import pytest

from lablib.language import term
from lablib.plots import lettering
from lablib.plots.lettering import letter


@pytest.fixture(autouse=True)
def asked_anew():
    family = matplotlib.rcParams["font.family"]
    lettering._use_chinese_font.cache_clear()
    yield
    lettering._use_chinese_font.cache_clear()
    matplotlib.rcParams["font.family"] = family


def test_without_a_font_they_stay_english_and_a_sentence_says_so_once(monkeypatch, capsys):
    monkeypatch.setenv("LAB_LANG", "zh")
    monkeypatch.setattr(lettering, "FONT_FILES", ("/nowhere/font.ttc",))
    family = matplotlib.rcParams["font.family"]
    assert letter("time (s)") == "time (s)"
    assert letter("{label}: {count}", label=term("stack"), count=3) == "stack: 3"
    assert matplotlib.rcParams["font.family"] == family
    assert capsys.readouterr().out.count(lettering.FONT_PACKAGE) == 1


def test_with_a_font_they_are_chinese_and_matplotlib_falls_back_on_it(monkeypatch, capsys):
    font = matplotlib.font_manager.findfont("DejaVu Serif")  # any font that is not the first
    monkeypatch.setenv("LAB_LANG", "zh")
    monkeypatch.setattr(lettering, "FONT_FILES", ("/nowhere/font.ttc", font))
    assert letter("{label}: {count}", label=term("stack"), count=3) == "栈：3"
    assert matplotlib.rcParams["font.family"] == ["DejaVu Sans", "DejaVu Serif"]
    assert capsys.readouterr().out == ""


def test_english_looks_for_no_font(monkeypatch):
    monkeypatch.setenv("LAB_LANG", "en")
    monkeypatch.setattr(lettering, "FONT_FILES", None)
    assert letter("time (s)") == "time (s)"
