"""Objects in their segments, and what has changed between two looks at an address space."""

from process_records import ARENA, HEAP, KIB, MIB, PROGRAM, STACK, make_space, whole

from lablib.records import AddressSpace
from lablib.teaching.places import compare_spaces, place_objects, show_changes, show_objects


def make_spaces(before, now):
    """Two looks at one process with these segments beside its program's."""
    program = make_space().segments[:5]
    return [
        AddressSpace(812, "app", tuple(sorted((*program, *own), key=lambda one: one.start)))
        for own in (before, now)
    ]


def test_objects_are_placed_by_address_and_none_is_lost():
    placed = place_objects(make_space(), {"block": HEAP + 16, "nowhere": 1, "code": PROGRAM + 5000})
    assert [(one.name, one.segment.kind if one.segment else None) for one in placed] == [
        ("nowhere", None),
        ("code", "text"),
        ("block", "heap"),
    ]


def test_a_space_is_not_changed_against_itself():
    assert compare_spaces(make_space(), make_space()) == []


def test_what_grew_is_told_from_what_is_new_and_what_is_gone():
    mapping = ARENA + 256 * MIB
    before, now = make_spaces(
        [
            whole(HEAP, 132 * KIB, "heap", "malloc, by brk", 8 * KIB),
            whole(ARENA, 64 * KIB, "anonymous", "mmap", 64 * KIB),
            whole(STACK, 132 * KIB, "stack", "the kernel, at exec", 12 * KIB),
        ],
        [
            whole(HEAP, 4 * MIB, "heap", "malloc, by brk", 4 * MIB),
            whole(mapping, MIB, "anonymous", "mmap", MIB),
            whole(STACK - MIB, MIB + 132 * KIB, "stack", "the kernel, at exec", MIB),
        ],
    )
    grown = [
        (one.kind, one.happened, one.before_bytes, one.now_bytes)
        for one in compare_spaces(before, now)
    ]
    assert grown == [
        ("heap", "grew upward", 132 * KIB, 4 * MIB),
        ("anonymous", "gone", 64 * KIB, 0),
        ("anonymous", "new", 0, MIB),
        ("stack", "grew downward", 132 * KIB, MIB + 132 * KIB),
    ]
    back = compare_spaces(now, before)
    assert [one.happened for one in back] == ["shrank", "new", "gone", "shrank"]
    assert back[0].resident_growth_bytes == 8 * KIB - 4 * MIB


def test_what_takes_the_place_of_another_kind_is_new():
    before, now = make_spaces(
        [whole(ARENA, MIB, "reserved", "malloc", 0, "---p")],
        [whole(ARENA, MIB, "anonymous", "mmap")],
    )
    assert sorted(one.happened for one in compare_spaces(before, now)) == ["gone", "new"]


def test_tables_have_all_in_text_too(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "lablib.teaching.tables.display", lambda data, raw: shown.append(data["text/plain"])
    )
    show_objects(place_objects(make_space(), {"block": HEAP + 16, "nowhere": 1}))
    show_changes(compare_spaces(make_space(), make_space(heap_bytes=MIB)))
    assert f"block    {HEAP + 16:#x}" in shown[0]
    assert "nowhere  0x1" in shown[0]
    assert "heap     grew upward    132 KiB" in shown[1]
