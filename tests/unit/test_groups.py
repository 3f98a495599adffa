"""What a capped group needs before it is made, and what is remembered so that it goes again."""

import fcntl
import json
import os

import pytest

from lablib.errors import TracerError
from lablib.records import SwapArea, Target
from lablib.tracing import capped_cgroup, holdings, protocol, room, swap_device
from lablib.tracing.formats import parse_format, read_offsets
from lablib.tracing.permission import is_descendant
from lablib.tracing.pressure import decode_pressure
from lablib.tracing.protocol import RECLAIM_FIELDS, RECLAIM_KINDS

MIB = 1 << 20


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine whose memory, swap and other experiments a test sets."""
    state = {"MemAvailable": 1000 * MIB, "SwapTotal": 0, "SwapFree": 0}
    areas, others = [], []
    monkeypatch.setattr(room, "read_meminfo", lambda: state)
    monkeypatch.setattr(room, "read_swap_areas", lambda: areas)
    monkeypatch.setattr(holdings, "list_holdings", lambda: others)
    state["areas"], state["others"] = areas, others
    return state


def add_other(machine, tmp_path, name, limit_bytes, usage_bytes, swap_bytes=0):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "memory.current").write_text(f"{usage_bytes}\n")
    machine["others"].append(
        {"group": str(folder), "limit_bytes": limit_bytes, "swap_bytes": swap_bytes, "uid": 1}
    )


class TestRoom:
    def test_there_is_room_up_to_the_margin(self, machine):
        room.check_room(1000 * MIB - room.MARGIN_BYTES, 0)
        with pytest.raises(TracerError, match="may take 745 MiB, 1,000 are available, and 256"):
            room.check_room(745 * MIB, 0)

    def test_swap_counts_too_because_it_may_lie_in_memory(self, machine):
        with pytest.raises(TracerError, match="may take 764 MiB"):
            room.check_room(700 * MIB, 64 * MIB)

    def test_what_others_may_yet_take_is_taken(self, machine, tmp_path):
        add_other(machine, tmp_path, "a", limit_bytes=500 * MIB, usage_bytes=100 * MIB)
        room.check_room(344 * MIB, 0)
        with pytest.raises(TracerError, match="may take 745 MiB"):
            room.check_room(345 * MIB, 0)

    def test_a_new_limit_counts_from_what_the_group_has(self, machine, tmp_path):
        add_other(machine, tmp_path, "a", limit_bytes=500 * MIB, usage_bytes=400 * MIB)
        room.check_room(1000 * MIB, 0, replacing="a")

    def test_swap_of_the_lab_is_bounded_in_all(self, machine, tmp_path):
        machine["MemAvailable"] = 10_000 * MIB
        add_other(machine, tmp_path, "a", 8 * MIB, 8 * MIB, swap_bytes=200 * MIB)
        room.check_room(8 * MIB, 56 * MIB)
        with pytest.raises(TracerError, match="200 MiB of swap in use already"):
            room.check_room(8 * MIB, 57 * MIB)

    def test_a_machine_whose_swap_is_nearly_full_is_left_alone(self, machine):
        machine |= {"SwapTotal": 1000 * MIB, "SwapFree": 90 * MIB}
        machine["areas"].append(SwapArea("/swapfile", "file", 1000 * MIB, 910 * MIB, -2))
        with pytest.raises(TracerError, match="nearly full"):
            room.check_room(8 * MIB, 0)

    def test_swap_of_other_experiments_is_not_the_machines(self, machine):
        machine |= {"SwapTotal": 16 * MIB, "SwapFree": 0}
        machine["areas"].append(SwapArea("/zram7", "partition", 16 * MIB, 16 * MIB, -2))
        machine["others"].append({"zram": 7})
        room.check_room(8 * MIB, 0)


class TestLimits:
    def make_group(self, folder, limit_bytes, both_bytes):
        (folder / "memory.limit_in_bytes").write_text(str(limit_bytes))
        (folder / "memory.memsw.limit_in_bytes").write_text(str(both_bytes))

    def test_version_1_has_one_limit_for_memory_and_one_for_the_sum(self, tmp_path):
        self.make_group(tmp_path, 64 * MIB, 96 * MIB)
        for size in (32 * MIB, 128 * MIB):
            capped_cgroup.set_limits(tmp_path, size, 16 * MIB)
            assert int((tmp_path / "memory.limit_in_bytes").read_text()) == size
            assert int((tmp_path / "memory.memsw.limit_in_bytes").read_text()) == size + 16 * MIB

    def test_version_2_has_one_for_each(self, tmp_path):
        for name in ("memory.max", "memory.swap.max"):
            (tmp_path / name).write_text("max")
        capped_cgroup.set_limits(tmp_path, 32 * MIB, 16 * MIB)
        assert (tmp_path / "memory.max").read_text() == str(32 * MIB)
        assert (tmp_path / "memory.swap.max").read_text() == str(16 * MIB)

    def test_a_group_whose_swap_can_not_be_limited_is_refused(self, tmp_path):
        with pytest.raises(TracerError, match="does not limit the swap"):
            capped_cgroup.make_group(tmp_path / "group", 32 * MIB, 0)


class TestHoldings:
    @pytest.fixture(autouse=True)
    def undone(self, monkeypatch, tmp_path):
        """What would have been removed, in order; the facts lie in a folder of the test's."""
        done = []
        monkeypatch.setattr(holdings, "STATE_DIR", tmp_path / "groups")
        monkeypatch.setattr(capped_cgroup, "remove_group", lambda path: done.append(path.name))
        monkeypatch.setattr(swap_device, "remove_zram", done.append)
        monkeypatch.setattr(swap_device, "remove_file", lambda path: done.append(path.name))
        return done

    def make(self, name="memory-leak-lab-5-x", **facts):
        with holdings.hold_registry():
            holding = holdings.Holding(name, uid=5)
        holding.note(**facts)
        return holding

    def test_what_is_released_is_removed_with_its_processes_first(self, undone):
        self.make(zram=3, group="/cg/x", swap_file="/s/x.swap").release()
        assert undone == ["x", 3, "x.swap"]
        assert holdings.list_holdings() == []

    def test_what_somebody_holds_is_not_swept(self, undone):
        holding = self.make(group="/cg/x")
        assert holdings.sweep() == []
        assert holdings.has_holdings(5)
        assert not holdings.has_holdings(6)
        assert undone == []
        holding._file.close()  # as the kernel does when the session is killed
        assert holdings.sweep() == ["a memory cgroup (memory-leak-lab-5-x)"]
        assert undone == ["x"]

    def test_after_a_restart_only_the_file_can_be_left(self, undone, monkeypatch):
        self.make(zram=3, group="/cg/x", swap_file="/s/x.swap")._file.close()
        monkeypatch.setattr(holdings, "read_boot_id", lambda: "another")
        holdings.sweep()
        assert undone == ["x.swap"]

    def test_a_fact_that_was_cut_short_has_not_become_one(self, undone):
        holding = self.make(group="/cg/x")
        holding._file.write('{"zram": ')
        holding._file.close()
        holdings.sweep()
        assert undone == ["x"]

    def test_a_later_fact_takes_the_place_of_an_earlier_one(self, undone):
        holding = self.make(zram=3)
        holding.note(zram=None)
        holding.release()
        assert undone == []

    def test_what_can_not_be_removed_stays_remembered(self, undone, monkeypatch):
        def refuse(path):
            raise OSError("busy")

        monkeypatch.setattr(capped_cgroup, "remove_group", refuse)
        self.make(group="/cg/x")._file.close()
        assert holdings.sweep() == ["a memory cgroup (memory-leak-lab-5-x): busy"]
        assert len(holdings.list_holdings()) == 1

    def test_nobody_else_may_open_a_holding_or_lock_the_registry(self):
        holding = self.make()
        files = sorted(holdings.STATE_DIR.iterdir())
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
        with open(files[1]) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holding.release()

    def test_the_facts_are_lines_of_json(self):
        self.make(group="/cg/x")
        (path,) = holdings.STATE_DIR.glob("*.facts")
        facts = [json.loads(line) for line in path.read_text().splitlines()]
        assert facts[0]["uid"] == 5
        assert facts[-1] == {"group": "/cg/x"}


