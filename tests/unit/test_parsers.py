"""Parsers, on text captured from the tools named in each test."""

import re
from pathlib import Path

import pytest

from lablib.errors import LabError
from lablib.records import MEMORY_CALLS, USAGE_KINDS
from lablib.symbols import parse_mappings
from lablib.system import parse_vmstat_line
from lablib.tracing import memory_session, pressure_program, program, protocol, session
from lablib.tracing.memleak import parse_memleak
from lablib.tracing.program import PROGRAMS_DIR

DATA = Path(__file__).parents[1] / "data"


def test_memleak_report_of_a_container_bcc_0_26():
    report = parse_memleak("memleak", (DATA / "memleak-bcc-0.26-container.txt").read_text())
    top = report.stacks[0]
    assert (top.live_bytes, top.live_blocks) == (1_236_992, 151)
    assert top.frames == (
        "fibonacci+0x1c [app]",
        "child+0xc5 [app]",
        "start_thread+0x305 [libc.so.6]",
    )


def test_memleak_report_of_a_stripped_program_bcc_0_26():
    report = parse_memleak("memleak", (DATA / "memleak-bcc-0.26-stripped.txt").read_text())
    assert report.stacks[0].frames[:2] == ("[unknown] [app]", "[unknown] [app]")


def test_memleak_keeps_only_the_last_report():
    twice = (DATA / "memleak-bcc-0.26-container.txt").read_text()
    assert len(parse_memleak("memleak", twice + twice).stacks) == len(
        parse_memleak("memleak", twice).stacks
    )


def test_memleak_without_allocations_has_no_stacks():
    text = "Attaching to pid 1\n[10:23:18] Top 10 stacks with outstanding allocations:\n"
    assert parse_memleak("memleak", text).stacks == ()


@pytest.mark.parametrize(
    ("columns", "line"),
    [  # procps 4.0.2; procps 4.0.4, which has a column more
        (
            "r b swpd free buff cache si so bi bo in cs us sy id wa st",
            " 2  0      5 23935164   2200 586492    1    2   378   182   45   85  1  1 98  0  0",
        ),
        (
            "r b swpd free buff cache si so bi bo in cs us sy id wa st gu",
            " 2  0      5 23935164   2200 586492    1    2   378   182   45   85  1  1 98  0  0  0",
        ),
    ],
)
def test_vmstat_sizes_are_bytes(columns, line):
    sample = parse_vmstat_line(columns.split(), line, 1.5, 4096)
    assert (sample.free_bytes, sample.buffer_bytes) == (23935164 * 1024, 2200 * 1024)
    assert (sample.swapped_bytes, sample.swap_out_bytes_per_s) == (5 * 1024, 2 * 1024)
    assert (sample.blocks_in_per_s, sample.idle_percent, sample.rss_bytes) == (378, 98, 4096)


def test_vmstat_line_that_is_something_else_is_refused():
    with pytest.raises(LabError, match="prints something else"):
        parse_vmstat_line(["r", "b"], "vmstat: no such option", 0)


def test_mappings_keep_code_of_files_only():
    maps = (
        "55d0a000-55d0b000 r--p 00000000 fe:00 42 /app\n"
        "55d0b000-55d0c000 r-xp 00001000 fe:00 42 /app\n"
        "7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n"
        "7f1000000000-7f1000002000 r-xp 00026000 fe:00 7 /lib/a b.so (deleted)\n"
        "7ffd0000-7ffd1000 r-xp 00000000 00:00 0 [vdso]\n"
    )
    first, second = parse_mappings(maps)
    assert (first.start, first.file_offset, first.module) == (0x55D0B000, 0x1000, "app")
    assert second.module == "a b.so"


def read_enum(name):
    """The names of an enum of the kernel side, in order, in lower case."""
    source = "".join(path.read_text() for path in PROGRAMS_DIR.glob("*.bpf.c"))
    body = re.search(rf"enum {name} \{{(.*?)\}};", source, re.DOTALL)[1]
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    return tuple(word.lower() for word in re.findall(r"[A-Z_]+", body))


def test_counters_and_row_layout_are_those_of_the_kernel_side():
    assert read_enum("counter") == (*protocol.COUNTERS, "counters_len")
    assert read_enum("ending") == protocol.ENDINGS
    assert read_enum("window_state") == ("closed", "open", "frees_only")
    assert (program.CLOSED, program.OPEN, program.FREES_ONLY) == (0, 1, 2)
    assert read_enum("mapping_kind") == session.EVENT_KINDS
    classes = tuple(name.removesuffix("_mapping") for name in read_enum("mapping_class"))
    assert classes == protocol.MAPPING_CLASSES
    assert ("heap", *classes) == USAGE_KINDS
    assert read_enum("memory_call_name") == MEMORY_CALLS
    source = (PROGRAMS_DIR / "stack.bpf.c").read_text()
    row = re.search(r"struct stack \{(.*?)u64 frames", source, re.DOTALL)[1]
    assert tuple(re.findall(r"u64 (\w+);", row)) == protocol.STACK_FIELDS
    usage = re.search(r"struct usage \{(.*?)\};", source, re.DOTALL)[1]
    assert tuple(re.findall(r"u64 (\w+);", usage)) == protocol.USAGE_FIELDS


def read_words(part, name):
    """The words of a struct of the kernel side."""
    source = (PROGRAMS_DIR / f"{part}.bpf.c").read_text()
    body = re.search(rf"struct {name} \{{(.*?)\}};", source, re.DOTALL)[1]
    return tuple(re.findall(r"[us]64 (\w+);", body))


def test_the_layout_of_reclaims_and_victims_is_that_of_the_kernel_side():
    assert read_enum("reclaim_kind") == (*protocol.RECLAIM_KINDS, "reclaim_kinds")
    *fields, _ = (name.removeprefix("reclaim_") for name in read_enum("reclaim_field"))
    assert tuple(fields) == protocol.RECLAIM_FIELDS
    assert read_enum("role") == ("no_role", "member", "limiter")
    assert (pressure_program.MEMBER, pressure_program.LIMITER) == (1, 2)
    assert read_words("pressure", "victim") == protocol.VICTIM_FIELDS


def test_the_layout_of_faults_and_calls_is_that_of_the_kernel_side():
    assert (
        read_words("faults", "fault_key") + read_words("faults", "fault") == protocol.FAULT_FIELDS
    )
    calls = read_words("memory_calls", "memory_call_key") + read_words(
        "memory_calls", "memory_call"
    )
    assert calls == protocol.CALL_FIELDS
    source = (PROGRAMS_DIR / "faults.bpf.c").read_text()
    body = re.search(r"enum fault_sort \{(.*?)\};", source, re.DOTALL)[1]
    flags = {name.lower(): int(bit) for name, bit in re.findall(r"([A-Z_]+) = (\d+)", body)}
    assert flags == protocol.FAULT_FLAGS


def test_the_first_pid_namespace_has_one_number_on_both_sides():
    source = (PROGRAMS_DIR / "session.bpf.c").read_text()
    (number,) = re.findall(r"FIRST_PID_NAMESPACE_INODE (0x\w+)U", source)
    assert int(number, 16) == memory_session.FIRST_PID_NAMESPACE_INODE
