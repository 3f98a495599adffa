"""The regions of an address space as a figure or a table names them, with what is resident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lablib.language import say, term
from lablib.plots.palette import SEGMENT_STYLES
from lablib.records import PRESENT, AddressSpace, ResidentPages, Segment
from lablib.wording import count_of, format_size

MAX_ROWS = 26
PAGE_BYTES = 4096
FILE_KINDS = ("text", "read_only", "data", "bss", "library", "loader", "vdso", "kernel")


@dataclass(frozen=True)
class Region:
    """One row of the figure: a segment, or neighbours that are shown as one.

    `resident_bytes` is exact if `is_exact`, else an upper bound: the kernel tells it for a whole
    mapping only, and this is a part of one. `part_count` is how many segments it stands for.
    """

    start: int
    end: int
    kind: str
    label: str
    size_bytes: int
    resident_bytes: int
    is_exact: bool = True
    part_count: int = 1


def list_user_segments(space: AddressSpace) -> list[Segment]:
    """Return the segments in the process's own half of the addresses, all but [vsyscall]."""
    return [segment for segment in space.segments if segment.end < 1 << 57]


def find_span(space: AddressSpace) -> int:
    """Return where the process's own addresses end: 128 TiB, or what the machine has more."""
    highest = max((segment.end for segment in list_user_segments(space)), default=0)
    return next(1 << bits for bits in (47, 48, 52, 57) if highest <= 1 << bits)


def measure_resident(segment: Segment, resident: Sequence[ResidentPages] = ()) -> tuple[int, bool]:
    """Return how many bytes of a segment are resident, and whether that is exact.

    Pages that cover the segment tell it. Without them the mapping's number is exact where the
    segment is the whole mapping, or none or all of it is resident; else it is an upper bound.
    """
    for pages in resident:
        if pages.start <= segment.start and segment.end <= pages.end:
            first = (segment.start - pages.start) // pages.page_bytes
            last = -((pages.start - segment.end) // pages.page_bytes)
            present = sum(1 for flags in pages.flags[first:last] if flags & PRESENT)
            return min(segment.size_bytes, present * pages.page_bytes), True
    rss_bytes = segment.vma.rss_bytes
    is_whole = segment.size_bytes == segment.vma.size_bytes
    is_all_or_none = rss_bytes in (0, segment.vma.size_bytes)
    return min(segment.size_bytes, rss_bytes), is_whole or is_all_or_none


def describe_region(segment: Segment, resident: Sequence[ResidentPages] = ()) -> Region:
    """Return the row of one segment."""
    resident_bytes, is_exact = measure_resident(segment, resident)
    return Region(
        segment.start,
        segment.end,
        segment.kind,
        name_segment(segment),
        segment.size_bytes,
        resident_bytes,
        is_exact,
    )


def name_segment(segment: Segment) -> str:
    """Return what a segment is called in a figure: its kind, and its file where that says more.

    It is the English name, which `say` says in the reader's language.
    """
    label = SEGMENT_STYLES[segment.kind].label
    names_file = segment.kind in ("library", "file", "shared") and segment.name
    return term("{kind} {file}", kind=label, file=segment.name) if names_file else label


def name_program(space: AddressSpace) -> str:
    """Return the program of a process, without its folder and its arguments."""
    return space.command.split(" ", 1)[0].rsplit("/", 1)[-1]


def describe_space(space: AddressSpace) -> str:
    """Return in words what an address space holds, low addresses first, with its numbers."""
    regions = _merge(
        [describe_region(segment) for segment in list_user_segments(space)], by_name=True
    )
    parts = [
        say(
            "{label} {size} ({resident} resident)",
            label=region.label,
            size=format_size(region.size_bytes),
            resident=word_resident(region),
        )
        for region in regions
    ]
    return say(
        "Process {pid} ({program}) has {mapped} mapped of {span}, {resident} of it resident, in"
        " {regions}. From low addresses to high: {parts}.",
        pid=space.pid,
        program=name_program(space),
        mapped=format_size(space.size_bytes),
        span=format_size(find_span(space)),
        resident=format_size(space.rss_bytes),
        regions=count_of(len(space.segments), "region"),
        parts=say(", ").join(parts),
    )


def shorten(regions: list[Region]) -> list[Region]:
    """Return the rows that are drawn: files in one row each, and where that is long, in one."""
    shorter = _merge(regions, by_name=True)
    return shorter if len(shorter) <= MAX_ROWS else _merge(shorter, by_name=False)


def _merge(regions: Sequence[Region], by_name: bool) -> list[Region]:
    """Return regions with neighbours as one: those of one name, or all libraries and files.

    What is left of a file's last page is left out.
    """
    merged: list[Region] = []
    for region in regions:
        if region.kind == "padding":
            continue
        before = merged[-1] if merged else None
        if before and _belong_together(before, region, by_name):
            parts = before.part_count + region.part_count
            label = region.label if by_name else term("libraries and files")
            merged[-1] = replace(
                before,
                end=region.end,
                label=label,
                size_bytes=before.size_bytes + region.size_bytes,
                resident_bytes=before.resident_bytes + region.resident_bytes,
                is_exact=before.is_exact and region.is_exact,
                part_count=parts,
            )
        else:
            merged.append(region)
    return merged


def _belong_together(one: Region, other: Region, by_name: bool) -> bool:
    if other.start - one.end >= PAGE_BYTES:
        return False
    if by_name:
        return one.label == other.label and one.kind in FILE_KINDS
    return {one.kind, other.kind} <= {"library", "file"}


def word_label(region: Region) -> str:
    """Return the name of a row, and how many parts it has if they are several."""
    if region.part_count == 1:
        return region.label
    return term("{label} ({parts} parts)", label=region.label, parts=region.part_count)


def word_resident(region: Region) -> str:
    """Return how much of a region is resident: "none", "all", "8 KiB", "up to 4 KiB"."""
    if not region.resident_bytes:
        return term("none")
    is_all = region.resident_bytes == region.size_bytes
    amount = term("all") if is_all else format_size(region.resident_bytes)
    return amount if region.is_exact else term("up to {amount}", amount=amount)