class TestDescent:
    def test_nobody_descends_from_himself_or_from_nobody(self):
        assert not is_descendant(os.getpid(), os.getpid())
        assert not is_descendant(os.getpid(), 0)
        assert is_descendant(os.getpid(), os.getppid())
        assert not is_descendant(os.getppid(), os.getpid())


FORMAT = """name: mark_victim
ID: 609
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;

	field:int pid;	offset:8;	size:4;	signed:1;
	field:__data_loc char[] comm;	offset:12;	size:4;	signed:0;
	field:unsigned long anon_rss;	offset:24;	size:8;	signed:0;
	field:char name[16];	offset:32;	size:16;	signed:0;

print fmt: "pid=%d", REC->pid
"""


class TestFormats:
    def test_fields_have_offsets_by_name(self):
        offsets = {"common_type": 0, "pid": 8, "comm": 12, "anon_rss": 24, "name": 32}
        assert parse_format(FORMAT) == offsets

    def test_an_event_that_is_not_there_has_no_fields(self, tmp_path):
        assert read_offsets("oom:mark_victim", (tmp_path,)) == {}
        (tmp_path / "oom/mark_victim").mkdir(parents=True)
        (tmp_path / "oom/mark_victim/format").write_text(FORMAT)
        assert read_offsets("oom:mark_victim", (tmp_path,))["anon_rss"] == 24


