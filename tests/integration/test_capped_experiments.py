"""Experiments in capped groups on this kernel: what they say is what the kernel has done."""

from pathlib import Path

import psutil
import pytest
from parallel import MACHINE

from lablib import capped
from lablib.capped import CappedExperiment
from lablib.errors import AppError, LabError
from lablib.exhaustion import measure_room
from lablib.system import read_swap_areas

pytestmark = [pytest.mark.usefixtures("capped_groups"), pytest.mark.xdist_group(MACHINE)]

MIB = 1 << 20


def run(steps, *arguments, **options):
    with CappedExperiment(*arguments, **options) as experiment:
        for step in steps:
            experiment.take_step(*step)
        return experiment.stop()


def test_the_page_cache_gives_way_and_the_file_is_the_same_afterwards():
    seen = run(
        [
            ("reader", "read", 30),
            ("wait", 0.3),
            ("eater", "grow", 64),
            ("wait_for_size", 30),
            ("eater", "grow", 0),
            ("wait", 0.3),
            ("reader", "read", 30),
        ],
        48 * MIB,
    )
    first, again = (step for step in seen.steps if step.command == "reader read 30")
    assert first.answer == again.answer
    assert first.answer["bytes"] == 30 * MIB
    cached = seen.sample_at(seen.steps[1].elapsed_s).memory
    left = seen.sample_at(again.elapsed_s).memory
    assert cached.file_bytes > 29 * MIB
    assert left.file_bytes < 48 * MIB - left.anon_bytes
    assert left.anon_bytes >= 30 * MIB
    assert left.oom_kills == 0
    assert seen.trace.memcg_reclaim.reclaimed_pages > 0
    assert seen.trace.memcg_reclaim.written_pages == 0
    assert seen.ends == ()


def test_what_grows_beyond_its_room_is_killed_and_all_is_gone_afterwards():
    with CappedExperiment(24 * MIB, swap_bytes=8 * MIB) as experiment:
        experiment.take_step("eater", "grow", 32)
        experiment.take_step("wait_for_kill", 20)
        experiment.take_step("wait", 0.3)
        path = Path(experiment.samples[0].memory.path)
        seen = experiment.stop()
    grow = seen.find_step("eater grow")
    (end,) = seen.ends
    room_bytes = measure_room(seen.sample_at(grow.elapsed_s))
    assert 31 * MIB < room_bytes <= 32 * MIB
    assert end.elapsed_s - grow.elapsed_s > 0.9 * room_bytes / (32 * MIB)  # never too early
    assert (end.name, end.signal) == ("eater", "SIGKILL")
    assert seen.victims == ("eater",)
    assert seen.samples[-1].memory.oom_kills == 1
    assert seen.samples[-1].members == ()
    assert seen.trace.swapped_out_bytes > 4 * MIB
    assert not path.exists()
    assert not psutil.pid_exists(end.pid)
    assert not [area for area in read_swap_areas() if area.path in seen.swap_source]


def test_the_largest_is_killed_and_oom_score_adj_changes_that():
    growing = [
        ("large", "grow", 128),
        ("wait_for_size", 20),
        ("large", "grow", 0),
        ("small", "grow", 16),
        ("wait_for_kill", 20),
    ]
    names = ("small", "large")
    seen = run(growing, 32 * MIB, names=names)
    assert seen.victims[0] == "large"
    small, large = seen.sample_before_end().members
    assert small.rss_bytes < large.rss_bytes
    seen = run([("small", "oom_score_adj", 900), *growing], 32 * MIB, names=names)
    assert seen.victims[0] == "small"
    small, large = seen.sample_before_end().members
    assert (small.score_adj, large.score_adj) == (900, 0)


def test_a_control_lowers_the_limit_and_starts_another_eater_after_a_kill():
    with CappedExperiment(48 * MIB, swap_bytes=32 * MIB) as experiment:
        assert experiment.ask("grow", 64) == {"rate": 64}
        experiment.take_step("wait_for_kill", 20)
        first = experiment.ends[0].pid
        assert experiment.ask("grow", 0) == {"rate": 0}
        assert experiment.ask("limit", 24) == {"limit_bytes": 24 * MIB}
        with pytest.raises(AppError, match="refused"):
            experiment.ask("grow", 100_000)
        with pytest.raises(AppError, match="eater runs"):
            experiment.start_eater()
        experiment.take_step("wait", 0.5)
        memory, members = experiment.samples[-1].memory, experiment.samples[-1].members
        assert memory.limit_bytes == 24 * MIB
        assert [member.name for member in members] == ["eater"]
        assert members[0].pid != first
    with pytest.raises(LabError, match="the experiment is over"):
        experiment.ask("grow", 8)


def test_a_wait_for_a_kill_that_does_not_come_ends():
    with CappedExperiment(24 * MIB) as experiment:
        with pytest.raises(LabError, match=r"nothing was killed within 0\.2 s"):
            experiment.take_step("wait_for_kill", 0.2)
        assert experiment.steps == []


def test_a_size_that_is_not_reached_ends_the_wait(monkeypatch):
    monkeypatch.setattr(capped, "SIZE_TIMEOUT_S", 0.2)
    with (
        CappedExperiment(24 * MIB) as experiment,
        pytest.raises(LabError, match="did not grow to 8 MiB"),
    ):
        experiment.take_step("wait_for_size", 8)


def test_followers_get_every_sample_until_the_end():
    with CappedExperiment(24 * MIB, interval_s=0.05) as experiment:
        followed = experiment.follow()
        first = next(followed)
        experiment.take_step("wait", 0.3)
        experiment.close()
        assert [first, *followed] == experiment.samples
    assert len(experiment.samples) > 3
    assert first.members[0].name == "eater"
