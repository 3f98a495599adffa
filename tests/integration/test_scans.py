"""Which blocks are lost and which are reached, in programs of which it is known."""

import time
from collections import Counter

import pytest
from cases import GLIBC, GLIBC_STATIC, JEMALLOC, MUSL, TCMALLOC, Case
from checks import stacks_through
from conftest import give_up
from waiting import wait_until
from workload import build_case, build_workload, release_traced

from lablib import scanning
from lablib.records import TraceOptions
from lablib.scanning import sample_and_scan, scan

pytestmark = pytest.mark.usefixtures("tracer_service")

TIMEOUT_S = 20.0
BLOCKS = 10

LOST = {
    "lost_overwritten": 105,
    "lost_cycle": 128,
    "lost_past_the_end": 211 * 16,
    "lost_members": 313,
    "lost_members_of_small": 409,
    "lost_with_mapping": 809,
    "lost_with_frame": 905,
    "lost_of_before": 1097,
    "lost_in_thread": 1401,
    "lost_members_in_thread": 1513,
    "lost_big": 1 << 20,
}
"""The functions whose ten blocks are lost, with the size of one."""

REACHED = (
    *("reached_from_list", "reached_from_ring", "reached_inside", "reached_from_container"),
    *("reached_from_mapping", "reached_from_shared", "reached_from_before", "reached_from_thread"),
    "rest_with_stack",
)
"""Those whose blocks something leads to."""


def scan_at_rest(tracer):
    """Scan a program that has made its last block some time ago."""
    deadline = time.monotonic() + TIMEOUT_S
    blocks = -1
    while (now := tracer.snapshot().live_blocks) != blocks or not blocks:
        blocks = now
        assert time.monotonic() < deadline
        time.sleep(0.3)
    return scan(tracer)


def count_by_function(stacks, kind):
    """Return how many blocks are lost or reached by the innermost function that says so."""
    counted = Counter()
    for stack in stacks:
        names = [frame.function or "" for frame in stack.frames]
        name = next((each for each in names if each.startswith(("lost_", "reached_", "rest_"))), "")
        counted[name] += getattr(stack, kind)
    return counted


def scan_case(case, folder):
    if case.allocator.find() is None:
        reason = f"install {case.allocator.package}"
        give_up("allocators", reason, could_have_run=False)
    with release_traced(build_case(case, folder)) as (_, tracer):
        return scan_at_rest(tracer), tracer.snapshot()


@pytest.mark.parametrize(
    "flags", [(), ("-no-pie",), ("-O2", "-s")], ids=["pie", "no-pie", "stripped"]
)
def test_what_is_lost_and_what_is_reached_is_known_to_the_byte(flags, tmp_path):
    case = Case("", "", "lost_and_reached", flags=flags)
    found, snapshot = scan_case(case, tmp_path)
    assert found.limits == ()
    assert 0 < found.pause_s < found.seconds
    total = sum(BLOCKS * size for size in LOST.values())
    if "-s" in flags:  # here the compiler lets go of the blocks on the thread's stack
        assert total <= found.lost_bytes <= total + BLOCKS * 1305
        return
    assert found.lost_bytes == total
    lost_blocks = count_by_function(found.stacks, "lost_blocks")
    assert {name: n for name, n in lost_blocks.items() if n} == dict.fromkeys(LOST, BLOCKS)
    lost_bytes = count_by_function(found.stacks, "lost_bytes")
    assert {name: lost_bytes[name] for name in LOST} == {
        name: BLOCKS * size for name, size in LOST.items()
    }
    reached = count_by_function(found.stacks, "reached_blocks")
    assert {name: reached[name] for name in REACHED} == {
        **dict.fromkeys(REACHED, BLOCKS),
        "reached_from_container": BLOCKS + 1,
    }
    assert count_by_function(found.stacks, "interior_blocks")["reached_inside"] == BLOCKS
    assert {stack.frames for stack in found.stacks} <= {s.frames for s in snapshot.stacks}
    assert len(stacks_through(snapshot, "lost_cycle")) == 1


