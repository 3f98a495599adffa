"""Marking, walking and reading on memory made by hand, and on random heaps with a known answer."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lablib.reachability import (
    Books,
    Mapping,
    Memory,
    MemoryWords,
    find_freed,
    find_mapping,
    mark_blocks,
    read_mappings,
    read_pointers,
    select_ranges,
)

HEAP = 0x5555_0000_0000
NO_BLOCKS = (np.zeros(0, np.uint64), np.zeros(0, np.uint64))


def u64(values):
    return np.array(list(values), np.uint64)


def mark(blocks, words, registers=(), ignored=()):
    """Mark blocks {address: size}, words {address: value}; return the marks as sets of starts."""
    starts = sorted(blocks)
    sizes = u64(blocks[start] for start in starts)
    marks = mark_blocks(
        u64(starts),
        sizes,
        sizes,
        u64(words),
        u64(words.values()),
        np.array([at in ignored for at in words], np.bool_),
        u64(registers),
    )
    return (
        {start for start, is_reached in zip(starts, marks.is_reached, strict=True) if is_reached},
        {start for start, is_inside in zip(starts, marks.is_interior, strict=True) if is_inside},
    )


def reach_by_hand(blocks, words, registers, ignored):
    """The truth, one block and one word at a time."""

    def block_at(address, at_least=0):
        for start, size in blocks.items():
            if start <= address < start + max(size, at_least):
                return start
        return None

    roots = [v for at, v in words.items() if block_at(at) is None and at not in ignored]
    pending = [block_at(value, 1) for value in [*roots, *registers]]
    reached = set()
    while pending:
        block = pending.pop()
        if block is None or block in reached:
            continue
        reached.add(block)
        pending += [block_at(v, 1) for at, v in words.items() if block_at(at) == block]
    said = [*roots, *registers]
    said += [v for at, v in words.items() if block_at(at) in reached and block_at(at) is not None]
    return reached, {block for block in reached if block not in said}


def test_a_root_leads_through_blocks_and_a_cycle_alone_does_not():
    a, b, c, d, e = (HEAP + 64 * n for n in range(5))
    blocks = dict.fromkeys((a, b, c, d, e), 32)
    words = {0x1000: a, a + 8: b, b: c + 24, d: e, e + 16: d}
    assert mark(blocks, words) == ({a, b, c}, {c})


def test_a_pointer_behind_the_end_is_none_and_an_empty_block_has_one_address():
    a, b = HEAP, HEAP + 64
    assert mark({a: 32, b: 0}, {0x1000: a + 32}) == (set(), set())
    assert mark({a: 32, b: 0}, {0x1000: b}) == ({b}, set())


def test_registers_lead_and_ignored_words_do_not():
    a, b = HEAP, HEAP + 64
    assert mark({a: 32, b: 32}, {0x1000: a}, registers=[b + 8], ignored=[0x1000]) == ({b}, {b})


def test_a_list_of_a_million_is_followed():
    starts = HEAP + 32 * np.arange(1_000_000, dtype=np.uint64)
    sizes = np.full(len(starts), 24, np.uint64)
    order = np.random.default_rng(1).permutation(len(starts))
    addresses = np.append(starts[order[:-1]], np.uint64(0x1000))
    values = np.append(starts[order[1:]], starts[order[0]])
    none = np.zeros(len(values), np.bool_)
    marks = mark_blocks(starts, sizes, sizes, addresses, values, none, u64([]))
    assert marks.is_reached.all()
    assert not marks.is_interior.any()


def test_no_blocks_is_no_error():
    assert mark({}, {0x1000: HEAP}) == (set(), set())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32), count=st.integers(1, 60), density=st.floats(0, 3))
def test_random_graphs_are_marked_as_by_hand(seed, count, density):
    dice = random.Random(seed)
    blocks, at = {}, HEAP
    for _ in range(count):
        at += 8 * dice.randrange(4)
        size = dice.choice((0, 1, 8, 24, 40, 104))
        blocks[at] = size
        at += max(8, -(-size // 8) * 8)
    places = [*range(HEAP, at, 8), *range(0x1000, 0x1000 + 8 * count, 8)]
    words = {
        place: dice.randrange(HEAP - 16, at + 16)
        for place in sorted(dice.sample(places, min(len(places), int(density * count))))
    }
    registers = [dice.randrange(HEAP, at + 1) for _ in range(dice.randrange(3))]
    ignored = {place for place in words if dice.random() < 0.1}
    expected = reach_by_hand(blocks, words, registers, ignored)
    assert mark(blocks, words, registers, ignored) == expected


def make_heap(dice, count):
    """A heap as malloc leaves it: known, older, waiting and free chunks; and its headers."""
    at, states, headers = HEAP, [], {}
    was_free = False
    for _ in range(count):
        size = 16 * dice.randrange(2, 20)
        state = dice.choice(("known", "older", "waiting", "free"))
        if was_free and state == "free":
            state = "known"  # two free ones grow together
        headers[at + 8] = size | (0 if was_free else 1)
        states.append((at, size, state))
        was_free = state == "free"
        at += size
    headers[at + 8] = 4096 | (0 if was_free else 1)
    states.append((at, 4096, "top"))
    return states, headers, at + 4096


@pytest.mark.parametrize("seed", range(40))
def test_in_random_heaps_exactly_the_freed_chunks_are_found(seed):
    dice = random.Random(seed)
    states, headers, end = make_heap(dice, dice.choice((1, 10, 1000)))
    for _ in range(100):  # words that only look like headers
        headers.setdefault(HEAP + 8 + 16 * dice.randrange((end - HEAP) // 16), 64 | 1)
    known = {
        at + 16: size - 8 - dice.randrange(9) for at, size, state in states if state == "known"
    }
    books = Books(
        heaps=((HEAP, end),),
        tops=(states[-1][0],),
        own=(),
        waiting=tuple(at for at, _, state in states if state == "waiting"),
        has_all_waiting=True,
    )
    places = sorted(headers)
    words = MemoryWords(u64([]), u64([]), u64(places), u64(headers[p] for p in places), 0, 0)
    freed = find_freed(u64(known), u64(known.values()), words, books)
    assert freed.unexplained_bytes == 0
    gone = {"waiting", "free", "top"}
    for at, size, state in states:
        inside = u64(range(at + 16, at + size, 8))
        assert set(freed.covers(inside).tolist()) <= {state in gone}
    extents = dict(zip(known, freed.extents.tolist(), strict=True))
    assert extents == {at + 16: size - 8 for at, size, state in states if state == "known"}


def test_a_heap_whose_headers_do_not_fit_is_left_for_used():
    states, headers, end = make_heap(random.Random(3), 50)
    broken = next(at for at, _, state in states[5:] if state in ("older", "waiting"))
    del headers[broken + 8]
    known = {at + 16: size - 8 for at, size, state in states if state == "known"}
    books = Books(((HEAP, end),), (states[-1][0],), (), (), True)
    places = sorted(headers)
    words = MemoryWords(u64([]), u64([]), u64(places), u64(headers[p] for p in places), 0, 0)
    freed = find_freed(u64(known), u64(known.values()), words, books)
    assert freed.unexplained_bytes > 0
    assert not freed.covers(u64([broken + 16])).any()


def test_without_books_nothing_is_freed():
    words = MemoryWords(u64([]), u64([]), u64([]), u64([]), 0, 0)
    freed = find_freed(u64([HEAP]), u64([24]), words, None)
    assert freed.extents.tolist() == [24]
    assert not freed.covers(u64([HEAP, HEAP + 32])).any()


def test_the_words_of_this_very_process_are_read():
    blocks = np.arange(5, dtype=np.uint64)
    start = blocks.ctypes.data
    pointers = np.array([0, start, start + 8, 1, start + 16], np.uint64)
    at = pointers.ctypes.data
    mappings = read_mappings(Path("/proc/self"))
    number = find_mapping(mappings, at)
    assert number is not None
    assert mappings[number].may_hold_pointers
    descriptor = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        words = read_pointers(
            Memory(descriptor), [(at, at + 40)], [(start, start + 40)], [(at, at + 40)], NO_BLOCKS
        ).join()
    finally:
        os.close(descriptor)
    assert words.addresses.tolist() == [at + 8, at + 16, at + 32]
    assert words.pointers.tolist() == [start, start + 8, start + 16]
    assert (words.scanned_bytes, words.unread_bytes) == (40, 0)


def test_what_cannot_be_read_is_counted():
    descriptor = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        words = read_pointers(
            Memory(descriptor), [(4096, 8192)], [(HEAP, HEAP + 8)], (), NO_BLOCKS
        ).join()
    finally:
        os.close(descriptor)
    assert (words.scanned_bytes, words.unread_bytes) == (0, 4096)


def test_only_pages_in_memory_are_selected():
    page = os.sysconf("SC_PAGE_SIZE")
    untouched = np.empty(1 << 27, np.uint8)
    start = -(-untouched.ctypes.data // page) * page
    untouched[start - untouched.ctypes.data + 3 * page] = 1
    mapping = Mapping(start, start + (1 << 26), "rw-p", "")
    ranges = select_ranges(Path("/proc/self"), [mapping], [])
    assert sum(high - low for low, high in ranges) < 1 << 22  # a huge page at the most
    assert any(low <= start + 3 * page < high for low, high in ranges)


def test_a_stack_below_its_pointer_is_left_out_where_it_is_alone():
    page = os.sysconf("SC_PAGE_SIZE")
    content = np.ones(20 * page, np.uint8)
    start = -(-content.ctypes.data // page) * page
    guard = Mapping(start - page, start, "---p", "")
    stack = Mapping(start, start + 8 * page, "rw-p", "")
    pointer = start + 4 * page + 1024
    low = select_ranges(Path("/proc/self"), [guard, stack], [pointer, pointer + page])[0][0]
    assert low == pointer - 128
    assert select_ranges(Path("/proc/self"), [stack], [pointer])[0][0] == start


@pytest.mark.parametrize("odd", [0, 1])
def test_where_much_looks_like_headers_the_content_of_known_blocks_is_left_out(odd):
    content = np.full(1 << 16, 33, np.uint64)
    first = content.ctypes.data + (content.ctypes.data // 8 + odd) % 2 * 8
    count = 40_000
    end = first + 8 * count
    starts = np.arange(first + 16, end - 800, 800, dtype=np.uint64)
    ends = starts + np.uint64(784)
    descriptor = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        words = read_pointers(
            Memory(descriptor), [(first, end)], [(HEAP, HEAP + 8)], [(first, end)], (starts, ends)
        ).join()
    finally:
        os.close(descriptor)
    inside = {at for start in starts.tolist() for at in range(start, start + 784, 8)}
    expected = [at for at in range(first, end, 8) if at % 16 == 8 and at not in inside]
    assert words.header_addresses.tolist() == expected
    assert set(words.headers.tolist()) == {33}
