"""What the field's tools print, on text captured from the version in each file's name."""

from pathlib import Path

import pytest

from lablib.records import MemleakReport, MemleakStack
from lablib.tools import NoReportError
from lablib.tools.ebpf import parse_bpftrace, read_memleak
from lablib.tools.glibc import parse_malloc_info, parse_mtrace
from lablib.tools.heaptrack import parse_costs, parse_heaptrack
from lablib.tools.sanitizers import parse_sanitizer
from lablib.tools.totals import parse_pmap, parse_rollup
from lablib.tools.valgrind import parse_massif, parse_memcheck

DATA = Path(__file__).parents[1] / "data"


def read(name):
    return (DATA / name).read_text()


def places(finding):
    return [(frame.function, frame.file, frame.line) for frame in finding.frames]


def test_memcheck_names_lost_blocks_and_their_stack():
    (lost,) = parse_memcheck(read("memcheck-3.19.0-fib_leak.txt"))
    assert (lost.kind, lost.size_bytes, lost.blocks) == ("definitely lost", 327_680, 40)
    assert lost.is_complaint
    assert places(lost)[1:3] == [("fibonacci", "fib_leak.c", 19), ("child", "fib_leak.c", 34)]
    assert lost.frames[0].module == "vgpreload_memcheck-amd64-linux.so"


def test_memcheck_lists_what_is_still_reachable_and_does_not_complain():
    (reachable,) = parse_memcheck(read("memcheck-3.19.0-session_registry.txt"))
    assert (reachable.size_bytes, reachable.blocks) == (36_800, 40)
    assert not reachable.is_complaint


def test_memcheck_counts_open_files_by_the_stack_that_opened_them():
    found = list(parse_memcheck(read("memcheck-3.19.0-open_files.txt")))
    assert [(each.kind, each.size_bytes, each.blocks) for each in found] == [
        ("open file descriptors", None, 6)
    ]
    assert ("read_size", "open_files.c", 23) in places(found[0])


def test_massif_tells_what_grows_from_what_is_only_in_use():
    found = {each.frames[0].function: each for each in parse_massif(read(MASSIF))}
    leak, cache = found["describe_request"], found["get_tile"]
    assert leak.is_complaint
    assert 0 < leak.size_bytes <= 2000 * 160
    assert not cache.is_complaint
    assert cache.size_bytes == 50 * 65_536
    assert leak.blocks is None


MASSIF = "massif-3.19.0-cache_and_leak.txt"


BEGUN = "desc: --massif-out-file=x\ncmd: x\ntime_unit: i\n"


