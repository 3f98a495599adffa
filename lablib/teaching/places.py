"""Which segment an object lies in, and what has changed between two looks at an address space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lablib.language import term
from lablib.plots.regions import measure_resident, name_segment
from lablib.records import AddressSpace, Segment
from lablib.teaching.tables import show_table
from lablib.wording import format_size


@dataclass(frozen=True)
class PlacedObject:
    """An object of a program by its name, its address, and the segment it lies in, if any."""

    name: str
    address: int
    segment: Segment | None


@dataclass(frozen=True)
class SegmentChange:
    """A segment whose size is another than before: 0 bytes before if it is new, 0 now if gone.

    `happened` says it in words: "new", "grew upward", "grew downward", "shrank" or "gone". Resident
    bytes are exact where the segment is a whole mapping.
    """

    kind: str
    label: str
    before_bytes: int
    now_bytes: int
    resident_before_bytes: int
    resident_now_bytes: int
    happened: str

    @property
    def resident_growth_bytes(self) -> int:
        """How much more of it is resident; negative if it is less."""
        return self.resident_now_bytes - self.resident_before_bytes


def place_objects(space: AddressSpace, addresses: Mapping[str, int]) -> list[PlacedObject]:
    """Return each object with its segment, by address; `addresses` are by the objects' names."""
    by_address = sorted(addresses.items(), key=lambda item: item[1])
    return [PlacedObject(name, address, space.find(address)) for name, address in by_address]


def show_objects(objects: Sequence[PlacedObject]) -> None:
    """Display a table: each object, its address, its segment, and whose that is."""
    columns = (
        term("object"),
        term("address"),
        term("segment"),
        term("permissions"),
        term("put there by"),
    )
    caption = term("Where each object lies, low addresses first")
    show_table(caption, columns, [_row_of(one) for one in objects])


def _row_of(placed: PlacedObject) -> tuple[str, ...]:
    segment = placed.segment
    if segment is None:
        return (placed.name, f"{placed.address:#x}", term("not mapped"), "", "")
    label, permissions = name_segment(segment), segment.vma.permissions
    return (placed.name, f"{placed.address:#x}", label, permissions, term(segment.owner))


def compare_spaces(before: AddressSpace, now: AddressSpace) -> list[SegmentChange]:
    """Return the segments that are new, gone, or of another size, by address.

    A segment is the same as one before if it is of the same kind and shares addresses with it. What
    a file's parts leave of their pages is left out.
    """
    changes = []
    left = [segment for segment in before.segments if segment.kind != "padding"]
    for segment in now.segments:
        if segment.kind == "padding":
            continue
        earlier = next((one for one in left if _is_same(one, segment)), None)
        if earlier is not None:
            left.remove(earlier)
        if earlier is None or earlier.size_bytes != segment.size_bytes:
            changes.append((segment.start, _make_change(earlier, segment)))
    changes += [(segment.start, _make_change(segment, None)) for segment in left]
    return [change for _, change in sorted(changes, key=lambda change: change[0])]


def _is_same(one: Segment, other: Segment) -> bool:
    return one.kind == other.kind and one.start < other.end and other.start < one.end


def _make_change(before: Segment | None, now: Segment | None) -> SegmentChange:
    segment = now or before
    assert segment is not None
    return SegmentChange(
        segment.kind,
        name_segment(segment),
        before.size_bytes if before else 0,
        now.size_bytes if now else 0,
        measure_resident(before)[0] if before else 0,
        measure_resident(now)[0] if now else 0,
        _tell(before, now),
    )


def _tell(before: Segment | None, now: Segment | None) -> str:
    if before is None or now is None:
        return term("new" if before is None else "gone")
    if now.size_bytes < before.size_bytes:
        return term("shrank")
    return term("grew downward" if now.start < before.start else "grew upward")


def show_changes(changes: Sequence[SegmentChange]) -> None:
    """Display a table with a row for each change: its sizes, and how much of it is resident."""
    columns = (
        term("segment"),
        term("what happened"),
        term("size before"),
        term("size now"),
        term("resident before"),
        term("resident now"),
    )
    rows = [
        (
            change.label,
            change.happened,
            _word(change.before_bytes),
            _word(change.now_bytes),
            _word(change.resident_before_bytes),
            _word(change.resident_now_bytes),
        )
        for change in changes
    ]
    show_table(term("What has changed, low addresses first"), columns, rows)


def _word(size_bytes: int) -> str:
    return format_size(size_bytes) if size_bytes else term("none")
