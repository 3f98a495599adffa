"""A program with little memory: capped, watched, killed; and nothing of it stays behind."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from abuse import connect_as, converse, frame, read_refusal
from census import read_groups
from parallel import MACHINE

from lablib.apps import LocalApp, build_app
from lablib.errors import AppError, ProcessError, TargetError, TracerError
from lablib.steering import SteeredApp
from lablib.system import find_cgroup, read_cgroup, read_swap_areas, sample_vmstat
from lablib.tracing import client, control, holdings, swap_device
from lablib.tracing.group_session import GroupSession
from lablib.tracing.groups import CappedGroup
from lablib.tracing.pressure import PressureTracer
from lablib.tracing.protocol import MAX_SWAP_BYTES
from lablib.tracing.room import MAX_GROUPS_PER_USER

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
RATE = 200
TIMEOUT_S = 30
NOBODY = pwd.getpwnam("nobody").pw_uid

pytestmark = [pytest.mark.usefixtures("capped_groups"), pytest.mark.xdist_group(MACHINE)]
needs_root = pytest.mark.usefixtures("root")


@pytest.fixture
def eater():
    with SteeredApp(build_app("eater")) as app:
        yield app


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def eat(app, size_bytes):
    """Have it take at least so much, and pause; return how much it has then."""
    app.ask("grow", RATE)
    wait_until(lambda: app.ask("info")["bytes"] >= size_bytes)
    app.ask("grow", 0)
    return app.ask("info")["bytes"]


def eat_to_death(app):
    app.ask("grow", RATE)
    wait_until(lambda: not app.is_running)
    with pytest.raises(AppError, match="killed by SIGKILL"):
        app.ask("info")


def list_swap():
    return {Path(area.path).name for area in read_swap_areas()}


class TestCappedGroup:
    def test_what_outgrows_its_cap_is_killed_and_nothing_else(self, eater):
        with (
            SteeredApp(build_app("eater")) as other,
            CappedGroup(64 * MIB) as group,
            PressureTracer(group) as tracer,
            PressureTracer(other.pid) as tracer_of_other,
        ):
            group.take(eater.pid)
            assert find_cgroup(eater.pid) == group.path
            eat(other, 80 * MIB)
            eat_to_death(eater)
            memory, trace = group.read(), tracer.stop()
            assert other.is_running
            assert tracer_of_other.stop().oom_kills == ()
        assert (memory.oom_kills, memory.process_count) == (1, 0)
        assert memory.peak_bytes in (None, 64 * MIB)
        (kill,) = trace.oom_kills
        assert (kill.pid, kill.command, kill.score_adj) == (eater.pid, "eater", 0)
        assert 0 < kill.score <= 2000
        assert kill.rss_anon_bytes is None or 56 * MIB < kill.rss_anon_bytes <= 64 * MIB
        assert trace.memcg_reclaim.count > 0
        assert trace.is_complete
        assert not trace.unavailable

    def test_of_two_in_a_group_the_larger_one_is_killed(self, eater):
        with (
            SteeredApp(build_app("eater")) as smaller,
            CappedGroup(64 * MIB) as group,
            PressureTracer(group) as tracer,
        ):
            for app in (eater, smaller):
                group.take(app.pid)
            eat(smaller, 8 * MIB)
            eat_to_death(eater)
            assert smaller.ask("info")["bytes"] >= 8 * MIB
            assert [kill.pid for kill in tracer.stop().oom_kills] == [eater.pid]

    def test_an_app_that_is_held_is_capped_from_its_first_term(self):
        with CappedGroup(16 * MIB) as group, LocalApp(build_app("fib_leak"), rate=0) as app:
            group.take(app.pid)
            app.release()
            assert app.wait(TIMEOUT_S) == -signal.SIGKILL
            assert group.read().oom_kills == 1

    def test_swap_takes_what_is_over_the_cap_and_gives_it_back(self, eater):
        before = list_swap()
        with (
            contextlib.closing(sample_vmstat(1)) as samples,
            CappedGroup(32 * MIB, swap_bytes=48 * MIB) as group,
            PressureTracer(group) as tracer,
        ):
            next(samples)
            group.take(eater.pid)
            taken = eat(eater, 56 * MIB)
            memory, trace = group.read(), tracer.read()
            assert next(samples).swap_out_bytes_per_s > 0
            assert memory.usage_bytes <= 32 * MIB
            assert taken - 32 * MIB <= memory.swap_bytes <= 48 * MIB
            assert trace.swapped_out_bytes >= memory.swap_bytes
            touched = eater.ask("touch", 100)
            assert touched["major_faults"] >= memory.swap_bytes // PAGE // 2
            trace = tracer.stop()
            assert trace.major_faults >= touched["major_faults"]
            assert trace.is_complete
            assert eater.is_running
            assert group.read().oom_kills == 0
        assert list_swap() == before
        with pytest.raises(ProcessError, match="has been removed"):
            group.read()

    def test_lowering_the_limit_takes_pages_back(self, eater):
        with CappedGroup(64 * MIB, 32 * MIB) as group, PressureTracer(group) as tracer:
            group.take(eater.pid)
            eat(eater, 48 * MIB)
            assert tracer.read().by_limit.count == 0
            group.set_limit(32 * MIB)
            memory, trace = group.read(), tracer.read()
            assert (memory.limit_bytes, memory.swap_limit_bytes) == (32 * MIB, 32 * MIB)
            assert memory.usage_bytes <= 32 * MIB
            assert trace.by_limit.count > 0
            assert trace.by_limit.seconds >= trace.by_limit.longest_s > 0
            assert trace.by_limit.swapped_out_pages >= 16 * MIB // PAGE - 64
            group.set_limit(80 * MIB)
            assert group.read().limit_bytes == 80 * MIB

    def test_a_limit_far_below_what_is_in_use_kills_or_is_refused_by_version(self, eater):
        with CappedGroup(64 * MIB) as group:
            group.take(eater.pid)
            eat(eater, 48 * MIB)
            if group.read().version == 1:
                with pytest.raises(TracerError, match="in use"):
                    group.set_limit(16 * MIB)
                memory = group.read()
                assert (memory.limit_bytes, memory.swap_limit_bytes) == (64 * MIB, 0)
            else:
                group.set_limit(16 * MIB)
                wait_until(lambda: not eater.is_running)

    def test_killing_ends_what_is_in_the_group_and_keeps_it(self, eater):
        with CappedGroup(64 * MIB) as group:
            group.kill()
            group.take(eater.pid)
            samples = list(group.sample(0.1, 0.02))
            assert {sample.process_count for sample in samples} == {1}
            assert samples[0].elapsed_s < samples[-1].elapsed_s
            group.kill()
            assert group.read().process_count == 0
            assert not eater.is_running

    def test_closing_twice_is_closing_once(self):
        group = CappedGroup(16 * MIB)
        group.close()
        group.close()
        with pytest.raises(TracerError):
            group.kill()

    def test_a_process_s_children_are_watched_and_capped_too(self):
        with (
            SteeredApp(build_app("pages")) as app,
            CappedGroup(16 * MIB, 16 * MIB) as group,
            PressureTracer(app.pid) as tracer,
        ):
            group.take(app.pid)
            app.ask("reserve", 12 * MIB)
            child = app.ask("fork")["child"]
            assert find_cgroup(child) == group.path
            app.ask("touch", 100)
            app.ask("child_write", 12 * MIB // PAGE)
            assert tracer.stop().memcg_reclaim.swapped_out_pages > 0


class TestPermission:
    def test_only_what_you_have_started_is_taken(self, eater):
        stranger = subprocess.Popen(
            ["/bin/sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, text=True
        )
        orphan = int(stranger.stdout.readline())
        stranger.wait()
        ended = subprocess.Popen(["true"])
        ended.wait()
        try:
            with CappedGroup(16 * MIB) as group:
                for pid in (os.getpid(), os.getppid(), 1, orphan, ended.pid, 1 << 30):
                    with pytest.raises(TargetError):
                        group.take(pid)
                group.take(eater.pid)  # the group has survived all of it
                assert group.read().process_count == 1
        finally:
            os.kill(orphan, signal.SIGKILL)

    @pytest.mark.parametrize(
        ("limit_bytes", "swap_bytes", "why"),
        [
            (0, 0, "limit_bytes must be"),
            (1 * MIB, 0, "limit_bytes must be"),
            (1 << 40, 0, "limit_bytes must be"),
            (-1, 0, "limit_bytes must be"),
            (64 * MIB, MAX_SWAP_BYTES + 1, "swap_bytes must be"),
            (64 * MIB, -1, "swap_bytes must be"),
        ],
    )
    def test_sizes_out_of_bounds_are_refused(self, limit_bytes, swap_bytes, why):
        with pytest.raises(TracerError, match=why):
            CappedGroup(limit_bytes, swap_bytes)

    def test_all_swap_of_the_lab_has_one_bound(self):
        with (
            CappedGroup(16 * MIB, 16 * MIB),
            pytest.raises(TracerError, match="MiB of swap in use already"),
        ):
            CappedGroup(16 * MIB, MAX_SWAP_BYTES)

    @needs_root
    def test_a_user_may_not_take_or_watch_what_is_anothers(self, eater):
        make = frame({"operation": "make_group", "limit_bytes": 16 * MIB})
        with CappedGroup(16 * MIB) as group, connect_as(NOBODY) as connection:
            assert "group" in converse(connection, make, 1)[0]
            take = frame({"operation": "take", "pid": eater.pid})
            assert "is not yours" in read_refusal(converse(connection, take, 1)[0])
            watch = frame({"operation": "trace_pressure", "group": group.name})
            with connect_as(NOBODY) as second:
                assert "no such group" in read_refusal(converse(second, watch, 1)[0])
            assert group.read().process_count == 0

    @needs_root
    def test_a_user_gets_a_few_groups_and_a_sentence_beyond_them(self):
        make = frame({"operation": "make_group", "limit_bytes": 8 * MIB})
        with contextlib.ExitStack() as stack:
            answers = []
            for _ in range(MAX_GROUPS_PER_USER + 1):
                connection = stack.enter_context(connect_as(NOBODY))
                answers += converse(connection, make, 1)
        assert ["group" in answer for answer in answers] == [True] * MAX_GROUPS_PER_USER + [False]
        assert f"at most {MAX_GROUPS_PER_USER} of one user" in read_refusal(answers[-1])

    def test_what_is_no_request_is_answered_and_the_group_stays(self):
        make = frame({"operation": "make_group", "limit_bytes": 16 * MIB})
        with client.connect() as connection:
            assert "group" in converse(connection, make, 1)[0]
            for request in (
                {},
                {"operation": "take"},
                {"operation": ["take"]},
                {"operation": "take", "pid": "1"},
                {"operation": "set_limit"},
                {"operation": "set_limit", "limit_bytes": 1 << 60},
                {"operation": "trace_heap", "pid": 1},
            ):
                assert "error" in converse(connection, frame(request), 1)[0]
            assert converse(connection, frame({"operation": "kill"}), 1) == [{"processes": []}]

    def test_a_group_without_sizes_is_a_sentence(self):
        with client.connect() as connection:
            answer = converse(connection, frame({"operation": "make_group"}), 1)[0]
        assert "limit_bytes" in read_refusal(answer)


HOLD_A_GROUP = """
import sys, time
from lablib.apps import build_app
from lablib.steering import SteeredApp
from lablib.tracing.groups import CappedGroup
group, app = CappedGroup(16 << 20, swap_bytes=16 << 20), SteeredApp(build_app("eater"))
group.take(app.pid)
app.ask("grow", 100)
while group.read().swap_bytes < 4 << 20:
    time.sleep(0.01)
