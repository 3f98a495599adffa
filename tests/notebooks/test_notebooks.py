"""Each notebook runs unattended from top to bottom, shows its figures, and leaves nothing."""

import re
import resource
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from execution import NOTEBOOKS, UNIT, execute
from nbclient.exceptions import CellExecutionError
from outputs import read_number, read_outputs, read_result, read_shown, read_table
from parallel import MACHINE

from lablib.doctor import PURPOSES
from lablib.steering import list_segments

pytestmark = pytest.mark.xdist_group(UNIT)

RANDOMISE = Path("/proc/sys/kernel/randomize_va_space")


@pytest.mark.xdist_group(MACHINE)
def test_start_here():
    name = "00_start_here"
    text, _ = read_outputs(name)
    shown = read_shown(name)
    assert re.search(
        r"^✓ compiler works: compiled a program, in C and in C\+\+\.$", shown, re.MULTILINE
    )
    assert len(re.findall(r"^[✓✗] .+: .+\.", shown, re.MULTILINE)) == len(PURPOSES)
    assert re.search(rf"(All|\d+ of) {len(PURPOSES)} things that were tried work", shown)
    rss_bytes = read_number(r"RSS +([\d,]+) bytes", text)
    assert read_result(name, "What is the RSS of the Python process?").endswith(" MiB")
    assert 10 << 20 < rss_bytes < read_number(r"VmSize +([\d,]+) bytes", text)
    assert "[01 · Where does it live?](01_where_does_it_live.ipynb) | 45 |" in shown


def test_where_does_it_live():
    name = "01_where_does_it_live"
    text, figures = read_outputs(name)
    shown = read_shown(name)
    assert len(figures) == 3
    assert "not mapped  " not in shown  # each object has a segment
    for place in (
        r"function +0x\w+ +program: code +r-xp",
        r"constant +0x\w+ +program: constants +r--p",
        r"initialised +0x\w+ +program: data +rw-p",
        r"zeroed +0x\w+ +program: bss \(zeroed\) +rw-p",
        r"small_block +0x\w+ +heap +rw-p +malloc, by brk",
        r"large_block +0x\w+ +anonymous mapping +rw-p",
        r"local +0x\w+ +stack +rw-p",
        r"thread_block +0x\w+ +arena of a thread +rw-p",
        r"local_in_thread +0x\w+ +stack of a thread +rw-p",
        r"shared_mapping +0x\w+ +shared memory +rw-s",
        r"library_function +0x\w+ +library libc\.so\.6 +r-xp",
    ):
        assert re.search(rf"^{place}", shown, re.MULTILINE), place
    assert "small_block, 0x" in text
    assert not psutil.pid_exists(read_number(r"segments runs, as process (\d+)", text))


def test_where_does_it_live_has_measured_what_it_says():
    name = "01_where_does_it_live"
    text, _ = read_outputs(name)
    shown = read_shown(name)
    assert "constant and string" in read_result(name, "Only one of these pairs lies in one segment")
    share = float(read_result(name, "How much of what is mapped is resident?").split()[0])
    assert 0 < share < 25
    grown, given_back = re.findall(r"^segment +what happened.+?(?=\n\n)", shown, re.M | re.S)
    happened = re.findall(r"^(\w[\w ]+?)  +(new|grew \w+|shrank|gone)", grown, re.MULTILINE)
    assert sorted(happened) == sorted(
        [
            ("heap", "grew upward"),
            ("arena of a thread", "grew upward"),
            ("reserved", "shrank"),
            ("anonymous mapping", "new"),
            ("anonymous mapping", "new"),
            ("shared memory", "new"),
            ("stack", "grew downward"),
        ]
    )
    assert read_result(name, "For how many of the six does it make a new mapping?") == "3 mappings"
    break_now = re.search(r"the program break is (0x\w+); it has moved by ([\d,]+) bytes", text)
    assert f"the heap ends at     {break_now[1]}\n" in text
    assert abs(int(break_now[2].replace(",", "")) - (4 << 20)) < 1 << 18
    assert "it has its size from the program's file" in text
    assert "anonymous mapping" not in given_back
    assert not given_back.startswith("heap")
    assert read_result(name, "After that, which place still holds") == "“stack”"


