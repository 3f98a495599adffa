"""What /proc says of a process: parsers on captured text, segments from VMAs made by hand."""

import os
import re
import struct
from pathlib import Path

import pytest

from lablib.errors import LabError, ProcessError
from lablib.proc import read_address_space, read_sizes
from lablib.proc.claims import ARENA_BYTES, Facts
from lablib.proc.errors import refuses_in_words
from lablib.proc.images import Image, Load, Section, read_image
from lablib.proc.pages import parse_pagemap
from lablib.proc.segments import make_segments
from lablib.proc.sizes import parse_stat, parse_status
from lablib.proc.smaps import parse_smaps
from lablib.records import (
    EXCLUSIVE,
    FILE_OR_SHARED,
    PRESENT,
    SEGMENT_KINDS,
    SWAPPED,
    Frame,
    MemoryTrace,
    PageFault,
    ResidentPages,
    Target,
    Vma,
)

DATA = Path(__file__).parents[1] / "data"
SMAPS = (DATA / "smaps-linux-6.18.txt").read_text()
STATUS = (DATA / "status-linux-6.18.txt").read_text()

PAGE = 4096
BASE = 0x7F0000000000  # a multiple of an arena's size
STACK_BYTES = 8 << 20


def describe(vmas, **facts):
    """Start and end from BASE, and kind, of each segment."""
    segments = make_segments(vmas, Facts(**facts))
    return [(s.start - BASE, s.end - BASE, s.kind) for s in segments]


def usable(start, end, **fields):
    return Vma(BASE + start, BASE + end, "rw-p", **fields)


def closed(start, end, **fields):
    return Vma(BASE + start, BASE + end, "---p", **fields)


def test_smaps_of_linux_6_18():
    vmas = parse_smaps(SMAPS)
    assert len(vmas) == SMAPS.count("VmFlags:") == 37
    heap = next(vma for vma in vmas if vma.path == "[heap]")
    assert (heap.size_bytes, heap.rss_bytes, heap.private_dirty_bytes) == (
        135168,
        2 * PAGE,
        2 * PAGE,
    )
    assert heap.flags == "rd wr mr mw me ac"
    code = next(vma for vma in vmas if "x" in vma.permissions)
    assert (code.path, code.offset_bytes) == ("/srv/lab/addresses", PAGE)
    assert code.inode > 0
    shared = next(vma for vma in vmas if vma.size_bytes == 100 * PAGE and "s" in vma.permissions)
    assert shared.rss_bytes == shared.pss_bytes == 11 * PAGE
    assert sum(vma.size_bytes for vma in vmas[:-1]) == parse_status(STATUS)["vm_size_bytes"]


@pytest.mark.parametrize("lines", ["KSM", "KSM|Pss_Dirty|THPeligible"])
def test_smaps_of_kernels_with_fewer_lines(lines):
    assert parse_smaps(re.sub(rf"(?m)^({lines}):.*\n", "", SMAPS)) == parse_smaps(SMAPS)


@pytest.mark.parametrize("line", ["Rss", "VmFlags"])
def test_smaps_without_a_line_that_we_need_is_refused(line):
    for count in (0, 1):  # in all VMAs, in the first only
        with pytest.raises(LabError, match="something else"):
            parse_smaps(re.sub(rf"(?m)^{line}:.*\n", "", SMAPS, count=count))


def test_a_path_with_spaces_is_one_path():
    line = "7f00-7f01 r--p 00000000 fe:00 260811                 "
    entry = SMAPS[SMAPS.index("\n") + 1 : SMAPS.index("VmFlags")] + "VmFlags: rd \n"
    (vma,) = parse_smaps(f"{line}/a b (deleted)\n{entry}")
    assert (vma.path, vma.inode) == ("/a b (deleted)", 260811)


