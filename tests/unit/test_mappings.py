"""The ledger of mappings: by hand, and against an array that says for each page whose it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lablib.tracing import mappings
from lablib.tracing.mappings import MappingEvent, MappingLedger, MappingTotals

PAGE = 4096
BASE = 0x7F00_0000_0000
KEY = ("mapping", 7)


@dataclass
class Process:
    """A ledger, and the time; addresses and lengths in pages."""

    ledger: MappingLedger = field(default_factory=lambda: MappingLedger(PAGE))
    now_ns: int = 0

    def do(self, kind, page, pages, thread=1, key=KEY) -> None:
        self.now_ns += 1000
        mapping_class, stack_id = key if kind == "map" else (0, 0)
        address, length_bytes = BASE + page * PAGE, pages * PAGE
        self.ledger.apply(
            MappingEvent(self.now_ns, kind, thread, address, length_bytes, stack_id, mapping_class)
        )

    def map(self, page, pages, **options) -> None:
        self.do("map", page, pages, **options)

    def unmap(self, page, pages, **options) -> None:
        self.do("unmap", page, pages, **options)

    def fail(self, page, pages, **options) -> None:
        self.do("unmap_failed", page, pages, **options)

    def live(self, key=KEY) -> tuple[int, int]:
        """Pages and mappings."""
        totals = self.ledger.totals()[key]
        live_bytes = totals.allocated_bytes - totals.freed_bytes
        return live_bytes // PAGE, totals.allocated_count - totals.freed_count


@pytest.fixture
def process() -> Process:
    return Process()


def test_sixteen_pages_less_the_first_are_fifteen(process):
    process.map(0, 16)
    process.unmap(0, 1)
    assert process.ledger.totals() == {KEY: MappingTotals(16 * PAGE, 1, PAGE, 0, 1000)}


def test_a_mapping_is_freed_when_its_last_page_goes(process):
    process.map(0, 3)
    for page in (1, 0):
        process.unmap(page, 1)
        assert process.live()[1] == 1
    process.unmap(2, 1)
    assert process.ledger.totals() == {KEY: MappingTotals(3 * PAGE, 1, 3 * PAGE, 1, 0)}


def test_a_hole_in_the_middle_leaves_both_sides_of_one_mapping(process):
    process.map(0, 10)
    process.unmap(4, 2)
    assert process.live() == (8, 1)
    process.unmap(0, 4)
    assert process.live() == (4, 1)
    process.unmap(6, 4)
    assert process.live() == (0, 0)


def test_one_unmap_may_span_parts_of_several_mappings_and_what_is_unknown(process):
    process.map(0, 4)
    process.map(6, 4, key=("mapping", 8))
    process.map(10, 4)
    process.unmap(2, 10)
    assert process.live() == (2 + 2, 2)
    assert process.live(("mapping", 8)) == (0, 0)
    assert process.ledger.from_before_bytes == 2 * PAGE


def test_unmapping_what_is_not_on_record_changes_no_totals(process):
    process.unmap(0, 5)
    assert process.ledger.totals() == {}
    assert process.ledger.from_before_bytes == 5 * PAGE


def test_mapping_over_a_mapping_unmaps_what_was_there(process):
    process.map(0, 8, key=("thread_stack", 1))
    process.map(2, 2)
    assert process.live(("thread_stack", 1)) == (6, 1)
    process.map(0, 8)
    assert process.live(("thread_stack", 1)) == (0, 0)
    assert process.live() == (8, 1)
    assert process.ledger.from_before_bytes == 0


def test_neighbours_stay_two_mappings(process):
    process.map(0, 2)
    process.map(2, 2)
    process.unmap(0, 2)
    assert process.live() == (2, 1)


def test_a_failed_unmap_is_as_if_it_never_was(process):
    process.map(0, 4)
    process.map(4, 4, key=("file", 2))
    before = process.ledger.totals()
    process.unmap(2, 10)
    process.fail(2, 10)
    assert process.ledger.totals() == before
    assert process.ledger.from_before_bytes == 0
    process.unmap(0, 8)
    assert (process.live(), process.live(("file", 2))) == ((0, 0), (0, 0))


def test_a_failure_restores_what_its_own_thread_unmapped(process):
    process.map(0, 4)
    process.map(8, 2)
    process.unmap(0, 4, thread=1)
    process.unmap(8, 2, thread=2)
    process.fail(0, 4, thread=1)
    assert process.live() == (4, 1)


def test_a_failure_restores_nothing_where_others_have_mapped_or_unmapped_meanwhile(process):
    process.map(0, 6)
    process.unmap(0, 6, thread=1)
    process.map(1, 1, thread=2, key=("mapping", 8))
    process.unmap(3, 1, thread=3)
    process.fail(0, 6, thread=1)
    assert process.live() == (4, 1)
    assert process.live(("mapping", 8)) == (1, 1)


def test_only_the_last_unmap_of_a_thread_can_fail(process):
    process.map(0, 4)
    process.unmap(0, 2)
    process.unmap(2, 1)
    process.fail(2, 1)
    process.fail(0, 2)
    assert process.live() == (2, 1)


def test_an_unmap_that_was_followed_by_too_many_events_has_not_failed(process, monkeypatch):
    process.map(0, 1)
    process.unmap(0, 1, thread=1)
    for _ in range(mappings.REMEMBERED_EVENTS + 1):
        process.map(5, 1, thread=2)
    process.fail(0, 1, thread=1)
    assert process.live() == (1, 1)


def test_mremap_that_grows_in_place(process):
    process.map(0, 4)
    process.unmap(0, 4)
    process.map(0, 9, key=("mapping", 8))
    assert process.live() == (0, 0)
    assert process.live(("mapping", 8)) == (9, 1)


def test_mremap_that_moves(process):
    process.map(0, 4)
    process.unmap(0, 4)
    process.map(100, 8)
    assert process.live() == (8, 1)
    process.unmap(100, 8)
    assert process.live() == (0, 0)
    assert process.ledger.from_before_bytes == 0


def test_mremap_that_shrinks_and_mremap_that_fails(process):
    process.map(0, 8)
    process.unmap(0, 8)
    process.map(0, 3)
    assert process.live() == (3, 1)
    process.unmap(0, 3)
    process.fail(0, 3)
    assert process.live() == (3, 1)


def test_a_partly_unmapped_mapping_keeps_its_birth(process):
    process.map(0, 4)
    process.map(8, 4)
    process.unmap(1, 2)
    assert process.ledger.totals()[KEY].live_born_sum_ns == 1000 + 2000
    process.unmap(0, 4)
    assert process.ledger.totals()[KEY].live_born_sum_ns == 2000
    process.fail(0, 4)
    assert process.ledger.totals()[KEY].live_born_sum_ns == 1000 + 2000


def test_ranges_are_whole_pages():
    ledger = MappingLedger(PAGE)
    ledger.apply(MappingEvent(1, "map", 1, BASE, 1, 7, "mapping"))
    ledger.apply(MappingEvent(2, "unmap", 1, BASE + 2 * PAGE, PAGE + 1))
    assert ledger.totals()[KEY].allocated_bytes == PAGE
    assert ledger.from_before_bytes == 2 * PAGE


def test_a_call_of_no_length_does_nothing(process):
    process.map(0, 4)
    process.unmap(2, 0)
    process.fail(2, 0)
    process.map(2, 0)
    assert process.ledger.totals() == {KEY: MappingTotals(4 * PAGE, 1, 0, 0, 1000)}


def test_totals_are_a_copy(process):
    process.map(0, 4)
    before = process.ledger.totals()
    process.unmap(0, 4)
    assert before[KEY].freed_bytes == 0


class PageModel:
    """The same by brute force: who has each page, and what each thread's last unmap took."""

    def __init__(self) -> None:
        self.owner: dict[int, int] = {}
        self.taken: dict[int, dict[int, int | None]] = {}
        self.births: list[int] = []
        self.keys: list[tuple[str, int]] = []
        self.sizes: list[int] = []
        self.from_before_pages = 0

    def do(self, kind, page, pages, thread, key, now_ns) -> None:
        taken_by_thread = self.taken.pop(thread, {})
        touched = range(page, page + pages)
        if kind == "unmap_failed":
            self.from_before_pages -= sum(owner is None for owner in taken_by_thread.values())
            self.owner |= {p: owner for p, owner in taken_by_thread.items() if owner is not None}
            return
        for taken in self.taken.values():
            for p in touched:  # what it took of it is gone, whether it fails or not
                if taken.get(p) is not None:
                    del taken[p]
        found = {p: self.owner.pop(p, None) for p in touched}
        if kind == "unmap":
            self.taken[thread] = found
            self.from_before_pages += sum(owner is None for owner in found.values())
        elif pages:
            self.owner |= dict.fromkeys(touched, len(self.births))
            self.births.append(now_ns)
            self.keys.append(key)
            self.sizes.append(pages)

    def totals(self) -> dict[tuple[str, int], MappingTotals]:
        live = dict.fromkeys(range(len(self.births)), 0)
        for owner in self.owner.values():
            live[owner] += 1
        totals: dict[tuple[str, int], MappingTotals] = {}
        for number, pages in live.items():
            total = totals.setdefault(self.keys[number], MappingTotals())
            total.allocated_bytes += self.sizes[number] * PAGE
            total.allocated_count += 1
            total.freed_bytes += (self.sizes[number] - pages) * PAGE
            total.freed_count += not pages
            total.live_born_sum_ns += self.births[number] if pages else 0
        return totals


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["map", "map", "unmap", "unmap_failed"]),
        st.integers(0, 40),
        st.integers(0, 12),
        st.integers(1, 3),
        st.sampled_from([("mapping", 7), ("mapping", 8), ("arena", 7)]),
    ),
    max_size=60,
)


@settings(max_examples=500, deadline=None)
@given(steps=STEPS)
def test_any_history_adds_up_to_what_the_pages_say(steps):
    process, model = Process(), PageModel()
    for kind, page, pages, thread, key in steps:
        process.do(kind, page, pages, thread, key)
        model.do(kind, page, pages, thread, key, process.now_ns)
        assert process.ledger.totals() == model.totals()
        assert process.ledger.from_before_bytes == model.from_before_pages * PAGE
