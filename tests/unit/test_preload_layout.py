"""The shared memory as the lab reads it and as the interposer writes it."""

import re
import time

import numpy as np
import pytest

from lablib.preload import layout
from lablib.preload.building import SOURCES
from lablib.preload.segment import Segment
from lablib.records import UnwindTables
from lablib.tracing.protocol import ENDINGS, MAPPING_CLASSES, STACK_FIELDS

HEADER = (SOURCES / "segment.h").read_text()


def read_body(kind, name):
    return re.search(rf"^{kind} {name} \{{(.*?)\}};", HEADER, re.MULTILINE | re.DOTALL)[1]


def read_enum(name):
    text = re.sub(r"/\*.*?\*/", "", read_body("enum", name))
    return re.findall(r"\b[A-Z][A-Z_]+\b", text)


def read_fields(name):
    text = re.sub(r"/\*.*?\*/", "", read_body("struct", name), flags=re.DOTALL)
    return re.findall(r"\b(?:u64|u32|struct \w+) (\w+)(?:\[(\w+)\])?;", text)


def read_number(name):
    return int(re.search(rf"^#define {name} (\d+)", HEADER, re.MULTILINE)[1])


def test_counters_have_one_order():
    assert [name.lower() for name in read_enum("counter")] == [*layout.COUNTERS, "counters_len"]


def test_endings_and_kinds_have_the_tracers_order():
    assert [name.lower() for name in read_enum("ending")] == list(ENDINGS)
    names = [name.lower().removesuffix("_mapping") for name in read_enum("mapping_class")]
    assert names == list(MAPPING_CLASSES)
    assert read_enum("window_state") == ["CLOSED", "OPEN", "FREES_ONLY"]


def test_fields_have_one_order():
    names = [name for name, _ in read_fields("segment")]
    assert names[: len(layout.SEGMENT_FIELDS)] == list(layout.SEGMENT_FIELDS)
    assert names[len(layout.SEGMENT_FIELDS) :] == ["free_pieces", "padding", "slots", "shards"]
    assert [name for name, _ in read_fields("stack")] == ["id", *STACK_FIELDS, "frames"]


@pytest.mark.parametrize(
    "name", ["MAX_FRAMES", "SHARDS", "PIECE_SIZES", "STACK_BITS", "BIRTH_SHIFT"]
)
def test_numbers_agree(name):
    assert read_number(name) == getattr(layout, name)
    assert read_number("OWNED_SLOTS") + 1 == layout.SLOTS
    assert read_number("SEGMENT_VERSION") == layout.VERSION


def test_tables_of_a_segment_do_not_overlap():
    found = layout.Layout.of(max_pages=10, max_rows=1000, max_stacks=100, max_blocks=1000)
    places = [value for name, value in vars(found).items() if name != "index_slots"]
    assert places == sorted(places)
    assert found.index_slots == 256


def test_a_segment_that_nobody_joins_is_empty_and_takes_hardly_any_memory():
    with Segment(max_stacks=100, max_blocks=1000) as segment:
        assert segment.read("window") == 1
        assert segment.read_stacks().shape == (0, layout.STACK_WORDS)
        assert segment.read_usages(0).shape == (0, layout.USAGE_WORDS)
        assert segment.read_blocks().shape == (0, 4)
        assert list(segment.take_reports()) == []
        assert not any(segment.read_counters().values())
        assert segment.allocated_bytes < 1 << 20
        assert segment.read("begin_ns") <= time.monotonic_ns()


def test_unwind_pages_are_put_in_order():
    numbers = np.array([7, 3, 5], np.uint64)
    places = np.array([[70, 71], [30, 31], [50, 51]], np.uint64)
    rows = np.arange(4, dtype=np.uint64)
    tables = UnwindTables(numbers.tobytes(), places.tobytes(), rows.tobytes())
    with Segment(max_stacks=100, max_blocks=1000) as segment:
        segment.write_unwind_tables(tables)
        assert segment.read("unwind_pages") == 3
        found = layout.Layout.of(1 << 16, 1 << 20, 100, 1000)
        words = np.frombuffer(segment._memory, np.uint64)
        at = found.page_numbers_at // 8
        assert words[at : at + 3].tolist() == [3, 5, 7]
        at = found.places_at // 8
        assert words[at : at + 6].tolist() == [30, 31, 50, 51, 70, 71]
        del words