def test_where_does_it_live_finds_other_addresses_in_a_second_process():
    said = read_result("01_where_does_it_live", "How many objects have the same address")
    assert said == ("“none of them”" if RANDOMISE.read_text().strip() == "2" else said)


@pytest.mark.usefixtures("tracer_service")
def test_promised_and_paid():
    name = "02_promised_and_paid"
    text, figures = read_outputs(name)
    assert len(figures) == 3
    assert read_result(name, "By how much does RSS grow when `malloc` returns?") == "0 MiB"
    paid = read_result(name, "By how much does RSS grow when a quarter is touched?")
    assert 49 <= int(paid.removesuffix(" MiB")) <= 51
    freed = read_result(name, "What happens to VmSize and RSS when the whole block was touched")
    assert freed == "“both fall back to where they were before malloc”"
    assert read_result(name, "How many page faults does that take?") == "1,000 faults"
    assert "the tracer (ebpf): 1,000 faults" in text
    assert "own account: 1,000 minor, 0 major" in text
    assert "{'pages': 1000, 'minor_faults': 0, 'major_faults': 0}" in text
    assert "write_pages+0x" in text


def test_promised_and_paid_reads_zeros_for_nothing():
    name = "02_promised_and_paid"
    assert read_result(name, "How many pages does RSS grow by?") == "0 pages"
    writing = "How many faults does writing to these 1,000 pages take now?"
    assert read_result(name, writing) == "1,000 faults"
    faults = read_table(name, "Faults on the same 1,000 pages")
    assert faults == {"reading first": ["1,000", "0"], "then writing": ["0", "1,000"]}


def test_promised_and_paid_shares_until_one_writes():
    name = "02_promised_and_paid"
    text, _ = read_outputs(name)
    sizes = read_table(name, "One process, then two")
    before, parent, child = (float(size[1].removesuffix(" MiB")) for size in sizes.values())
    assert parent + child == pytest.approx(before, rel=0.02)
    assert parent == pytest.approx(child, rel=0.02)
    growth = "By how much does the memory in use grow with the child?"
    assert read_result(name, growth) == "0 MiB"
    assert read_result(name, "How many page faults does the child have?") == "100 faults"
    assert "where a page was there: 100 faults" in text
    own_bytes = read_number(r"Private_Dirty\): ([\d,]+) bytes", text)
    assert own_bytes == 100 * resource.getpagesize()


def test_the_stack():
    name = "03_the_stack"
    text, figures = read_outputs(name)
    assert len(figures) == 3
    frame = read_result(name, "How many bytes lie between the locals of a call")
    assert 1_000 <= read_number(r"([\d,]+) bytes", frame) <= 1_256
    calls = re.findall(r"^call \d: locals at (0x\w+)$", text, re.MULTILINE)
    assert len(calls) == 2
    assert calls[0] == calls[1]
    reused = read_result(name, "What does the stack do when all calls return")
    assert reused == "“it stays large, and the second descent needs nothing more”"
    assert read_number(r"page faults of the second descent: (\d+)", text) < 10
    ((before, after),) = re.findall(r"in memory +([\d,]+) -> +([\d,]+) pages", text)
    came = int(after.replace(",", "")) - int(before.replace(",", ""))
    assert read_result(name, "How many page faults does the stack take?") == f"{came:,} faults"
    assert read_number(r"that is ([\d,]+)", text) == pytest.approx(came, abs=4)
    assert "system calls for memory: 0" in text