app.ask("grow", 0)
print(group.path, app.pid, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held_group():
    """An experiment in a process of its own: that process, the group's folder, the app's id."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_A_GROUP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            path, pid = holder.stdout.readline().split()
            yield holder, Path(path), int(pid)
        finally:
            holder.kill()


def is_gone(folder, pid):
    return not folder.exists() and not is_alive(pid)


def is_alive(pid):
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture
def own_service(root, monkeypatch):
    """A tracer service that may be killed."""
    with tempfile.TemporaryDirectory(prefix="lab-groups-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("LAB_TRACER_SOCKET", str(Path(folder) / "tracer.sock"))
        yield control.start_service()["pid"]
        with contextlib.suppress(TracerError):
            client.stop_service()


class TestSuddenEnds:
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
    def test_the_end_of_the_client_ends_the_experiment(self, how):
        before = list_swap()
        with held_group() as (holder, folder, pid):
            assert read_cgroup(folder).process_count == 1
            holder.send_signal(how)
            holder.wait(timeout=60)
            wait_until(lambda: is_gone(folder, pid) and list_swap() <= before)

    @needs_root
    def test_a_session_that_is_killed_is_swept_up_by_the_service(self):
        before = list_swap()
        service = client.read_status()["pid"]
        with held_group() as (_, folder, pid):
            (facts,) = read_groups(service)
            os.kill(facts["worker"], signal.SIGKILL)
            wait_until(lambda: is_gone(folder, pid) and list_swap() <= before)
            assert read_groups(service) == []

    def test_the_sudden_end_of_the_service_ends_the_experiment(self, own_service):
        before = list_swap()
        with held_group() as (_, folder, pid):
            os.kill(own_service, signal.SIGKILL)
            wait_until(lambda: is_gone(folder, pid) and list_swap() <= before)

    @pytest.mark.alone  # any service that starts meanwhile would sweep first
    def test_clean_removes_what_a_killed_service_and_its_killed_session_left(self, own_service):
        before = list_swap()
        with held_group() as (_, folder, pid):
            (facts,) = read_groups(own_service)
            os.kill(own_service, signal.SIGSTOP)  # else it would sweep
            os.kill(facts["worker"], signal.SIGKILL)
            os.kill(own_service, signal.SIGKILL)
            wait_until(lambda: not is_alive(own_service))
            assert read_cgroup(folder).process_count == 1
            assert list_swap() - before
            removed = control.remove_groups()
            assert any(folder.name in line for line in removed)
            wait_until(lambda: is_gone(folder, pid) and list_swap() <= before)
            assert control.remove_groups() == []

    @pytest.mark.alone
    def test_a_service_removes_at_its_start_what_another_left_and_its_own_at_its_end(
        self, own_service
    ):
        before = list_swap()
        with held_group() as (_, folder, pid):
            (facts,) = read_groups(own_service)
            os.kill(own_service, signal.SIGSTOP)
            os.kill(facts["worker"], signal.SIGKILL)
            os.kill(own_service, signal.SIGKILL)
            wait_until(lambda: not is_alive(own_service))
            control.start_service()
            wait_until(lambda: is_gone(folder, pid) and list_swap() <= before)
        with held_group() as (_, folder, pid):
            client.stop_service()
            wait_until(lambda: is_gone(folder, pid) and list_swap() <= before)


@needs_root
def test_a_swap_file_has_no_holes_and_is_nobody_elses():
    file = holdings.STATE_DIR / f"test-{os.getpid()}.swap"
    try:
        swap_device.start_file(file, 4 * MIB)
        status = file.stat()
        assert status.st_blocks * 512 >= status.st_size == 4 * MIB
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert file.name in list_swap()
        with pytest.raises(FileExistsError):
            swap_device.start_file(file, 4 * MIB)
    finally:
        swap_device.remove_file(file)
    assert file.name not in list_swap()
    assert not file.exists()
    swap_device.remove_file(file)  # once more is nothing


@needs_root
def test_without_zram_the_swap_is_a_file(monkeypatch, eater):
    monkeypatch.setattr(swap_device, "ZRAM_CONTROL", Path("/nowhere"))
    former = signal.getsignal(signal.SIGTERM)
    try:
        with GroupSession(os.getpid(), 0, 16 * MIB, 16 * MIB) as session:
            assert session.description["swap_source"] == "file"
            (name,) = (name for name in list_swap() if session.description["group"] in name)
            session.answer({"operation": "take", "pid": eater.pid})
            eat(eater, 24 * MIB)
            assert read_cgroup(Path(session.description["path"])).swap_bytes >= 8 * MIB
    finally:
        signal.signal(signal.SIGTERM, former)
    assert name not in list_swap()
    assert not (holdings.STATE_DIR / name).exists()


def test_groups_one_after_the_other_leave_no_trace():
    before = {*list_swap(), *Path("/sys/block").glob("zram*")}
    for _ in range(5):
        with CappedGroup(16 * MIB, 4 * MIB):
            pass
    assert {*list_swap(), *Path("/sys/block").glob("zram*")} <= before
