"""How long a group's memory lasts, and whom the OOM killer would choose."""

import dataclasses

import pytest
from process_records import KIB, MIB, make_group, make_group_sample, make_member

from lablib.exhaustion import (
    measure_held,
    measure_rate,
    measure_room,
    measure_waiting,
    predict_seconds_left,
)
from lablib.records import NEVER


def test_what_is_held_is_all_but_the_page_cache():
    assert measure_held(make_group_sample(0, anon=30 * MIB, file=20 * MIB)) == 30 * MIB
    assert measure_held(make_group_sample(0, anon=64 * MIB, swap=8 * MIB)) == 72 * MIB


def test_shared_memory_is_held_although_it_is_counted_with_the_files():
    sample = make_group_sample(0, anon=30 * MIB, file=20 * MIB)
    memory = dataclasses.replace(sample.memory, shmem_bytes=15 * MIB)
    assert measure_held(dataclasses.replace(sample, memory=memory)) == 45 * MIB


def test_the_room_is_what_the_limit_leaves_and_the_swap():
    assert measure_room(make_group_sample(0, anon=30 * MIB, file=20 * MIB)) == (34 + 32) * MIB
    assert measure_room(make_group_sample(0, anon=64 * MIB, swap=20 * MIB)) == 12 * MIB


def test_swap_that_the_machine_has_not_is_no_room():
    allowed_more = make_group_sample(0, anon=30 * MIB, swap_limit=500 * MIB)
    assert measure_room(allowed_more) == (34 + 64) * MIB
    without = dataclasses.replace(allowed_more, swap_total_bytes=0, swap_free_bytes=0)
    assert measure_room(without) == 34 * MIB
    assert without.allowed_bytes == 64 * MIB


def test_without_a_limit_there_is_no_room_to_speak_of():
    sample = make_group_sample(0, anon=30 * MIB, limit=None)
    assert measure_room(sample) is None
    assert sample.allowed_bytes is None
    assert predict_seconds_left([sample, dataclasses.replace(sample, elapsed_s=1)]) is None


def test_the_seconds_left_are_right_at_each_moment_and_whatever_is_swapped_or_dropped():
    samples = make_group(25)  # 20 MiB a second, and 96 MiB of room
    for index in range(5, 25):
        assert measure_rate(samples[: index + 1]) == pytest.approx(20 * MIB)
        left_s = predict_seconds_left(samples[: index + 1])
        assert left_s == pytest.approx((96 - 4 * index) / 20)


def test_what_stands_still_or_was_seen_too_shortly_has_no_time_left_that_can_be_told():
    still = [make_group_sample(index, anon=30 * MIB) for index in range(10)]
    assert predict_seconds_left(still) is None
    assert predict_seconds_left(make_group(2)) is None
    assert predict_seconds_left([]) is None


def test_badness_is_what_a_process_holds_and_a_share_of_what_is_allowed():
    member = make_member(rss=40 * MIB, swap=8 * MIB)
    assert member.weigh(96 * MIB) == 48 * MIB + 100 * KIB
    moved = make_member(rss=40 * MIB, adj=250)
    assert moved.weigh(96 * MIB) == 40 * MIB + 100 * KIB + 24 * MIB
    assert make_member(adj=-500).weigh(96 * MIB) == 40 * MIB + 100 * KIB - 48 * MIB


def test_who_is_exempt_has_no_badness():
    assert make_member(adj=NEVER).weigh(96 * MIB) is None


def test_waiting_is_a_share_of_the_time_between_two_samples():
    samples = make_group(25)
    assert measure_waiting(samples[0], samples[10]) == {"some": 0, "full": 0}
    assert measure_waiting(samples[20], samples[24]) == pytest.approx({"some": 50, "full": 50})


def test_waiting_is_not_known_where_it_is_not_measured_or_no_time_has_passed():
    assert measure_waiting(*make_group(2, has_pressure=False)) == {}
    sample = make_group_sample(0)
    assert measure_waiting(sample, sample) == {}