def test_the_stack_ends_at_its_limit_and_a_threads_at_its_guard():
    name = "03_the_stack"
    text, _ = read_outputs(name)
    ended = read_result(name, "What happens at the limit?")
    assert ended == "“The kernel kills the program with a signal”"
    assert "the last page that the stack got: 1 MiB below its upper end" in text
    assert text.count("SIGSEGV") == 2
    paid = read_result(name, "How many KiB of this stack are in memory?")
    assert 0 < float(paid.removesuffix(" KiB")) < 256
    mapped_bytes = read_number(r"mmap of ([\d,]+) bytes, on behalf of start_thread", text)
    wall = read_result(name, "How many pages of its stack does the thread touch before it dies?")
    guard_kib = read_number(r"---p +(\d+) KiB +guard", text)  # 64 on arm64, whatever a page has
    stack_pages = (mapped_bytes - (guard_kib << 10)) // resource.getpagesize()
    assert wall == f"{stack_pages:,} pages"
    assert "reuses a stack: True" in text


@pytest.mark.parametrize("name", ["02_promised_and_paid", "03_the_stack"])
def test_without_the_tracer_a_recording_is_shown_as_one(name, monkeypatch):
    """And the program has done all the same what the cells below take for done."""
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    notebook = execute(nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4))
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    traced = sum("trace_during(" in cell.source for cell in notebook.cells)
    assert traced >= 3
    assert text.count("RECORDED, not live (LAB_SOURCE asks for it)") == traced
    assert "ebpf" not in text
    if name.startswith("02"):
        assert "{'pages': 1000, 'minor_faults': 0, 'major_faults': 0}" in text


def test_read_only_data_mapped_shared():
    text, figures = read_outputs("05_shared_and_mapped")
    assert len(figures) == 3
    assert "r--p" in text
    assert "was ended by SIGSEGV" in text
    assert "second reads A\nfirst reads  a" in text
    code = re.findall(r"code of the \w+(?:, alone)?: RSS ([\d,]+) bytes, PSS ([\d,]+)", text)
    (alone, second, first) = [[int(size.replace(",", "")) for size in sizes] for sizes in code]
    assert first == second
    assert 0 < first[1] < alone[1]
    assert "{'map_private': 0, 'map_shared': 7}" in text
    assert "{'map_file': '.....', 'map_file_shared': 'X....'}" in text
    assert "the first process finds 42 in it" in text
    assert "the name exists: False\nthe first process still reads 42" in text
    assert not list_notebook_segments()


def list_notebook_segments():
    """Those that a notebook has left behind: of others, which run, the maker is alive."""
    segments = [path for path in list_segments() if "-table_" in path.name]
    return [path for path in segments if not psutil.pid_exists(int(path.name.rpartition("_")[2]))]


