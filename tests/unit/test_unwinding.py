"""The unwind table: on rules written by hand, and against readelf's reading of real programs."""

from __future__ import annotations

import bisect
import platform
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import give_up
from hypothesis import given
from hypothesis import strategies as st

from lablib.apps import build_app
from lablib.unwinding import (
    ROW_END,
    ROW_NONE,
    ROW_RBP,
    ROW_RSP,
    UnwindModule,
    find_unwind_pages,
    parse_unwind_rows,
    read_unwind_rows,
)

HEAD = ".cfa: $rsp 8 + .ra: .cfa -8 + ^"
NONE, END = (ROW_NONE, 0, 0), (ROW_END, 0, 0)
AFTER_CALL = (ROW_RSP, 8, 0)

needs_x86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="unwind tables are for x86-64"
)

# An early return before the frame is made, a frame of variable size, and an aligned one.
SOURCE = """
#include <stdlib.h>
#include <string.h>
__attribute__((noinline)) long early(long *numbers, long count)
{
    if (count < 3)
        return 0;
    long sum = 0, *copy = (long *)calloc(count, sizeof *copy);
    for (long i = 0; i < count; i++)
        sum += numbers[i] + labs(copy[i]) + strlen((char *)copy);
    free(copy);
    return sum;
}
__attribute__((noinline)) long variable(long count)
{
    long numbers[count], aligned[8] __attribute__((aligned(64)));
    memset(numbers, 1, sizeof numbers);
    return early(numbers, count) + early(aligned, 8);
}
"""
C_MAIN = "int main(int count, char **words) { return words ? (int)variable(count) : 1; }\n"
CPP_MAIN = """
#include <string>
#include <vector>
__attribute__((noinline)) std::vector<std::string> list(int count)
{
    std::vector<std::string> words;
    if (!count)
        return words;
    for (int i = 0; i < count; i++)
        words.push_back(std::to_string(variable(i)));
    if (words.size() > 9)
        throw words;
    return words;
}
int main(int count, char **)
{
    try { return (int)list(count).size(); } catch (...) { return 1; }
}
"""


def unpack(rows) -> dict[int, tuple[int, int, int]]:
    """Address -> (kind, offset of the CFA in bytes, slot)."""
    words = [int(row) for row in rows]
    return {w >> 32: (w & 0xFF, (w >> 16 & 0xFFFF) * 8, w >> 8 & 0xFF) for w in words}


def parse(*records: str, **options) -> dict[int, tuple[int, int, int]]:
    text = "".join(f"STACK CFI {record}\n" for record in records)
    return unpack(parse_unwind_rows(text.encode(), **options))


def test_a_frame_pointer_is_followed_from_its_push_to_its_pop():
    assert parse(
        f"INIT 1590 20 {HEAD}",
        "1591 .cfa: $rsp 16 + $rbp: .cfa -16 + ^",
        "1596 .cfa: $rbp 16 +",
        "15a8 .cfa: $rsp 8 +",
    ) == {
        0x1590: AFTER_CALL,
        0x1591: (ROW_RSP, 16, 2),
        0x1596: (ROW_RBP, 16, 2),
        0x15A8: AFTER_CALL,
        0x15B0: NONE,
    }


def test_without_a_frame_pointer_rbp_is_saved_only_while_its_slot_is_on_the_stack():
    rows = parse(
        f"INIT 100 50 {HEAD}",
        "101 .cfa: $rsp 16 +",
        "102 .cfa: $rsp 24 + $rbp: .cfa -24 + ^",
        "106 .cfa: $rsp 80 +",
        "120 .cfa: $rsp 24 +",
        "121 .cfa: $rsp 16 +",
        "122 .cfa: $rsp 8 +",
        "123 .cfa: $rsp 80 +",
    )
    assert [slot for _, _, slot in rows.values()] == [0, 0, 3, 3, 3, 0, 0, 3, 0]


def test_each_function_begins_afresh():
    rows = parse(
        f"INIT 100 10 {HEAD}", "101 .cfa: $rsp 16 + $rbp: .cfa -16 + ^",
        f"INIT 200 10 {HEAD}", "204 .cfa: $rsp 32 +",
    )  # fmt: skip
    assert rows[0x204] == (ROW_RSP, 32, 0)