def test_status_sizes_are_bytes():
    sizes = parse_status(STATUS)
    assert sizes["rss_bytes"] == 1676 * 1024
    parts = (sizes[f"rss_{part}_bytes"] for part in ("anon", "file", "shared"))
    assert sum(parts) == sizes["rss_bytes"]
    assert (sizes["stack_bytes"], sizes["page_table_bytes"]) == (132 * 1024, 60 * 1024)


def test_status_of_a_process_without_memory_has_no_sizes():
    assert parse_status("Name:\tkthreadd\nState:\tS (sleeping)\n") == {}


def test_faults_are_found_behind_any_name():
    stat = "8602 (a) S (b) S 8600 8596 17931 0 -1 4194304 146 9 3 8 0 0 0 0 20 0 2 0 2238199"
    assert parse_stat(stat) == {"minor_faults": 146, "major_faults": 3}


def test_pagemap_bits():
    bits = [0, 1 << 63, 1 << 63 | 1 << 56, 1 << 63 | 1 << 61 | 0xABCDE, 1 << 62 | 0x7FFFF, 1 << 55]
    expected = [0, PRESENT, PRESENT | EXCLUSIVE, PRESENT | FILE_OR_SHARED, SWAPPED, 0]
    assert list(parse_pagemap(struct.pack("=6Q", *bits))) == expected


def test_resident_pages_count_what_is_present():
    pages = ResidentPages(BASE, PAGE, bytes([PRESENT, SWAPPED, PRESENT | EXCLUSIVE, 0]))
    assert (pages.count, pages.resident_bytes, pages.end) == (2, 2 * PAGE, BASE + 4 * PAGE)


@pytest.fixture
def captured_root(tmp_path):
    """A /proc with one captured process, whose files are not on this machine."""
    folder = tmp_path / "8602"
    (folder / "task" / "8602").mkdir(parents=True)
    (folder / "task" / "8603").mkdir()
    (folder / "smaps").write_text(SMAPS)
    (folder / "cmdline").write_bytes(b"./addresses\0page\0")
    (folder / "exe").symlink_to("/srv/lab/addresses")
    (folder / "auxv").write_bytes(struct.pack("@4N", 7, 0x7F5D85376000, 0, 0))
    (folder / "limits").write_text("Max stack size            8388608    unlimited    bytes\n")
    return tmp_path


def test_a_captured_process_whose_files_are_gone(captured_root):
    space = read_address_space(8602, captured_root)
    assert space.command == "./addresses page"
    assert space.size_bytes == parse_status(STATUS)["vm_size_bytes"]
    assert space.find(0x560E8D44A486).kind == "text"
    assert space.find(0x560EC97EC2B0).kind == "heap"
    assert space.find(0x7F5D80000B70).kind == "arena"
    assert space.find(0x7F5D8507C6BC).kind == "thread_stack"
    assert space.find(0x7FFC63A1061C).kind == "stack"
    assert space.find(0x7F5D85368000).owner == "the program, by shmat"
    assert space.find(0x1000) is None
    assert {segment.kind for segment in space.segments} <= set(SEGMENT_KINDS)


def test_a_process_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(ProcessError, match="process 8602 is gone"):
        read_address_space(8602, tmp_path)
    with pytest.raises(ProcessError, match="process 99999999 is gone"):
        read_sizes(pid=99999999)


def test_a_file_that_the_kernel_does_not_have_is_a_sentence():
    @refuses_in_words
    def read_something(pid):
        return Path(f"/proc/{pid}/no_such_file").read_text()

    with pytest.raises(ProcessError, match="this kernel has no /proc/1/no_such_file"):
        read_something(1)


