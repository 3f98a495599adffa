"""From packed words to page faults and memory calls; and what a trace makes of them."""

import numpy as np
import pytest

from lablib.errors import TracerError
from lablib.records import MEMORY_CALLS, Frame, MemoryTrace, PageFault, Target
from lablib.tracing.memory import MemoryDecoder
from lablib.tracing.memory_session import MemoryOptions
from lablib.tracing.protocol import ENDINGS, FAULT_FLAGS, STACK_FIELDS

MAX_FRAMES = 4
OPENED_NS = 1_000_000_000
DESCRIPTION = {
    "max_frames": MAX_FRAMES,
    "has_unwind_tables": True,
    "opened_ns": OPENED_NS,
    "first_break": 0x10000,
}
STACK, OTHER_STACK = (1 << 64) - 5, 9
PAGE = 0x7F0000001000


class Resolver:
    """Names the address 0x101 as two functions, one inlined into the other; others by number."""

    def resolve_stack(self, addresses, certain):
        frames = []
        for address in addresses:
            if address == 0x101:
                frames.append(Frame("inner", "app", 0x11, inlined=True))
            name = {0x101: "touch", 0x200: "__mmap"}.get(address, f"f{address:x}")
            frames.append(Frame(name, "app", address & 0xFF))
        return tuple(frames), False


def make_rows(**frames_by_stack):
    """The ids and the rows of stacks."""
    fields = {"ending": ENDINGS.index("reached_top")}
    rows = []
    for frames in frames_by_stack.values():
        words = [{**fields, "depth": len(frames)}.get(name, 0) for name in STACK_FIELDS]
        rows.append([*words, *frames, *[0] * (MAX_FRAMES - len(frames))])
    return rows


def decode(faults=(), calls=()):
    """Decode keys and values as the kernel's tables hand them over."""
    rows = make_rows(first=(0x101, 0x300), second=(0x200, 0x300))
    tables = []
    for table in (faults, calls):
        keys = [key for key, _ in table]
        values = [value for _, value in table]
        tables.append(pack(keys) + pack(values))
    parts = [pack([[STACK], [OTHER_STACK]]), pack(rows), *tables]
    header = {"sizes": [len(part) for part in parts]}
    return MemoryDecoder(DESCRIPTION, Resolver()).decode(header, b"".join(parts))


def pack(words):
    return np.array([each % (1 << 64) for row in words for each in row], np.uint64).tobytes()


def test_a_row_is_a_fault_with_its_flags_apart_from_its_page():
    flags = FAULT_FLAGS["is_write"] | FAULT_FLAGS["was_present"]
    (fault,), calls = decode([((PAGE | flags, STACK), (3, OPENED_NS + 500_000_000))])
    assert calls == ()
    assert (fault.page_address, fault.count, fault.first_elapsed_s) == (PAGE, 3, 0.5)
    assert (fault.is_write, fault.was_present) == (True, True)
    assert (fault.is_instruction, fault.by_kernel, fault.is_major) == (False, False, False)


def test_a_touch_is_named_by_its_own_instruction_and_a_call_by_what_it_returns_to():
    flags = FAULT_FLAGS["by_kernel"]
    faults, _ = decode([((PAGE, STACK), (1, OPENED_NS)), ((PAGE | flags, STACK), (1, OPENED_NS))])
    offsets = {f.by_kernel: [(frame.function, frame.offset) for frame in f.frames] for f in faults}
    assert offsets[False] == [("inner", 0x10), ("touch", 0), ("f300", 0)]
    assert offsets[True] == [("inner", 0x11), ("touch", 1), ("f300", 0)]


def test_faults_come_in_the_order_of_time():
    times = (30, 10, 20)
    rows = [((PAGE + 4096 * t, STACK), (1, OPENED_NS + t)) for t in times]
    assert [f.page_address for f in decode(rows)[0]] == [PAGE + 4096 * t for t in (10, 20, 30)]


def call(time, name, address, length, result, stack=OTHER_STACK):
    number = MEMORY_CALLS.index(name)
    return (OPENED_NS + time, 77), (number, address, length, result, stack)


def test_calls_come_in_order_and_begin_at_the_caller():
    _, calls = decode(calls=[call(2, "munmap", PAGE, 4096, 0), call(1, "mmap", 0, 0, -22)])
    assert [(c.name, c.thread, c.result) for c in calls] == [("mmap", 77, -22), ("munmap", 77, 0)]
    assert [frame.function for frame in calls[0].frames] == ["f300"]


def test_brk_tells_how_far_the_break_moved_the_first_one_from_where_it_was():
    _, calls = decode(
        calls=[
            call(1, "brk", 0x12000, 0, 0x12000),
            call(2, "brk", 0x11000, 0x12000, 0x11000),
            call(3, "brk", 0, 0x11000, 0x11000),
        ]
    )
    assert [c.length_bytes for c in calls] == [0x2000, -0x1000, 0]


def make_trace(*pages):
    faults = tuple(
        PageFault(page, True, False, False, False, 1, float(time)) for time, page in pages
    )
    return MemoryTrace(
        "ebpf", "6.1", Target(1, "a"), 1.0, faults, (), stack_floor=0x1000, stack_start=0x9000
    )


def test_the_stack_grows_at_each_fault_below_its_start_and_above_the_mapping_under_it():
    trace = make_trace((3, 0x5000), (1, 0x8000), (2, 0x8000), (4, 0x7000), (5, 0x0), (0, 0xA000))
    grown = [(g.elapsed_s, g.start, g.size_bytes) for g in trace.stack_growth()]
    assert grown == [(1.0, 0x8000, 0x1000), (3.0, 0x5000, 0x3000)]
    assert sum(size for *_, size in grown) == trace.stack_start - 0x5000


def test_where_the_stack_is_unknown_nothing_is_told_of_its_growth():
    trace = MemoryTrace("ebpf", "6.1", Target(1, "a"), 1.0, make_trace((1, 0x8000)).faults, ())
    assert trace.stack_growth() == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_faults", 0), ("max_faults", 1 << 40), ("max_faults", True), ("max_stacks", "1")],
)
def test_options_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(TracerError, match=name):
        MemoryOptions.parse({name: value})


def test_options_that_are_not_given_are_the_defaults():
    assert MemoryOptions.parse({"pid": 1}) == MemoryOptions()
    assert MemoryOptions.parse({"max_faults": 7}).max_faults == 7