@pytest.mark.parametrize(
    ("parse", "name", "last_part"),
    [
        (parse_memcheck, "memcheck-3.19.0-fib_leak.txt", "=="),
        (parse_massif, MASSIF, "#-----------"),
        (parse_heaptrack, "heaptrack-1.4.0-fib_leak.txt", "total runtime"),
    ],
)
def test_a_report_that_breaks_off_is_refused_wherever_that_is(parse, name, last_part):
    """Else what stood behind would be "missed". Massif's may end after any snapshot."""
    text = read(name).rstrip()
    first = text.rindex(last_part) if parse is parse_massif else 0
    last = text.rindex("\n") if parse is parse_massif else text.rindex(last_part)
    for end in range(first + len(last_part), last, max(1, (last - first) // 20)):
        with pytest.raises(NoReportError):
            list(parse(text[:end]))


@pytest.mark.parametrize("text", ["", "all is well\n", BEGUN])
@pytest.mark.parametrize("parse", [parse_memcheck, parse_massif, parse_heaptrack, parse_mtrace])
def test_what_is_no_report_is_refused(parse, text):
    with pytest.raises(NoReportError):
        list(parse(text))


def test_memcheck_may_stamp_each_line_with_the_time():
    text = read("memcheck-3.19.0-fib_leak.txt")
    lines = [line.replace("==", "==00:00:00:00.676 ", 1) for line in text.splitlines()]
    assert list(parse_memcheck("\n".join(lines))) == list(parse_memcheck(text))


def test_memcheck_frames_without_a_name_or_a_place_keep_their_callers():
    text = (
        "==7== 80 bytes in 2 blocks are definitely lost in loss record 1 of 1\n"
        "==7==    at 0x4848899: malloc (in /usr/libexec/valgrind/vgpreload.so)\n"
        "==7==    by 0x10930A: ???\n"
        "==7==    by 0x10930B: ??? (in /opt/my apps/leak)\n"
        "==7==    by 0x10930C: operator new(unsigned long) (new.cpp:12)\n"
        "==7==    by 0x10930D: (below main) (libc-start.c:308)\n"
        "==7== \n"
        "==7== ERROR SUMMARY: 1 errors from 1 contexts (suppressed: 0 from 0)\n"
    )
    (lost,) = parse_memcheck(text)
    assert [frame.module for frame in lost.frames] == ["vgpreload.so", "", "leak", "", ""]
    assert places(lost) == [
        ("malloc", None, None),
        (None, None, None),
        (None, None, None),
        ("operator new(unsigned long)", "new.cpp", 12),
        ("(below main)", "libc-start.c", 308),
    ]


def test_heaptrack_joins_the_place_of_the_call_and_each_stack_that_led_there():
    found = list(parse_heaptrack(read("heaptrack-1.4.0-fib_leak.txt")))
    assert (found[0].size_bytes, found[0].blocks) == (327_680, 40)
    assert places(found[0])[:2] == [
        ("fibonacci", "./fib_leak.c", 19),
        ("child", "./fib_leak.c", 34),
    ]
    assert found[0].frames[0].module == "fib_leak"


def test_heaptrack_names_the_callers_of_a_library():
    (blocks,) = parse_heaptrack(read("heaptrack-1.4.0-thread_stacks.txt"))
    assert "start_sending" in [frame.function for frame in blocks.frames]


def test_heaptrack_without_symbols_has_frames_without_names():
    text = (
        "MEMORY LEAKS\n1.20K leaked over 3 calls from\n0x55d1\n  in ??\n"
        "1.20K leaked over 3 calls from:\n    f(int)\n      at ./a.c:4\n      in /opt/my app\n"
        "  and 20B from 2 other places\n\ntotal runtime: 0.10s.\n"
    )
    (leak,) = parse_heaptrack(text)
    assert leak.size_bytes == 1200
    assert places(leak) == [(None, None, None), ("f(int)", "./a.c", 4)]
    assert [frame.module for frame in leak.frames] == ["??", "my app"]


def test_heaptrack_measures_the_program_itself():
    costs = parse_costs(read("heaptrack-1.4.0-fib_leak.txt"))
    assert costs["work_seconds"] < 1
    assert 1 << 20 < costs["peak_rss_bytes"] < 64 << 20


@pytest.mark.parametrize(
    ("name", "size_bytes", "place"),
    [
        ("lsan-gcc-12.2-fib_leak.txt", 327_680, ("fibonacci", "fib_leak.c", 19)),
        ("asan-gcc-12.2-cache_and_leak.txt", 6400, ("describe_request", "cache_and_leak.c", 41)),
    ],
)
def test_sanitizers_say_bytes_blocks_and_where(name, size_bytes, place):
    (leak,) = parse_sanitizer(read(name))
    assert (leak.kind, leak.size_bytes, leak.blocks) == ("direct leak", size_bytes, 40)
    assert places(leak)[1] == place


def test_a_sanitizer_that_knows_only_the_module_names_that():
    text = (
        "Indirect leak of 8 byte(s) in 1 object(s) allocated from:\n    #0 0x7f (/lib/x.so+0x12)\n"
    )
    (leak,) = parse_sanitizer(text)
    assert (leak.frames[0].function, leak.frames[0].module) == (None, "x.so")


def test_a_sanitizer_of_another_compiler_is_read_too():
    """gcc 13 and clang: build-ids, columns, paths with blanks, names of C++."""
    text = (
        "Direct leak of 80 byte(s) in 2 object(s) allocated from:\n"
        "    #0 0x7f1 in operator new(unsigned long) ../../libsanitizer/asan/new.cpp:99\n"
        "    #1 0x7f2 in fibonacci(int) /home/ann/my programs/fib leak.c:19:12\n"
        "    #2 0x7f3 in __libc_start_main (/lib/x86_64/libc.so.6+0x2784) (BuildId: 51657f8)\n"
        "    #3 0x7f4  (<unknown module>)\n"
        "    #4 0x7f5  (/opt/my app/leak+0x1234) (BuildId: 0a)\n"
        "\nSUMMARY: AddressSanitizer: 80 byte(s) leaked in 2 allocation(s).\n"
    )
    (leak,) = parse_sanitizer(text)
    assert places(leak) == [
        ("operator new(unsigned long)", "new.cpp", 99),
        ("fibonacci(int)", "fib leak.c", 19),
        ("__libc_start_main", None, None),
        (None, None, None),
        (None, None, None),
    ]
    assert [frame.module for frame in leak.frames[2:]] == ["libc.so.6", "", "leak"]


def test_mtrace_knows_lines_and_no_functions():
    found = list(parse_mtrace(read("mtrace-glibc-2.36-fib_leak.txt")))
    assert [(each.size_bytes, each.blocks) for each in found] == [(327_680, 40)]
    assert places(found[0]) == [(None, "fib_leak.c", 21)]


def test_mtrace_of_a_stripped_program_has_an_address_only():
    text = "\nMemory not freed:\n-----\n0x000055d0c0de12a0     0x64  at 0x55d0c0dd9185\n"
    (found,) = parse_mtrace(text)
    assert (found.size_bytes, found.frames[0].line) == (100, None)


def test_malloc_info_counts_what_is_not_free():
    used = parse_malloc_info(read("malloc_info-glibc-2.36-fib_leak.xml"))
    assert 40 * 8192 <= used < 40 * 8192 + 16_384


def test_a_cut_off_malloc_info_is_refused():
    with pytest.raises(NoReportError):
        parse_malloc_info("<malloc version='1'><heap nr='0'>")
    with pytest.raises(NoReportError):
        parse_malloc_info("<malloc version='1'></malloc>")


def test_pmap_and_smaps_rollup_agree_on_what_is_resident():
    mapped = parse_pmap(read("pmap-procps-4.0.2.txt"))
    sizes = parse_rollup(read("smaps_rollup-linux-6.18.txt"))
    assert mapped["resident (RSS)"] == sizes["RSS"]
    assert sizes["USS"] <= sizes["PSS"] <= sizes["RSS"] <= mapped["mapped (Kbytes)"]


def test_another_output_of_pmap_is_refused():
    with pytest.raises(NoReportError):
        parse_pmap("812:   gone\n")
    with pytest.raises(NoReportError):
        parse_rollup("Rss: 12 kB\n")


def test_bpftrace_is_read_as_it_printed_last():
    found = list(parse_bpftrace(read("bpftrace-0.17.0-cache_and_leak.txt")))
    assert [each.frames[0].function for each in found] == ["serve_tile", "describe_request"]
    assert [each.size_bytes for each in found] == [3_276_800, 43_040]
    assert found[0].blocks is None


def test_bpftrace_leaves_out_what_was_freed_and_keeps_addresses_without_names():
    text = (
        "live now:\n@live[\n    0x7f2e\n    main+12\n]: 80\n@live[\n    f+1\n]: -8\n\nthat is all\n"
    )
    (found,) = parse_bpftrace(text)
    assert [frame.function for frame in found.frames] == [None, "main"]


def test_bpftrace_with_debug_information_names_files_and_what_was_inlined():
    text = (
        "live now:\n@live[\n    [inlined] g@/home/ann/a b.c:7\n    f+37@/home/ann/a b.c:14\n"
        "    fopen@@GLIBC_2.2.5+12\n    <unwind failure>\n]: 80\n\nthat is all\n"
    )
    (found,) = parse_bpftrace(text)
    assert places(found) == [
        ("g", "/home/ann/a b.c", 7),
        ("f", "/home/ann/a b.c", 14),
        ("fopen@@GLIBC_2.2.5", None, None),
        (None, None, None),
    ]


def test_memleak_frames_have_functions_and_modules():
    frames = ("fibonacci+0x1c [app]", "[unknown] [libc.so.6]")
    (found,) = read_memleak(MemleakReport("memleak", "", (MemleakStack(8192, 1, frames),)))
    assert [(f.function, f.module) for f in found.frames] == [
        ("fibonacci", "app"),
        (None, "libc.so.6"),
    ]