# The program of most of these: a page of code, then .data and .bss, which end in a third page.
PROGRAM = Image(
    loads=(
        Load(0, 0x800, 0x800, is_writable=False, is_code=True),
        Load(0x1E00, 0x2100, 0x3010, is_writable=True, is_code=False),
    ),
    sections=(
        Section(".rodata", 0x200, 0x300, is_code=False, is_zeroed=False),
        Section(".text", 0x310, 0x700, is_code=True, is_zeroed=False),
        Section(".dynamic", 0x1E00, 0x2000, is_code=False, is_zeroed=False),
        Section(".data", 0x2000, 0x2100, is_code=False, is_zeroed=False),
        Section(".bss", 0x2120, 0x3010, is_code=False, is_zeroed=True),
    ),
)
CODE = Vma(BASE, BASE + 0x1000, "r-xp", 0, 7, "/a")
LINKED = Vma(BASE + 0x1000, BASE + 0x2000, "r--p", 0x1000, 7, "/a")
VARIABLES = usable(0x2000, 0x3000, offset_bytes=0x2000, inode=7, path="/a")
CONSTANT_PART = [(0, 0x310, "read_only"), (0x310, 0x800, "text"), (0x800, 0x1000, "padding")]
BSS_IN_THE_FILES_PAGE = [
    (0x2000, 0x2100, "data"),
    (0x2100, 0x2120, "padding"),
    (0x2120, 0x3000, "bss"),
]


def test_data_and_bss_in_one_page_and_relocated_data():
    found = describe(
        [CODE, LINKED, VARIABLES, usable(0x3000, 0x4000)], program="/a", images={"/a": PROGRAM}
    )
    assert found == [
        *CONSTANT_PART,
        (0x1000, 0x1E00, "padding"),
        (0x1E00, 0x2000, "read_only"),
        *BSS_IN_THE_FILES_PAGE,
        (0x3000, 0x3010, "bss"),
        (0x3010, 0x4000, "padding"),
    ]


def test_bss_that_the_kernel_merged_with_the_heap():
    """As without randomization: the heap begins right behind .bss."""
    heap = usable(0x3000, 0x25000, path="[heap]")
    found = describe([CODE, LINKED, VARIABLES, heap], program="/a", images={"/a": PROGRAM})
    assert found[-3:] == [
        (0x3000, 0x3010, "bss"),
        (0x3010, 0x4000, "padding"),
        (0x4000, 0x25000, "heap"),
    ]


def test_before_linking_the_relocated_data_is_data():
    vma = usable(0x1000, 0x3000, offset_bytes=0x1000, inode=7, path="/a")
    found = describe([CODE, vma], program="/a", images={"/a": PROGRAM})
    assert found[4:] == [(0x1E00, 0x2000, "data"), *BSS_IN_THE_FILES_PAGE]


def test_a_program_without_section_headers_has_its_program_headers():
    image = Image(PROGRAM.loads, ())
    found = describe(
        [CODE, LINKED, VARIABLES, usable(0x3000, 0x4000)], program="/a", images={"/a": image}
    )
    assert found == [
        (0, 0x800, "text"),
        (0x800, 0x1000, "padding"),
        (0x1000, 0x1E00, "padding"),
        (0x1E00, 0x2000, "read_only"),
        (0x2000, 0x2100, "data"),
        (0x2100, 0x3000, "bss"),
        (0x3000, 0x3010, "bss"),
        (0x3010, 0x4000, "padding"),
    ]


def test_a_librarys_bss_is_cut_from_the_mapping_that_it_was_merged_with():
    found = describe(
        [CODE, LINKED, VARIABLES, usable(0x3000, 0x9000)], images={"/a": PROGRAM}, program="/b"
    )
    assert found[-2:] == [(0x3000, 0x4000, "library"), (0x4000, 0x9000, "anonymous")]


def test_the_file_at_the_loaders_base_is_the_loader_and_the_same_read_as_a_file_is_not():
    as_file = Vma(BASE + 0x10000, BASE + 0x13000, "r--p", 0, 7, "/a")
    found = describe([CODE, as_file], images={"/a": PROGRAM}, loader_base=BASE, program="/b")
    assert found == [(0, 0x1000, "loader"), (0x10000, 0x13000, "file")]