def test_the_segment_is_gone_also_after_an_error_half_way():
    notebook = nbformat.read(NOTEBOOKS / "05_shared_and_mapped.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    making = next(cell for cell in code if "shm_create" in cell.source)
    failing = nbformat.v4.new_code_cell("print(segment.path.exists())\n1 / 0")
    notebook.cells = [*code[:2], making, failing]
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(notebook)
    assert failing.outputs[0].text == "True\n"
    deadline = time.monotonic() + 10
    while list_notebook_segments() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list_notebook_segments()


def test_only_the_childs_share_is_taken_from_the_parent():
    sizes = read_table("05_shared_and_mapped", "The parent, in MiB")
    rss, pss = ({step: float(row[place]) for step, row in sizes.items()} for place in (0, 1))
    for step in ("parent_write", "fork", "child_read", "end_child"):
        assert abs(rss[step] - rss["start"] - 64) < 1
        assert abs(pss[step] - pss["start"] - (32 if step == "child_read" else 64)) < 1
    assert abs(rss["unmap"] - rss["start"]) < 1


def test_mappings_that_leak_are_seen_in_the_address_space_only():
    text, figures = read_outputs("05_shared_and_mapped")
    before, after = map(int, re.search(r"VMAs: (\d+) before, (\d+) after", text).groups())
    assert after - before == 100
    assert "VmSize: 50.0 MiB more" in text
    grown = re.search(r"RSS goes from ([\d.]+) to ([\d.]+) MiB", figures[-1].data["text/plain"])
    assert float(grown[2]) - float(grown[1]) < 1


def test_the_heap():
    text, figures = read_outputs("04_the_heap")
    assert len(figures) == 3
    assert "it has 0 heaps" in text
    assert read_result("04_the_heap", "How much of the heap does a block of 100") == "112 bytes"
    if "keeps its cache in another way" not in text:
        states = read_table("04_the_heap", "The heap after the free").values()
        assert ["112", "freed, cached"] in states
        assert read_result("04_the_heap", "The program allocates 20 blocks of 400") == "7 chunks"
    assert "the blocks of 800 bytes lie behind the first 300 blocks" in text
    assert "the blocks of 300 bytes lie among the first 300 blocks" in text
    owners = read_table("04_the_heap", "The blocks of two threads")
    assert [row[0] for row in owners.values()] == ["heap", "arena of a thread"]


def test_the_heap_moves_the_break_as_often_as_its_chunks_need():
    moves = read_table("04_the_heap", "Calls that moved the break").values()
    grown = [int(moved.replace(",", "")) for _, moved in moves]
    assert len(set(grown)) == 1
    wanted_bytes = 10_000 * 112
    assert sum(grown) - grown[0] < wanted_bytes < sum(grown)


def test_the_heap_is_given_back_from_its_end_only():
    text, _ = read_outputs("04_the_heap")
    found = re.findall(r"^(\w+) +RSS +([\d.]+) MiB, break at (0x\w+)", text, re.MULTILINE)
    assert [step for step, _, _ in found] == [
        "allocate",
        "free_all",
        "allocate",
        "free_all_but_last",
        "trim",
    ]
    full, freed, pinned_full, pinned, trimmed = (
        (float(rss), int(end, 16)) for _, rss, end in found
    )
    assert full[0] - freed[0] > 9
    assert full[1] - freed[1] > 9_500_000
    assert pinned == pinned_full
    assert pinned[0] - trimmed[0] > 9
    assert 0 <= pinned[1] - trimmed[1] < 256 << 10


def test_large_blocks_have_mappings_until_one_was_freed():
    table = read_table("04_the_heap", "A block of its own")
    assert [mapped for (mapped,) in table.values()] == ["0", "0", "0", "1", "1", "1"]
    text, _ = read_outputs("04_the_heap")
    found = re.findall(r"mapped (\d); RSS ([\d.]+) MiB, after the free ([\d.]+) MiB", text)
    (first, rss, rss_freed), (second, rss_again, kept) = found
    assert (first, second) == ("1", "0")
    assert float(rss) - float(rss_freed) > 19
    assert abs(float(rss_again) - float(kept)) < 1


def test_leak_retention_and_fragmentation_differ_in_what_is_live():
    _, figures = read_outputs("04_the_heap")
    found = re.findall(
        r"(\w+): after 6 steps ([\d.]+) MiB are live and RSS has grown by ([\d.]+) MiB",
        figures[-1].data["text/plain"],
    )
    sizes = {name: (float(live), float(rss)) for name, live, rss in found}
    assert abs(sizes["Leak"][0] - sizes["Leak"][1]) < 1
    assert sizes["Retention"][0] < 0.5
    assert sizes["Retention"][1] > 10
    assert 1 < sizes["Fragmentation"][0] < sizes["Fragmentation"][1] / 2


def test_the_heap_without_the_tracer_shows_its_recording_and_says_so(monkeypatch):
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    notebook = execute(nbformat.read(NOTEBOOKS / "04_the_heap.ipynb", as_version=4))
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    assert text.count("RECORDED, not live") == 1
    assert "allocate_blocks+0x" in text
