"""Cgroups of both versions, swap and pressure: from files as kernels have written them."""

from pathlib import Path

import pytest

from lablib.errors import LabError, ProcessError
from lablib.records import MemoryPressure, PressureShare, SwapArea
from lablib.system import (
    find_cgroup,
    parse_cgroup,
    parse_pressure,
    parse_swaps,
    read_cgroup,
    read_cgroup_pressure,
    read_meminfo,
    read_pressure,
    read_swap_areas,
)
from lablib.system.cgroups import find_hierarchy

DATA = Path(__file__).parents[1] / "data"
V1 = DATA / "cgroup-v1-linux-6.18"
V2 = DATA / "cgroup-v2-linux-6.1"
MIB = 1 << 20


def write_tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class TestVersion1:
    def test_a_process_s_group_is_found_below_the_memory_controller(self):
        assert find_cgroup(812, V1) == V1 / "sys/fs/cgroup/memory/lab"

    def test_what_is_charged_is_read(self):
        memory = read_cgroup(find_cgroup(812, V1), elapsed_s=2.5)
        assert (memory.version, memory.elapsed_s, memory.process_count) == (1, 2.5, 1)
        assert (memory.usage_bytes, memory.limit_bytes) == (33_538_048, 32 * MIB)
        assert memory.peak_bytes == 32 * MIB
        assert (memory.swap_bytes, memory.swap_limit_bytes) == (9_822_208, 16 * MIB)
        assert (memory.limit_hits, memory.ooms, memory.oom_kills) == (2454, None, 0)
        assert (memory.anon_bytes, memory.file_bytes) == (33_185_792, 0)
        assert (memory.page_faults, memory.major_faults) == (10_504, 2)
        assert memory.scanned_pages is None

    def test_no_limit_is_none(self, tmp_path):
        none = f"{(1 << 63) - 4096}\n"
        group = write_tree(
            tmp_path,
            {
                "memory.usage_in_bytes": "4096\n",
                "memory.limit_in_bytes": none,
                "memory.memsw.usage_in_bytes": "4096\n",
                "memory.memsw.limit_in_bytes": none,
            },
        )
        memory = read_cgroup(group)
        assert (memory.limit_bytes, memory.swap_limit_bytes) == (None, None)

    def test_without_swap_accounting_nothing_is_said_of_swap(self, tmp_path):
        group = write_tree(
            tmp_path, {"memory.usage_in_bytes": "1\n", "memory.limit_in_bytes": "4096\n"}
        )
        memory = read_cgroup(group)
        assert (memory.swap_bytes, memory.swap_limit_bytes) == (None, None)


class TestVersion2:
    def test_a_process_s_group_is_found(self):
        assert find_cgroup(812, V2) == V2 / "sys/fs/cgroup/lab"
        assert find_hierarchy(812, V2).version == 2

    def test_what_is_charged_is_read(self):
        memory = read_cgroup(find_cgroup(812, V2))
        assert (memory.version, memory.process_count) == (2, 1)
        assert memory.limit_bytes == 32 * MIB
        assert 30 * MIB < memory.usage_bytes <= 32 * MIB
        assert memory.swap_limit_bytes == 16 * MIB
        assert 8 * MIB <= memory.swap_bytes <= 16 * MIB
        assert memory.limit_hits > 0
        assert (memory.ooms, memory.oom_kills) == (0, 0)
        assert 30 * MIB < memory.anon_bytes <= 32 * MIB
        assert memory.scanned_pages >= memory.reclaimed_pages >= memory.swap_bytes // 4096

    def test_pressure_is_the_groups_own(self):
        pressure = read_cgroup_pressure(find_cgroup(812, V2))
        assert pressure.some.total_s >= pressure.full.total_s > 0

    def test_no_limit_is_none(self):
        files = {"memory.current": "4096\n", "memory.max": "max\n", "memory.swap.max": "max\n"}
        memory = parse_cgroup("/x", files.get)
        assert (memory.limit_bytes, memory.swap_limit_bytes, memory.swap_bytes) == (None,) * 3

    def test_the_root_has_no_usage_but_what_its_stat_adds_up_to(self):
        memory = parse_cgroup("/", {"memory.stat": "anon 4096\nfile 8192\n"}.get)
        assert memory.usage_bytes == 12_288
        assert memory.oom_kills == 0


class TestFinding:
    def test_memory_in_version_1_wins_where_there_are_both(self):
        assert find_hierarchy(812, V1).version == 1

    def test_in_a_container_the_mount_is_its_own_group(self, tmp_path):
        line = "31 23 0:28 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        write_tree(
            tmp_path,
            {
                "proc/5/cgroup": "0::/docker/x\n",
                "proc/self/mountinfo": line,
                "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
            },
        )
        assert find_cgroup(5, tmp_path) == tmp_path / "sys/fs/cgroup"
        assert find_hierarchy(5, tmp_path).top == "/docker/x"

    def test_a_controller_that_is_nowhere_is_a_sentence(self, tmp_path):
        write_tree(
            tmp_path,
            {
                "proc/5/cgroup": "0::/\n",
                "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
                "sys/fs/cgroup/cgroup.controllers": "cpu\n",
            },
        )
        with pytest.raises(ProcessError, match="no memory cgroup"):
            find_cgroup(5, tmp_path)

    def test_a_process_that_is_gone_is_a_sentence(self):
        with pytest.raises(ProcessError, match="process 813"):
            find_cgroup(813, V1)

    def test_a_folder_that_is_no_group_is_a_sentence(self, tmp_path):
        with pytest.raises(ProcessError, match="not a memory cgroup, or has been removed"):
            read_cgroup(tmp_path)


class TestSwap:
    def test_areas_are_read_in_bytes(self):
        (area,) = read_swap_areas(V1)
        assert area == SwapArea("/dev/zram1", "partition", 16380 << 10, 9592 << 10, -2)

    def test_a_space_in_a_path_is_a_space(self):
        text = "Filename Type Size Used Priority\n/a\\040b\\011c file 4 0 -2\n"
        assert [area.path for area in parse_swaps(text)] == ["/a b\tc"]

    def test_none_is_none(self, tmp_path):
        assert read_swap_areas(tmp_path) == ()
        assert parse_swaps("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n") == ()

    def test_meminfo_is_in_bytes(self, tmp_path):
        write_tree(tmp_path, {"proc/meminfo": "MemTotal:  10 kB\nHugePages_Total:  3\n"})
        assert read_meminfo(tmp_path) == {"MemTotal": 10 << 10}
        with pytest.raises(LabError, match="meminfo"):
            read_meminfo(tmp_path / "none")


class TestPressure:
    def test_some_and_full_are_read(self):
        assert read_pressure(V1) == MemoryPressure(
            some=PressureShare(0.0, 0.09, 0.13, 7.809246),
            full=PressureShare(0.0, 0.06, 0.03, 5.153629),
        )

    def test_where_it_is_not_measured_is_a_sentence(self, tmp_path):
        with pytest.raises(LabError, match=r"not measured here .*no such file.*; boot with psi=1"):
            read_pressure(tmp_path)
        with pytest.raises(LabError, match="version 1 have none"):
            read_cgroup_pressure(find_cgroup(812, V1))

    def test_a_file_of_something_else_is_refused(self):
        with pytest.raises((KeyError, ValueError)):
            parse_pressure("nothing\n")