def test_an_arena_and_a_stack_whose_reserved_parts_were_merged():
    vmas = [
        usable(0, 0x21000, flags="rd wr nr"),
        closed(0x21000, ARENA_BYTES + PAGE),
        usable(ARENA_BYTES + PAGE, ARENA_BYTES + PAGE + STACK_BYTES),
    ]
    assert describe(vmas) == [
        (0, 0x21000, "arena"),
        (0x21000, ARENA_BYTES, "reserved"),
        (ARENA_BYTES, ARENA_BYTES + PAGE, "guard"),
        (ARENA_BYTES + PAGE, ARENA_BYTES + PAGE + STACK_BYTES, "thread_stack"),
    ]


def test_an_arena_that_was_merged_with_the_mapping_below():
    vmas = [usable(-0x5000, 0x21000), closed(0x21000, ARENA_BYTES)]
    assert describe(vmas) == [
        (-0x5000, 0, "anonymous"),
        (0, 0x21000, "arena"),
        (0x21000, ARENA_BYTES, "reserved"),
    ]


def test_a_full_arena_is_one_only_beside_another_and_unclaimed_on_swap():
    full = usable(0, ARENA_BYTES, flags="rd wr nr")
    other = [usable(2 * ARENA_BYTES, 2 * ARENA_BYTES + PAGE, flags="rd wr nr")]
    other.append(closed(other[0].end - BASE, 3 * ARENA_BYTES))
    assert describe([full, *other])[0] == (0, ARENA_BYTES, "arena")
    assert describe([full])[0][2] == "anonymous"
    assert describe([usable(0, ARENA_BYTES, flags="rd wr ac"), *other])[0][2] == "anonymous"


def test_a_reserved_range_that_is_no_arena():
    assert [kind for *_, kind in describe([usable(PAGE, 2 * PAGE), closed(2 * PAGE, 1 << 28)])] == [
        "anonymous",
        "reserved",
    ]
    too_short = [usable(0, PAGE), closed(PAGE, ARENA_BYTES - PAGE)]
    assert [kind for *_, kind in describe(too_short)] == ["anonymous", "reserved"]


def test_two_stacks_and_what_was_merged_above_them():
    size = STACK_BYTES + PAGE
    vmas = [closed(0, PAGE), usable(PAGE, size), closed(size, size + PAGE)]
    vmas.append(usable(size + PAGE, 2 * size + 0x3000))
    assert describe(vmas) == [
        (0, PAGE, "guard"),
        (PAGE, size, "thread_stack"),
        (size, size + PAGE, "guard"),
        (size + PAGE, 2 * size, "thread_stack"),
        (2 * size, 2 * size + 0x3000, "anonymous"),
    ]


def test_a_stack_of_another_size_needs_a_thread_and_a_small_guard():
    small = [closed(0, 2 * PAGE), usable(2 * PAGE, 0x20000)]
    assert [kind for *_, kind in describe(small, has_threads=True)] == ["guard", "thread_stack"]
    assert [kind for *_, kind in describe(small)] == ["reserved", "anonymous"]
    large = [closed(0, 1 << 20), usable(1 << 20, (1 << 20) + PAGE)]
    assert [kind for *_, kind in describe(large, has_threads=True)] == ["reserved", "anonymous"]


def test_where_the_kernel_marks_stacks_nothing_else_is_one():
    vmas = [
        *(closed(0, PAGE), usable(PAGE, 0x20000, flags="rd wr ac")),
        *(closed(0x30000, 0x31000), usable(0x31000, 0x40000, flags="rd wr ac nh")),
    ]
    kinds = [kind for *_, kind in describe(vmas, has_threads=True)]
    assert kinds == ["reserved", "anonymous", "guard", "thread_stack"]


