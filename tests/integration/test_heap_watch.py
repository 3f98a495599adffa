"""An app's heap, watched beside a notebook: live, stopped early, and from a recording."""

import itertools

import psutil
import pytest

from lablib.apps import LocalApp, build_app
from lablib.errors import RecordingError
from lablib.recording import load_trace, save_trace
from lablib.teaching import HeapWatch

pytestmark = pytest.mark.usefixtures("tracer_service")


@pytest.fixture
def app():
    with LocalApp(build_app("fib_leak"), rate=100) as app:
        yield app


def test_it_releases_the_app_and_gives_each_snapshot_as_it_comes(app, tmp_path):
    with HeapWatch("none", app, 2, 0.2, tmp_path) as heap:
        assert heap.is_live
        first = list(itertools.islice(heap.follow(), 3))
        again = list(itertools.islice(heap.source(), 3))
        trace = heap.finish()
    assert first == again == list(trace.snapshots[:3])
    assert first[0].live_bytes == 0
    assert list(heap.follow()) == list(trace.snapshots)
    last = trace.snapshots[-1]
    assert last.live_blocks == pytest.approx(100 * last.elapsed_s, rel=0.3)
    assert trace.scans[-1].stacks[0].lost_blocks > 100
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_for_is_kept_for_others(app, tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_SAVE_RECORDINGS", "1")
    with HeapWatch("kept", app, 1, 0.2, tmp_path) as heap:
        trace = heap.finish()
    kept = load_trace(tmp_path / "kept.json.gz")
    assert (kept.snapshots, kept.scans) == (trace.snapshots, trace.scans)
    assert kept.target.command.startswith("leaky_apps/")  # it doesn't tell where that was


def test_leaving_early_stops_it(app, tmp_path):
    with HeapWatch("none", app, 600, 0.2, tmp_path) as heap:
        seen = list(itertools.islice(heap.follow(), 3))
    assert list(heap.follow())[:3] == seen
    assert app.read_logs().startswith("2th => 1\n")
    assert psutil.Process(app.pid).status() != psutil.STATUS_ZOMBIE


def test_a_recording_takes_its_place_and_the_app_runs_all_the_same(app, tmp_path, monkeypatch):
    with HeapWatch("made", app, 1, 0.2, tmp_path) as heap:
        save_trace(heap.finish(), tmp_path / "made.json.gz")
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    with LocalApp(build_app("fib_leak"), rate=0, terms=3) as other:
        with HeapWatch("made", other, 600, 0.2, tmp_path) as heap:
            assert not heap.is_live
            assert heap.finish().source.startswith("recorded: ")
            assert list(heap.source) == list(heap.finish().snapshots)
        assert other.wait(10) == 0
    with pytest.raises(RecordingError, match="no recording of nothing"):
        HeapWatch("nothing", app, 1, 0.2, tmp_path)