def test_functions_are_sorted_and_only_gaps_between_them_have_no_rule():
    rows = parse(
        f"INIT 300 10 {HEAD}",
        "304 .cfa: $rsp 16 +",
        f"INIT 100 10 {HEAD}",
        f"INIT 110 20 {HEAD}",
        "118 .cfa: $rsp 24 +",
    )
    assert list(rows.items()) == [
        (0x100, AFTER_CALL),
        (0x118, (ROW_RSP, 24, 0)),
        (0x130, NONE),
        (0x300, AFTER_CALL),
        (0x304, (ROW_RSP, 16, 0)),
        (0x310, NONE),
    ]


def test_records_that_change_nothing_that_a_walk_needs_make_no_row():
    assert parse(f"INIT 100 10 {HEAD}", "104 $rbx: .cfa -24 + ^ $r12: .cfa -16 + ^") == {
        0x100: AFTER_CALL,
        0x110: NONE,
    }


def test_a_rule_that_begins_where_its_function_ends_holds_nowhere():
    assert parse(f"INIT 100 10 {HEAD}", "110 .cfa: $rsp 32 +", f"INIT 200 0 {HEAD}") == {
        0x100: AFTER_CALL,
        0x110: NONE,
    }


def test_the_outermost_function_has_no_return_address():
    assert parse("INIT 1490 22 .cfa: $rsp 8 +")[0x1490] == END


def test_the_entry_is_outermost_whatever_its_rules_say():
    rows = parse(f"INIT 10 10 {HEAD}", f"INIT 20 10 {HEAD}", "24 .cfa: $rsp 16 +", entry=0x20)
    assert rows == {0x10: AFTER_CALL, 0x20: END, 0x30: NONE}


@pytest.mark.parametrize(
    "change",
    [
        ".cfa: $r10 0 +",
        ".cfa: $rsp 20 +",
        ".cfa: $rsp -8 +",
        ".cfa: $rsp 524288 +",
        ".ra: $rdx",
        ".ra: .cfa -16 + ^",
        "$rbp: $r9",
        "$rbp: .cfa 8 + ^",
        ".cfa: $rsp 24 + $rbp: .cfa -20 + ^",
        ".cfa: $rsp 4096 + $rbp: .cfa -2048 + ^",
    ],
)
def test_what_the_row_can_not_say_has_no_rule(change):
    assert parse(f"INIT 100 10 {HEAD}", f"104 {change}")[0x104] == NONE


def test_the_largest_frame_and_slot_fit():
    rows = parse(f"INIT 100 10 {HEAD}", "104 .cfa: $rsp 524280 + $rbp: .cfa -2040 + ^")
    assert rows[0x104] == (ROW_RSP, 524280, 255)


def test_behind_a_cfa_in_another_register_nothing_is_certain():
    """There a function may come back to an expression, which the records leave out."""
    rows = parse(
        f"INIT 100 40 {HEAD}", "105 .cfa: $r10 0 +", "120 .cfa: $rsp 8 +", f"INIT 140 10 {HEAD}"
    )
    assert rows == {0x100: AFTER_CALL, 0x105: NONE, 0x140: AFTER_CALL, 0x150: NONE}


def test_a_function_whose_cfa_is_an_expression_has_no_rule():
    assert parse(f"INIT 100 10 {HEAD}", "INIT 110 10 .ra: .cfa -8 + ^", "INIT 120 10")[0x110] == (
        NONE
    )


def test_a_header_before_the_first_record_is_passed_over():
    rows = parse_unwind_rows(b"CFIC\2\0\0\0" + f"STACK CFI INIT 100 10 {HEAD}\n".encode())
    assert unpack(rows) == {0x100: AFTER_CALL, 0x110: NONE}


def test_addresses_of_more_than_32_bits_are_left_out():
    assert parse(f"INIT fffffff0 10 {HEAD}", f"INIT 100000000 10 {HEAD}") == {
        0xFFFFFFF0: AFTER_CALL
    }


