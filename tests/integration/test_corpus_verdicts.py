"""The lab's verdicts on the whole corpus after ten seconds: none is wrong, hardly one undecided."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import require_tracer

from benchmarks.corpus_runs import judge_app, run_app
from benchmarks.verdicts_page import MAX_UNDECIDED
from lablib.apps import build_app, list_corpus

SECONDS = 10
AT_A_TIME = 10


@pytest.fixture(scope="module")
def judgements():
    """What is said of each program; many wait most of the time, so they are run side by side."""
    require_tracer()
    apps = [build_app(name) for name in list_corpus()]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        traces = list(pool.map(lambda app: run_app(app, SECONDS, moments_s=()), apps))
    return {
        app.name: judge_app(app, trace, SECONDS) for app, trace in zip(apps, traces, strict=True)
    }


def test_no_verdict_is_wrong(judgements):
    wrong = {name: said.verdict.sentence for name, said in judgements.items() if said.is_wrong}
    assert wrong == {}


def test_hardly_one_is_undecided(judgements):
    undecided = [name for name, said in judgements.items() if said.word == "undecided"]
    assert len(undecided) <= MAX_UNDECIDED, undecided


def test_every_leak_is_found_where_it_is(judgements):
    elsewhere = [
        name for name, said in judgements.items() if said.word == "leak" and not said.is_placed
    ]
    assert elsewhere == []
