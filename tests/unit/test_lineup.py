"""Programs under letters: their charts, what is said of them, and what was known when."""

import dataclasses

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from lablib.apps import read_truth
from lablib.plots import plot_ages, plot_live_curves, plot_resident_curves
from lablib.plots.lineup import describe_ages, describe_live, describe_resident
from lablib.records import (
    AgeBand,
    Frame,
    HeapSnapshot,
    HeapTrace,
    ProcessResources,
    ReachabilityScan,
    StackReach,
    StackUsage,
    Target,
    TraceEvents,
)
from lablib.teaching import Classifier, clues_in_all, clues_in_resident, lineup
from lablib.teaching.classifier import KINDS

KIB = 1024
BLOCK = 123 * 8
FRAMES = (Frame("site", "app", 0x10, "app.c", 12), Frame("main", "app", 0x40, "app.c", 30))
SECONDS = 10


def make_trace(live_blocks, freed_blocks=lambda at: 0, rss_kib=lambda at: 100 * at, lost=0.0):
    """A trace of ten seconds, with a scan at its end; the functions take the time in seconds."""
    shots = []
    for half in range(2 * SECONDS + 1):
        at = half / 2
        live, freed = int(live_blocks(at)), int(freed_blocks(at))
        usage = StackUsage(
            FRAMES, (live + freed) * BLOCK, live + freed, freed * BLOCK, freed, mean_age_s=at / 2
        )
        resources = ProcessResources(10 << 20, int(rss_kib(at)) * KIB, 0, 0, 0, 1)
        shots.append(HeapSnapshot(at, (usage,), TraceEvents(live + freed, freed, 0), resources))
    scans = tuple(make_scan(at, shots[-1].live_blocks, lost) for at in (4.0, 10.0))
    return HeapTrace("ebpf", "6.1", Target(812, "app"), tuple(shots), scans=scans)


def make_scan(at, live_blocks, lost):
    """A scan that finds a tenth of the blocks from each second so far; a share of them is lost."""
    each = live_blocks // SECONDS
    gone = int(lost * each)
    bands = tuple(
        AgeBand(second, second + 1, each, each * BLOCK, gone, gone * BLOCK)
        for second in range(int(at))
        if each
    )
    lost_blocks = sum(band.lost_blocks for band in bands)
    reached = sum(band.live_blocks for band in bands) - lost_blocks
    reach = StackReach(
        *("heap", FRAMES, lost_blocks, lost_blocks * BLOCK, reached, reached * BLOCK), bands=bands
    )
    return ReachabilityScan(at, 0.01, 0.1, 1 << 20, (reach,) if bands else ())


LEAK = make_trace(lambda at: 10 * at, lost=1.0)
GROWTH = make_trace(lambda at: 10 * at)
PLATEAU = make_trace(lambda at: 20 * min(at, 4), rss_kib=lambda at: 100 * min(at, 4))
CHURN = make_trace(lambda at: 0, lambda at: 100 * at, rss_kib=lambda at: 12)
FELL = make_trace(lambda at: 100 if at == 3 else 0, lambda at: 100, rss_kib=lambda at: 400)


@pytest.fixture
def shown(monkeypatch):
    """What is displayed as text, as in a notebook."""
    had_shell = InteractiveShell.initialized()
    shell = InteractiveShell.instance()
    publisher = CapturingDisplayPublisher()
    monkeypatch.setattr(shell, "display_pub", publisher)
    yield lambda: "\n".join(each["data"]["text/plain"] for each in publisher.outputs)
    if not had_shell:
        InteractiveShell.clear_instance()


def draw_named(traces):
    """Suspects with the traces of this file, under the names of real apps."""
    return lineup.draw_lineup(traces, seed=3)


def test_the_letters_are_in_order_and_the_programs_in_one_that_is_drawn():
    traces = dict.fromkeys(lineup._EIGHT, GROWTH)
    orders = {tuple(each.name for each in lineup.draw_lineup(traces)) for _ in range(20)}
    assert len(orders) > 1
    assert all(sorted(order) == sorted(traces) for order in orders)
    assert [each.letter for each in lineup.draw_lineup(traces)] == list("ABCDEFGH")
    assert lineup.draw_lineup(traces, seed=1) == lineup.draw_lineup(traces, seed=1)


def test_the_eight_are_apps_of_all_kinds_and_their_truth_agrees():
    kinds = {kind for program in lineup._EIGHT.values() for kind in program.kinds}
    assert kinds | {"open"} == set(KINDS)
    for name, program in lineup._EIGHT.items():
        truth = read_truth(name)
        assert truth["is_leak"] == (program.kinds[0] in ("leaking", "growing"))
        assert set(program.kinds) & set(truth["verdicts"])