def test_names_that_glibc_gives_are_told_not_inferred():
    vmas = [
        closed(0, PAGE),
        usable(PAGE, 0x20000, path="[anon: glibc: pthread stack: 4711]"),
        usable(ARENA_BYTES, ARENA_BYTES + 0x21000, path="[anon: glibc: malloc arena]"),
        usable(3 * ARENA_BYTES, 3 * ARENA_BYTES + PAGE, path="[anon: glibc: malloc]"),
    ]
    segments = make_segments(vmas, Facts())
    assert [(s.kind, s.owner, s.is_inferred) for s in segments] == [
        ("guard", "pthread_create", False),
        ("thread_stack", "pthread_create", False),
        ("arena", "malloc, for a thread", False),
        ("anonymous", "malloc, by mmap", False),
    ]


@pytest.mark.parametrize(
    ("permissions", "path", "kind", "name"),
    [
        ("rw-s", "/dev/zero (deleted)", "shared", ""),
        ("rw-p", "/dev/zero", "anonymous", ""),
        ("rw-s", "/memfd:a b (deleted)", "shared", "memfd:a b"),
        ("rw-s", "/dev/shm/x", "shared", "x"),
        ("rw-s", "/SYSV00000000 (deleted)", "shared", ""),
        ("rw-s", "/data/table", "file", "table"),
        ("r--p", "/data/table (deleted)", "file", "table"),
        ("---p", "/data/table", "reserved", "table"),
        ("rw-s", "anon_inode:[io_uring]", "kernel", ""),
        ("r--p", "[vvar_vclock]", "kernel", ""),
        ("r-xp", "[vdso]", "vdso", ""),
        ("--xp", "[vsyscall]", "kernel", ""),
        ("rw-s", "[anon_shmem:mine]", "shared", ""),
        ("rw-p", "[anon:mine]", "anonymous", ""),
        ("---p", "[heap]", "reserved", ""),
    ],
)
def test_kinds_by_what_the_kernel_calls_it(permissions, path, kind, name):
    (segment,) = make_segments([Vma(BASE, BASE + PAGE, permissions, path=path)], Facts())
    assert (segment.kind, segment.name) == (kind, name)


def test_a_vma_that_grew_while_it_was_read_is_in_no_two_segments():
    vmas = [usable(0, PAGE), usable(0, 3 * PAGE), usable(3 * PAGE, 4 * PAGE)]
    bounds = [(0, PAGE), (PAGE, 3 * PAGE), (3 * PAGE, 4 * PAGE)]
    assert describe(vmas) == [(start, end, "anonymous") for start, end in bounds]


def test_an_elf_file_is_read_again_when_it_has_changed(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(Path("/proc/self/exe").read_bytes())
    assert read_image(str(path)) is read_image(str(path))
    assert read_image(str(path), inode=1) is None
    path.write_bytes(b"something else")
    os.utime(path, ns=(1, 1))
    assert read_image(str(path)) is None


def test_faults_in_a_range_and_of_one_sort():
    def fault(page, was_present, count):
        return PageFault(BASE + page * PAGE, True, False, was_present, False, count, 0.0)

    faults = (fault(0, False, 1), fault(1, True, 5), fault(2, False, 7))
    trace = MemoryTrace("ebpf", "6.18", Target(1, "a"), 1.0, faults, ())
    assert trace.fault_count == 13
    assert trace.faults_in(BASE, BASE + 2 * PAGE) == 6
    assert trace.faults_in(BASE, BASE + 2 * PAGE, was_present=False) == 1
    assert trace.faults_in(BASE, BASE + 3 * PAGE, was_present=True) == 5
    assert trace.is_complete


def test_faults_by_the_function_that_touched_and_not_by_its_callers():
    def fault(count, *functions):
        frames = tuple(Frame(function, "a", 0) for function in functions)
        return PageFault(BASE, True, False, False, False, count, 0.0, frames)

    faults = (fault(1, "write", "main"), fault(5, "main", "write"), fault(7), fault(9, None))
    trace = MemoryTrace("ebpf", "6.18", Target(1, "a"), 1.0, faults, ())
    assert trace.made_by("write").fault_count == 1
    assert trace.made_by("main").faults == (faults[1],)
    assert trace.made_by("nobody").faults == ()