@pytest.mark.parametrize(
    "allocator", [GLIBC_STATIC, JEMALLOC, TCMALLOC, MUSL], ids=lambda each: each.name
)
def test_with_any_allocator_nothing_reached_is_called_lost(allocator, tmp_path):
    found, _ = scan_case(Case("", "", "lost_and_reached", allocator=allocator), tmp_path)
    lost = count_by_function(found.stacks, "lost_blocks")
    assert {name for name, blocks in lost.items() if blocks} <= set(LOST)
    if allocator is not JEMALLOC:  # its own lists name every block
        assert lost["lost_big"] + lost["lost_cycle"] >= BLOCKS
    reached = count_by_function(found.stacks, "reached_blocks")
    assert all(reached[name] >= BLOCKS for name in REACHED)
    assert found.limits != ()


@pytest.mark.parametrize("program", ["in_register", "kept_by_kernel", "cxx_reach"])
def test_what_registers_the_kernel_and_cookies_hold_is_reached(program, tmp_path):
    found, _ = scan_case(Case("", "", program, allocator=GLIBC), tmp_path)
    lost = {name for name, n in count_by_function(found.stacks, "lost_blocks").items() if n}
    reached = {name for name, n in count_by_function(found.stacks, "reached_blocks").items() if n}
    assert (
        lost
        == {
            "in_register": {"lost_from_register"},
            "kept_by_kernel": set(),
            "cxx_reach": {"lost_elements"},
        }[program]
    )
    assert {name for name in reached if name} == {
        "in_register": {"reached_from_register", "reached_from_vector"},
        "kept_by_kernel": {"reached_from_epoll", "reached_from_timer"},
        "cxx_reach": {"reached_by_cookie", "reached_from_vector", "reached_from_map"},
    }[program]


def test_scans_come_at_doubling_times_and_at_the_end(tmp_path):
    with release_traced(build_workload("lost_and_reached", tmp_path)) as (_, tracer):
        for _ in sample_and_scan(tracer, 3.0, 0.25):
            pass
        scans = tracer.trace.scans
    assert [each.was_made for each in scans] == [True] * 3
    assert 1 <= scans[0].elapsed_s < 2 <= scans[1].elapsed_s < 3 <= scans[2].elapsed_s
    assert scans[-1].lost_blocks == BLOCKS * len(LOST)
    bands = [band for stack in scans[-1].stacks for band in stack.bands]
    assert sum(band.lost_bytes for band in bands) == scans[-1].lost_bytes
    assert all(0 <= b.born_from_s < b.born_to_s <= scans[-1].elapsed_s + 0.01 for b in bands)


def test_a_sampled_trace_says_that_it_is_not_scanned(tmp_path):
    options = TraceOptions(sample_bytes=4096)
    with release_traced(build_workload("lost_and_reached", tmp_path), options) as (_, tracer):
        for _ in sample_and_scan(tracer, 1.5, 0.25):
            pass
        (only,) = tracer.trace.scans
    assert not only.was_made
    assert only.stacks == ()
    assert "sampled" in only.limits[0]


@pytest.mark.parametrize("allocator", [GLIBC, JEMALLOC], ids=lambda each: each.name)
def test_threads_that_make_move_and_free_blocks_never_seem_to_lose_one(
    allocator, tmp_path, monkeypatch
):
    monkeypatch.setattr(scanning, "MIN_AGE_S", 0.0)  # so that it holds for the youngest, too
    workload = build_case(Case("", "", "churn_reached", allocator=allocator), tmp_path)
    with release_traced(workload) as (_, tracer):
        wait_until(lambda: tracer.snapshot().live_blocks > 100)
        scans = [scan(tracer) for _ in range(8)]
    assert [each.lost_blocks for each in scans] == [0] * 8
    assert sum(stack.reached_blocks for stack in scans[-1].stacks) > 100
