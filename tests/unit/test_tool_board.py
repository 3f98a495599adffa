"""The matrix that a learner predicts and runs, its costs as a figure, and the guide."""

import pytest

from lablib.errors import LabError, ToolMissingError
from lablib.plots import plot_tool_costs
from lablib.plots.tools import read_costs
from lablib.recording import save_recording
from lablib.records import TOOL_OUTCOMES, ToolMatrix, ToolReport, ToolRun
from lablib.teaching import ToolBoard, ToolGuide
from lablib.teaching.tool_board import LETTERS, choices_of
from lablib.teaching.tool_inspection import render_run
from lablib.tools import EXHIBITS, Tool


def refuse(trial):
    raise ToolMissingError("one is not installed", "run: sudo apt-get install one")


ONE = (Tool("one", refuse, "one", "all"),)
TWO_PROGRAMS = [each for each in EXHIBITS if each.name in ("fib_leak", "lru_cache")]


@pytest.fixture
def board(tmp_path):
    return ToolBoard("matrix", ONE, TWO_PROGRAMS, tmp_path)


def test_each_outcome_has_a_letter():
    assert {outcome for outcome, _ in LETTERS.values()} == set(TOOL_OUTCOMES)


def test_what_leaks_has_other_choices_than_what_does_not():
    assert choices_of("fib_leak") == ["F", "S", "M", "X"]
    assert choices_of("lru_cache") == ["Q", "A", "X"]


def test_only_what_can_come_out_can_be_predicted(board):
    board.choose("one", "fib_leak", "F")
    assert board.predictions == {("one", "fib_leak"): "F"}
    for cell in (("one", "lru_cache", "F"), ("two", "fib_leak", "F"), ("one", "nowhere", "F")):
        with pytest.raises(LabError):
            board.choose(*cell)


def test_predictions_stand_beside_the_results_and_stay(board, capsys):
    board.choose("one", "fib_leak", "X")
    board.choose("one", "lru_cache", "Q")
    board.run()
    assert "one              X X" in repr(board)
    page = board._to_html()
    assert "(you: X ✓)" in page
    assert "(you: Q ✗)" in page
    board.show_score()
    assert "1 of 2" in capsys.readouterr().out
    with pytest.raises(LabError):
        board.choose("one", "fib_leak", "M")


def test_a_cell_that_can_not_run_says_how_and_what_was_recorded(board, tmp_path, capsys):
    report = ToolReport("one fib_leak", "all is <well>")
    there = ToolRun("one", "fib_leak", 400, "missed", "It says nothing of it.", report)
    save_recording(ToolMatrix((there,), (), 1.0), tmp_path / "matrix.json.gz")
    board.run()
    page = render_run(board.find("one", "fib_leak"), board.find_recorded("one", "fib_leak"))
    assert "run: sudo apt-get install one" in page
    assert "Where it was recorded: missed." in page
    assert "all is &lt;well&gt;" in page
    capsys.readouterr()
    assert board.run_one("one", "fib_leak").report == report
    assert capsys.readouterr().out.startswith("RECORDED, not live (one is not installed")


def make_run(tool, work_seconds, peak_rss_bytes):
    report = ToolReport("", "", work_seconds=work_seconds, peak_rss_bytes=peak_rss_bytes)
    return ToolRun(tool, "fib_fixed", 10, "quiet", "", report)


def test_costs_are_told_beside_a_run_without_a_tool():
    missing = ToolRun("absent", "fib_fixed", 10, "can't run", "")
    runs = (make_run("slow", 3.0, 1 << 20), make_run("unseen", None, 4 << 20), missing)
    matrix = ToolMatrix(runs, (make_run("plain", 0.1, 1 << 20),), 1.0)
    slower, larger = read_costs(matrix)
    assert slower == pytest.approx({"slow": 30.0})
    assert larger == {"slow": 1.0, "unseen": 4.0}
    _, said = plot_tool_costs(matrix)
    assert "slow: 30 times the time, 1.0 times the memory" in said
    assert "absent: not measured the time" in said


def test_the_guide_keeps_the_last_choice_and_says_whether_it_fits(capsys):
    guide = ToolGuide()
    guide.ask("No rights", "No root.", {"memleak": "No. It needs root.", "pmap": "Yes. It runs."})
    assert guide.choose("No rights", "memleak") == "No. It needs root."
    assert guide.choose("No rights", "pmap") == "Yes. It runs."
    capsys.readouterr()
    guide.show()
    assert "✓ fits" in capsys.readouterr().out
