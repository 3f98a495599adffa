"""From the service's packed rows to records."""

import math

import numpy as np

from lablib.records import Frame
from lablib.tracing.decoder import SnapshotDecoder, decode_events
from lablib.tracing.protocol import COUNTERS, ENDINGS, SAMPLE_UNIT, STACK_FIELDS, USAGE_FIELDS

MAX_FRAMES = 4
DESCRIPTION = {"max_frames": MAX_FRAMES, "has_unwind_tables": True}
FUNCTIONS = {1: "leak", 2: "main", 3: "mmap", 4: "other"}


class Resolver:
    """Names addresses by FUNCTIONS; notes how much of each stack it may trust."""

    def __init__(self):
        self.asked = []

    def resolve_stack(self, addresses, certain):
        self.asked.append((tuple(addresses), certain))
        return tuple(Frame(FUNCTIONS[address], "app", 0) for address in addresses), True


def make_row(frames, **fields):
    """A stack's words, and those of its totals."""
    values = {"depth": len(frames), "ending": ENDINGS.index("reached_top"), **fields}
    usage = [values.pop(name, 0) % (1 << 64) for name in USAGE_FIELDS]
    words = [values.pop(name, 0) % (1 << 64) for name in STACK_FIELDS]
    assert not values
    return [*words, *frames, *[0] * (MAX_FRAMES - len(frames))], usage


def decode(stacks, header=None, sample_bytes=0, resolver=None):
    full = {"stacks": len(stacks), "window": 0, "now_ns": 1_000, "mappings": [], **(header or {})}
    ids = np.arange(100, 100 + len(stacks), dtype=np.uint64)
    rows = np.array([row for row, _ in stacks], np.uint64)
    rows[:, STACK_FIELDS.index("number")] = range(len(stacks))[::-1]
    usages = np.array([usage for _, usage in stacks], np.uint64)[::-1]
    payload = ids.tobytes() + rows.tobytes() + usages.tobytes()
    return SnapshotDecoder(DESCRIPTION, resolver or Resolver(), sample_bytes).decode(full, payload)


def test_a_row_is_a_usage():
    row = make_row(
        (1, 2), allocated_bytes=500, allocated_blocks=5, freed_bytes=100, freed_blocks=1,
        live_born_sum_ns=2_000,
    )  # fmt: skip
    (found,) = decode([row])[0]
    assert (found.live_bytes, found.live_blocks, found.kind) == (400, 4, "heap")
    assert math.isclose(found.mean_age_s, (4 * 1_000 - 2_000) / 4 / 1e9)
    assert not found.is_cut
    assert found.live_bytes_error == 0


def test_rows_of_the_same_functions_are_added_and_those_of_processes_are_not():
    rows = [make_row((1, 2), allocated_bytes=n, process=p) for n, p in ((1, 0), (2, 0), (4, 7))]
    usages = decode(rows)
    assert [u.allocated_bytes for u in usages[0]] == [3]
    assert [u.allocated_bytes for u in usages[7]] == [4]


def test_only_the_current_window_is_shown():
    rows = [make_row((1,), allocated_bytes=10, window=w) for w in (0, 1)]
    assert [u.allocated_bytes for u in decode(rows, {"window": 1})[0]] == [10]
    assert decode(rows, {"window": 2}) == {}


def test_a_walk_by_frame_pointers_is_trusted_up_to_where_it_guessed():
    resolver = Resolver()
    rows = [
        make_row((1, 2), certain_frames=1, allocated_bytes=1),
        make_row((4,), ending=ENDINGS.index("is_cut"), allocated_bytes=2),
    ]
    usages = {u.allocated_bytes: u for u in decode(rows, resolver=resolver)[0]}
    assert resolver.asked == [((1, 2), 1), ((4,), 1)]
    assert usages[1].is_cut
    assert usages[2].is_cut


def test_samples_count_as_what_they_stand_for():
    row = make_row(
        (1,), allocated_bytes=30_000, allocated_blocks=int(2.5 * SAMPLE_UNIT) * 12,
        freed_bytes=10_000, freed_blocks=10 * SAMPLE_UNIT, live_records=2, live_variance=10_000,
        live_born_sum_ns=1_000,
    )  # fmt: skip
    (found,) = decode([row], sample_bytes=10_000)[0]
    assert (found.live_bytes, found.live_blocks) == (20_000, 20)
    assert found.live_bytes_error == 100
    assert math.isclose(found.mean_age_s, 500 / 1e9)


def test_a_mapping_begins_at_the_function_that_called_mmap():
    rows = [make_row((3, 1, 2), is_mapping=1), make_row((1,), allocated_bytes=8)]
    header = {"mappings": [[0, "mapping", 100, 65_536, 1, 4_096, 0, 400]]}
    heap, mapping = sorted(decode(rows, header)[0], key=lambda usage: usage.kind)
    assert (heap.kind, heap.live_bytes) == ("heap", 8)
    assert (mapping.kind, mapping.live_bytes, mapping.live_blocks) == ("mapping", 61_440, 1)
    assert [frame.function for frame in mapping.frames] == ["leak", "main"]


def test_every_lost_event_is_missed_and_no_other():
    counters = {**dict.fromkeys(COUNTERS, 0), "lost_raced": 2, "failed_mappings": 3}
    events = decode_events({**counters, "frees_from_before": 4}, [])
    assert events.missed_by_reason == {"raced": 2}
    assert (events.missed, events.from_before) == (2, 4)
