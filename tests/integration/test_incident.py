"""The programs of the incident lab: what is said to be true of each is what is measured."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import require_tracer
from submissions import KEY

from lablib.comparison.stacks import measure_costs
from lablib.grading.evidence import Evidence
from lablib.grading.labs import LABS_DIR, list_sources, load_lab
from lablib.grading.limits import Limits
from lablib.grading.submissions import Submission
from lablib.grading.variants import draw_lab

SOURCES = list_sources(LABS_DIR / "incident")
LEVEL = "-O2"


def look(source):
    """What each call stack of the program, as it is handed out to a student, kept and held."""
    lab = draw_lab(load_lab("incident", source=source), KEY, "ada", source)
    with Evidence(lab, Submission(lab.read_source().encode(), {}), Limits()) as evidence:
        first, second = (evidence.measure(LEVEL, terms * lab.terms) for terms in (2, 4))
        return lab, measure_costs(first.trace, second.trace).values()


def find_own(cost):
    """The frame of the program itself that took it: the library's may lie before it."""
    return next(frame for frame in cost.usage.frames if "incident" in (frame.file or ""))


@pytest.fixture(scope="module")
def looks():
    """What was seen of each family, two at a time: to wait for."""
    require_tracer()
    with ThreadPoolExecutor(2) as pool:
        yield {source: pool.submit(look, source) for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES)
def test_its_truth_is_what_it_keeps_and_holds(looks, source):
    lab, costs = looks[source].result()
    truth = lab.truth
    kept = {
        (find_own(cost).function, find_own(cost).line, cost.usage.kind): cost.kept_bytes
        for cost in costs
        if cost.kept_bytes
    }
    for leak in truth["leaks"]:
        site = leak["function"], leak["line"]
        each = kept.pop((*site, leak["what"])) / 2 / lab.terms
        assert each == leak["bytes_per_term"]
        if leak["what"] == "thread_stack":  # what the library notes of a thread
            assert kept.pop((*site, "heap")) < 1000 * 2 * lab.terms
    assert kept == {}
    if not truth["is_leak"]:
        most = find_own(max(costs, key=lambda cost: cost.peak_bytes))
        assert (most.function, most.line) == (truth["holds"]["function"], truth["holds"]["line"])


@pytest.mark.parametrize("source", SOURCES)
def test_a_hand_out_does_not_tell_what_it_is(source):
    lab = load_lab("incident", source=source)
    first = lab.read_source().splitlines()[1]
    assert first.startswith(" * incident.c - ")
    assert not re.search(r"leak|lost|cache|limit|grow|free", lab.pager + first)


def test_what_lies_there_is_the_first_family():
    lab = load_lab("incident")
    assert (lab.folder / lab.source).read_text() == lab.read_source()
    families = {path.name for path in (lab.folder / "families").iterdir()}
    assert families == {
        f"{Path(source).stem}.{ending}" for source in SOURCES for ending in ("c", "json")
    }
    truths = [load_lab("incident", source=source).truth for source in SOURCES]
    assert sum(not truth["is_leak"] for truth in truths) == 4
    assert all(truth["is_leak"] == bool(truth["leaks"]) for truth in truths)
    assert all(truth["is_leak"] != ("holds" in truth) for truth in truths)
