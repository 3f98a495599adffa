"""What a run may take: its time is longer where others keep the processors busy."""

import os

import pytest

from lablib.grading import limits
from lablib.grading.limits import MOST_TIMES_SECONDS, Limits, find_seconds, list_limits


@pytest.mark.parametrize(
    ("load", "times"), [(0.0, 1.0), (2.0, 1.0), (6.0, 3.0), (400.0, MOST_TIMES_SECONDS)]
)
def test_a_busy_machine_gives_more_time_and_a_quiet_one_no_less(monkeypatch, load, times):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    monkeypatch.setattr(limits.os, "cpu_count", lambda: 2)
    assert find_seconds(Limits(seconds=5.0)) == 5.0 * times


def test_private_memory_is_limited_by_the_kernel_but_for_who_reserves_terabytes():
    assert list_limits(Limits(memory_bytes=1 << 20))["DATA"] == 1 << 20
    assert "DATA" not in list_limits(Limits(memory_bytes=None))


def test_the_kernel_lets_a_few_more_processes_be_than_the_watch():
    assert list_limits(Limits(processes=10))["NPROC"] > 10