def test_each_kind_and_answer_has_a_clue():
    suspects = [
        dataclasses.replace(suspect, letter=name)
        for name in lineup._EIGHT
        for suspect in draw_named({name: GROWTH})
    ]
    for clues in (clues_in_resident(suspects), clues_in_all(suspects)):
        for suspect in suspects:
            assert all(len(clues(suspect.letter, said).split()) > 8 for said in KINDS)


def test_clues_of_the_first_round_name_no_program_and_no_kind():
    (suspect,) = draw_named({"fib_leak": LEAK})
    clue = clues_in_resident([suspect])("A", "plateau")
    assert clue.startswith("RSS rises by 1,000 KiB, 500 KiB of it in the second half.")
    assert "fib" not in clue
    assert "Lost or still in use" in clues_in_resident([suspect])("A", "growing")


def test_clues_of_the_second_round_name_the_kind_and_its_numbers():
    (suspect,) = draw_named({"fib_leak": LEAK})
    clue = clues_in_all([suspect])("A", "plateau")
    assert clue.startswith("Leak. Blocks are lost")
    assert "of 100 blocks 0 were freed" in clue
    (cache,) = draw_named({"lru_cache": PLATEAU})
    assert clues_in_all([cache])("A", "leaking").startswith("Plateau or churn. It rose and is full")


def test_charts_have_the_letters_and_their_own_scales():
    traces = {"A": LEAK, "B": PLATEAU, "C": CHURN, "D": FELL, "E": GROWTH}
    for plot in (plot_resident_curves, plot_live_curves, plot_ages):
        figure, words = plot(traces)
        drawn = [axes for axes in figure.axes if axes.axison]
        assert [axes.get_title() for axes in drawn] == list(traces)
        assert all(f"{letter}: " in words for letter in traces)
    figure, _ = plot_resident_curves(traces)
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == [50 * step for step in range(21)]
    assert figure.axes[2].get_ylim()[1] > 60  # 12 KiB are no mountain


def test_lost_bytes_are_drawn_apart_and_hatched():
    figure, words = plot_ages({"A": LEAK, "B": GROWTH})
    lost, reached = figure.axes[0].patches, figure.axes[1].patches
    assert {patch.get_hatch() for patch in lost} == {"xxxx"}
    assert {patch.get_hatch() for patch in reached} == {""} or not reached[0].get_hatch()
    assert sum(patch.get_height() for patch in lost) == pytest.approx(100 * BLOCK / KIB)
    assert "A: 96.1 KiB are live, allocated from 0 to 10 s in 10 tenths" in words
    assert "none of it lost" in words


def test_a_trace_without_a_scan_says_so():
    unscanned = dataclasses.replace(LEAK, scans=())
    refused = dataclasses.replace(
        LEAK, scans=(ReachabilityScan(1.0, 0.0, 0.0, 0, (), ("another tracer has it",)),)
    )
    for trace in (unscanned, refused):
        figure, words = plot_ages({"A": trace})
        assert "not looked what still points" in words
        assert figure.axes[0].texts[0].get_text() == "not looked at"


def test_curves_in_words():
    assert describe_resident(PLATEAU) == "RSS rises by 400 KiB, none of it late."
    assert describe_resident(CHURN) == "RSS hardly changes."
    assert describe_live(CHURN) == "Nothing is live at any look; of 1,000 blocks 1,000 were freed."
    assert describe_live(FELL).startswith("96.1 KiB are live at most, 0 bytes at the end")
    assert describe_ages(CHURN) == "Nothing is live."


def test_what_was_known_after_some_seconds():
    early = lineup.take_first(LEAK, 4.0)
    assert early.seconds == 4.0
    assert [scan.elapsed_s for scan in early.scans] == [4.0]
    assert len(early.snapshots) == 9


def test_tables_have_a_row_for_each(shown):
    suspects = draw_named({"fib_leak": LEAK, "lru_cache": PLATEAU, "alloc_free": CHURN})
    rounds = Classifier({each.letter: each.kinds for each in suspects}, clues_in_all(suspects))
    letter = next(each.letter for each in suspects if each.name == "fib_leak")
    rounds.choose(letter, "leaking")
    rounds.give()
    lineup.show_blocks(suspects)
    lineup.show_answers(suspects, rounds)
    lineup.show_in_time(suspects, (1.0, 4.0))
    text = shown()
    assert f"{letter}      100        0 %    100 %" in text
    assert "0 %" in next(line for line in text.splitlines() if "1,000 " in line)
    who = next(line for line in text.splitlines() if "fib_leak" in line)
    assert who.split()[:2] == [letter, "fib_leak"]
    assert who.split()[-2:] == ["leak", "leaking"]
    cache = next(line for line in text.splitlines() if "lru_cache" in line)
    assert cache.split()[-2:] == ["-", "plateau"]
    assert "fib_leak    not enough evidence yet" in text