class TestDecoding:
    def decode(self, **changes):
        victim = dict.fromkeys(protocol.VICTIM_FIELDS) | {"tgid": 812, "time_ns": 3 * 10**9}
        totals = {field: 10**9 if field.endswith("ns") else 7 for field in RECLAIM_FIELDS}
        header = {
            "now_ns": 5 * 10**9,
            "counters": dict.fromkeys(protocol.COUNTERS, 0),
            "victims": [victim],
            "reclaims": dict.fromkeys(RECLAIM_KINDS, totals),
            "major_faults": 9,
        }
        description = {"opened_ns": 10**9, "page_bytes": 4096, "unavailable": {}}
        return decode_pressure({**header, **changes}, description, Target(812, "eater"))

    def test_totals_are_in_seconds_and_pages(self):
        trace = self.decode()
        assert trace.seconds == 4.0
        assert (trace.memcg_reclaim.seconds, trace.memcg_reclaim.longest_s) == (1.0, 1.0)
        assert trace.swapped_out_bytes == 3 * 7 * 4096
        assert trace.is_complete

    def test_a_kernel_that_tells_the_number_alone_leaves_the_rest_open(self):
        (kill,) = self.decode().oom_kills
        assert (kill.pid, kill.elapsed_s, kill.command) == (812, 2.0, "")
        assert (kill.score, kill.rss_anon_bytes, kill.vm_size_bytes) == (None, None, None)

    def test_sizes_of_a_victim_are_in_bytes(self):
        victim = {
            **dict.fromkeys(protocol.VICTIM_FIELDS, 1),
            **{"score": 668, "score_adj": -5, "command": "eater"},
        }
        (kill,) = self.decode(victims=[victim]).oom_kills
        assert (kill.rss_anon_bytes, kill.rss_shared_bytes) == (1024, 1024)
        assert (kill.score, kill.score_adj, kill.command) == (668, -5, "eater")

    def test_what_was_lost_makes_it_incomplete(self):
        counters = {**dict.fromkeys(protocol.COUNTERS, 0), "lost_threads_full": 2}
        assert not self.decode(counters=counters).is_complete