def test_no_records_no_rows():
    rows = parse_unwind_rows(b"")
    assert rows.dtype == np.uint64
    assert len(rows) == 0


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF\2\1" + bytes(58)])
def test_a_file_that_is_no_program_has_no_rows(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert len(read_unwind_rows(tmp_path / "file")) == 0


@needs_x86_64
def test_damaged_programs_have_no_rows_or_some_but_raise_nothing(tmp_path):
    image = build_app("fib_leak").executable.read_bytes()
    file = tmp_path / "file"
    for size in range(0, len(image), 1009):
        file.write_bytes(image[:size])
        read_unwind_rows(file)
    for at in range(4, 64):
        for value in (b"\0", b"\x80", b"\xff"):
            file.write_bytes(image[:at] + value + image[at + 1 :])
            read_unwind_rows(file)


@needs_x86_64
def test_programs_of_another_machine_have_no_rows(tmp_path):
    image = bytearray(build_app("fib_leak").executable.read_bytes())
    image[18:20] = (183).to_bytes(2, "little")  # EM_AARCH64
    (tmp_path / "file").write_bytes(image)
    assert len(read_unwind_rows(tmp_path / "file")) == 0


@needs_x86_64
@pytest.mark.parametrize("frame_pointer", ["-fno-omit-frame-pointer", "-fomit-frame-pointer"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_rows_of_a_c_program_agree_with_readelf(tmp_path, level, frame_pointer):
    check_rows(compile_program(tmp_path, "gcc", SOURCE + C_MAIN, level, frame_pointer))


@needs_x86_64
@pytest.mark.parametrize("frame_pointer", ["-fno-omit-frame-pointer", "-fomit-frame-pointer"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_rows_of_a_cpp_program_agree_with_readelf(tmp_path, level, frame_pointer):
    if shutil.which("g++") is None:
        give_up("allocators", "g++ is not installed", could_have_run=False)
    check_rows(compile_program(tmp_path, "g++", SOURCE + CPP_MAIN, level, frame_pointer))


@needs_x86_64
@pytest.mark.parametrize("is_stripped", [False, True])
def test_rows_of_an_app_agree_with_readelf(is_stripped):
    check_rows(build_app("fib_leak", stripped=is_stripped).executable)


@needs_x86_64
def test_rows_of_libc_agree_with_readelf():
    check_rows(Path(re.search(r"/\S*/libc[.-]\S*", Path("/proc/self/maps").read_text())[0]))


@needs_x86_64
def test_addresses_count_from_the_page_that_the_kernel_maps(tmp_path):
    source = "int f(int x) { return x; }\nvoid _start(void) { for (;;) f(1); }\n"
    options = ["-nostdlib", "-static", "-Wl,-N,--build-id=none,-Ttext=0x400123"]
    rows = check_rows(compile_program(tmp_path, "gcc", source, "-O0", *options))
    assert min(rows) == 0x123


def compile_program(folder: Path, compiler: str, source: str, *options: str) -> Path:
    path = folder / ("source.c" if compiler == "gcc" else "source.cpp")
    path.write_text(source)
    program = folder / "program"
    subprocess.run([compiler, *options, "-o", program, path], check=True)
    return program


def check_rows(path: Path) -> dict[int, tuple[int, int, int]]:
    """Compare the rule at every address where the table's or readelf's may change."""
    rows = unpack(read_unwind_rows(path))
    starts = list(rows)
    wrong, ends = [], {0}
    functions = read_truth(path)
    for truth, end in functions:
        inside = starts[bisect.bisect(starts, min(truth)) : bisect.bisect_left(starts, end)]
        is_followable = not any(kind is None for kind, _, _ in truth.values())
        for address in sorted({*truth, *inside}):
            expected = truth[max(start for start in truth if start <= address)]
            found = find_rule(rows, starts, address)
            if found != expected and (is_followable or found != NONE):
                wrong.append((hex(address), found, expected))
        ends.add(end)
    for gap in ends - {min(truth) for truth, _ in functions}:
        if find_rule(rows, starts, gap) != NONE:
            wrong.append((hex(gap), "no gap"))
    assert functions
    assert not wrong
    return rows


def find_rule(rows, starts: list[int], address: int) -> tuple[int, int, int]:
    index = bisect.bisect(starts, address) - 1
    return rows[starts[index]] if index >= 0 else NONE


def read_truth(path: Path) -> list[tuple[dict[int, tuple[int | None, int, int]], int]]:
    """For each function its rules by address, and its end, as readelf interprets .eh_frame.

    The kind None is a CFA that is neither rsp nor rbp plus an offset.
    """
    headers = run_readelf("-lhW", path)
    base = int(re.search(r"^ +LOAD +\S+ (\S+)", headers, re.M)[1], 16) & ~0xFFF
    entry = int(re.search(r"Entry point address: +(\S+)", headers)[1], 16)
    functions, first_rule, rules, columns = [], {}, {}, []
    for line in run_readelf("-wFN", path).splitlines():
        words = re.sub(r"\br\d+ +\((\w+)\)", r"\1", line).split()
        if header := re.match(r"(\w+) \w+ \w+ (CIE|FDE)(?: cie=(\w+) pc=(\w+)\.\.(\w+))?", line):
            columns, rules = [], {}
            if header[2] == "CIE":
                first_rule[header[1]] = rules
                continue
            start, end = (int(header[part], 16) for part in (4, 5))
            rules[start - base] = next(iter(first_rule[header[3]].values()), (None, 0, 0))
            functions.append((rules, end - base))
            is_entry = start <= entry < end
        elif words[:1] in ([], ["LOC"]):
            columns = words
        elif columns and len(words) == len(columns):
            at = int(words[0], 16)
            rule = interpret(dict(zip(columns, words, strict=True)))
            if not functions or rules is not functions[-1][0]:
                rules[at] = rule
            elif at < end:
                rules[at - base] = END if is_entry else rule
    return [(rules, end) for rules, end in functions if end > min(rules)]


def interpret(columns: dict[str, str]) -> tuple[int | None, int, int]:
    cfa = re.fullmatch(r"(rsp|rbp)\+(\d+)", columns["CFA"])
    if columns["ra"] == "u":
        return END
    if cfa is None:
        return (None, 0, 0)
    saved = re.fullmatch(r"c-(\d+)", rbp := columns.get("rbp", "u"))
    if columns["ra"] != "c-8" or (saved is None and rbp not in "us"):
        return NONE
    slot, offset = int(saved[1]) // 8 if saved else 0, int(cfa[2])
    if cfa[1] == "rbp":
        return (ROW_RBP, offset, slot)
    return (ROW_RSP, offset, 0 if slot * 8 > offset else slot)  # below the stack: popped


def run_readelf(option: str, path: Path) -> str:
    words = ["readelf", option, str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def look_up(rows, address):
    """The row that holds for an address: the last that begins at or before it."""
    index = np.searchsorted(rows >> np.uint64(32), np.uint64(address), side="right")
    return int(rows[index - 1]) if index else None


@given(
    starts=st.lists(st.integers(0, 5 * 4096), min_size=1, max_size=40, unique=True),
    first_page=st.integers(1, 3),
    first_row=st.integers(0, 100),
    place=st.integers(0, 5 * 4096 - 1),
)
def test_a_page_gives_an_address_the_row_that_holds_for_it(starts, first_page, first_row, place):
    rows = np.array(
        [start << 32 | number for number, start in enumerate(sorted(starts))], np.uint64
    )
    bias = 0x7F0000000000 - 4096
    start = bias + first_page * 4096
    module = UnwindModule(start, start + 4 * 4096, bias, rows)
    numbers, places = find_unwind_pages(module, first_row)
    assert len(set(numbers.tolist())) == len(numbers)
    address = min(start + place, module.end - 1)
    found = np.flatnonzero(numbers == address // 4096)
    expected = look_up(rows, address - bias)
    if not len(found):
        assert expected is None
        return
    page_bias, where = (int(word) for word in places[found[0]])
    first, count = where & 0xFFFFFFFF, where >> 32
    own = rows[first - first_row : first - first_row + count]
    assert len(own) == count <= 4097
    assert look_up(own, address - page_bias) == expected
