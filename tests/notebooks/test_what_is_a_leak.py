"""06: eight programs, and what can be said of them."""

import re

import nbformat
import pytest
from descendants import list_own_apps
from execution import NOTEBOOKS, UNIT, execute
from outputs import read_outputs, read_result, read_shown, read_table

pytestmark = pytest.mark.xdist_group(UNIT)

LEAK = "06_what_is_a_leak"


def read_answers():
    """For each program of 06: its letter, and what lablib says of it."""
    rows = read_table(LEAK, "Who is who").items()
    return {name: (letter, verdict) for letter, (name, _, _, _, verdict) in rows}


def test_what_is_a_leak_shows_its_figures_and_asks_without_waiting():
    text, figures = read_outputs(LEAK)
    assert len(figures) == 4
    assert re.findall(r"^Round (\d): no answers were given\.$", text, re.MULTILINE) == ["1", "2"]
    assert read_shown(LEAK).count("No answers were given.") == 2
    assert re.search(
        r"^8 programs were traced for 10 s; they have all ended\.$", text, re.MULTILINE
    )
    assert list_own_apps() == []


def test_what_is_a_leak_is_right_about_the_eight_and_wrong_about_none():
    """On a machine that is very busy two may not be decided after ten seconds."""
    right = {
        "fib_leak": {"leaking"},
        "error_path": {"leaking"},
        "session_registry": {"growing"},
        "warm_up": {"plateau"},
        "lru_cache": {"plateau", "churn"},
        "sawtooth": {"churn"},
        "alloc_free": {"churn"},
        "arena_retention": {"retention"},
    }
    said = {name: verdict for name, (_, verdict) in read_answers().items()}
    assert said.keys() == right.keys()
    unsure = {name for name, verdict in said.items() if verdict == "not enough evidence yet"}
    assert len(unsure) <= 2
    assert {name: said[name] for name in right if said[name] not in right[name]}.keys() == unsure


def test_what_is_a_leak_says_of_rss_and_of_blocks_what_they_show():
    letters = {name: letter for name, (letter, _) in read_answers().items()}
    _, figures = read_outputs(LEAK)
    rss, live, ages, _ = (figure.data["text/plain"] for figure in figures)
    assert read_result(LEAK, "In how many of the eight does RSS still rise in the") == "3 programs"
    for name in ("fib_leak", "error_path", "session_registry"):
        assert re.search(rf"{letters[name]}: RSS rises by [\d.,]+ .iB, [\d.,]+ .iB of it in", rss)
    for name in ("warm_up", "lru_cache", "arena_retention"):
        assert re.search(rf"{letters[name]}: RSS rises by [\d.,]+ .iB, none of it late", rss)
    assert re.search(rf"{letters['arena_retention']}: [\d.]+ MiB are live at most, \d+ byt", live)
    for name, (letter, verdict) in read_answers().items():
        is_lost = re.search(rf"\b{letter}: [^:]* of it lost", ages) is not None
        assert (
            is_lost and "none of it lost" not in ages.split(f"{letter}: ")[1].split(": ")[0]
        ) == (verdict == "leaking"), name


def test_what_is_a_leak_knows_how_old_the_blocks_are():
    letters = {name: letter for name, (letter, _) in read_answers().items()}
    rows = read_table(LEAK, "The blocks of each program")
    blocks = {name: rows[letter] for name, letter in letters.items()}
    for name in ("fib_leak", "session_registry", "warm_up"):
        assert blocks[name][1:] == ["0 %", "100 %"]
    for name in ("alloc_free", "sawtooth", "lru_cache", "arena_retention"):
        assert blocks[name][2] == "0 %"
    assert 85 <= int(blocks["error_path"][1].removesuffix(" %")) <= 90
    assert read_result(LEAK, "When were the live blocks") == "“Evenly over the whole time”"


def test_what_is_a_leak_waits_for_evidence_and_never_calls_a_look_alike_a_leak():
    rows = read_table(LEAK, "What lablib says, and when")
    leaks = {"fib_leak", "error_path"}
    assert all("leaking" not in said for name, said in rows.items() if name not in leaks)
    early = [said[0] for said in rows.values()]
    count = early.count("not enough evidence yet")
    assert count >= 3
    asked = "After 1.5 seconds: on how many of the eight"
    assert read_result(LEAK, asked).startswith(f"{count} program")
    assert "Not enough evidence yet about resolve" in read_outputs(LEAK)[0]


def test_what_is_a_leak_without_the_tracer_shows_its_recording_and_says_so(monkeypatch):
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    notebook = execute(nbformat.read(NOTEBOOKS / f"{LEAK}.ipynb", as_version=4))
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    assert text.count("RECORDED, not live") == 1
    assert "error_path: leaking" in text
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 4
