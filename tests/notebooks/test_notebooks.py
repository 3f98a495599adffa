"""Each notebook runs unattended from top to bottom, shows its figures, and leaves nothing."""

import re
import resource
import time

import nbformat
import pytest
from bs4 import BeautifulSoup
from execution import NOTEBOOKS, execute, run_notebook
from nbclient.exceptions import CellExecutionError

from lablib.steering import list_segments

pytestmark = pytest.mark.usefixtures("tracer_service")


def read_outputs(name):
    outputs = [out for cell in run_notebook(name).cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    figures = [out for out in outputs if "image/png" in out.get("data", {})]
    return text, figures


def read_table(name, caption):
    """The cells of a table as text, by the header of their row."""
    outputs = [out for cell in run_notebook(name).cells for out in cell.get("outputs", [])]
    pages = [BeautifulSoup(out.get("data", {}).get("text/html", ""), "html.parser") for out in outputs]
    (table,) = [
        table for page in pages for table in page.find_all("table") if table.caption and table.caption.text == caption
    ]
    rows = table.select("tbody tr")
    return {row.th.text: [cell.text for cell in row.find_all("td")] for row in rows}


def read_results(notebook):
    """What the notebook has compared each prediction with, in order."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    texts = "\n".join(out.get("data", {}).get("text/plain", "") for out in outputs)
    return re.findall(r"^The result: (.+)$", texts, re.MULTILINE)


def test_the_fibonacci_case():
    text, figures = read_outputs("09_fibonacci_case")
    assert len(figures) == 2
    assert "fibonacci+0x" in text
    assert re.search(r"fibonacci \(fib_leak\.c:\d+\) leaks", text)
    assert "[unknown] [" in text
    assert re.search(r"Fixed: fibonacci kept [\d,]+ of [\d,]+ blocks before", text)


def find_number(pattern, text):
    (found,) = re.findall(pattern, text)
    return float(found.replace(",", ""))


def test_promised_and_paid():
    name = "02_promised_and_paid"
    text, figures = read_outputs(name)
    assert len(figures) == 3
    promised, paid, freed, first, read, written, shared, copied = read_results(run_notebook(name))
    assert promised == shared == "0 MiB"
    assert 49 <= int(paid.removesuffix(" MiB")) <= 51
    assert freed == "“both fall back to where they were before malloc”"
    assert first == written == "1,000 faults"
    assert "the tracer (ebpf): 1,000 faults" in text
    assert "own account: 1,000 minor, 0 major" in text
    assert "{'pages': 1000, 'minor_faults': 0, 'major_faults': 0}" in text
    assert "write_pages+0x" in text
    assert read == "0 pages"
    faults = read_table(name, "Faults on the same 1,000 pages")
    assert faults == {"reading": ["1,000", "0"], "then writing": ["0", "1,000"]}
    assert copied == "100 faults"
    assert "where a page was there: 100 faults" in text
    own = find_number(r"Private_Dirty\): ([\d.]+) KiB", text)
    assert own * 1024 == 100 * resource.getpagesize()
    sizes = read_table(name, "One process, then two")
    before, parent, child = (float(size[1].removesuffix(" MiB")) for size in sizes.values())
    assert parent + child == pytest.approx(before, rel=0.02)
    assert parent == pytest.approx(child, rel=0.02)


def test_the_stack():
    name = "03_the_stack"
    text, figures = read_outputs(name)
    assert len(figures) == 3
    frame, reused, faults, ended, paid, wall = read_results(run_notebook(name))
    assert 1_000 <= int(frame.split()[0].replace(",", "")) <= 1_256
    calls = re.findall(r"^call \d: locals at (0x\w+)$", text, re.MULTILINE)
    assert len(calls) == 2
    assert calls[0] == calls[1]
    assert reused == "“it stays large, and the second descent needs nothing more”"
    ((before, after),) = re.findall(r"in memory +(\d+) -> +(\d+) pages", text)
    came = int(after) - int(before)
    assert faults == f"{came} faults"
    assert find_number(r"that is ([\d.,]+) pages", text) == pytest.approx(came, abs=4)
    assert "system calls for memory: 0" in text
    assert ended == "“The kernel kills the program with a signal”"
    assert "the last page that the stack got: 1 MiB below its upper end" in text
    assert text.count("SIGSEGV") == 2
    assert 0 < float(paid.removesuffix(" KiB")) < 256
    mapped = find_number(r"mmap of ([\d,]+) bytes, on behalf of start_thread", text)
    guard = resource.getpagesize()
    assert int(wall.removesuffix(" pages").replace(",", "")) == (mapped - guard) / guard
    assert "reuses a stack: True" in text


@pytest.mark.parametrize("name", ["02_promised_and_paid", "03_the_stack"])
def test_without_the_tracer_a_recording_is_shown_as_one(name, monkeypatch):
    """And the program has done all the same what the cells below take for done."""
    live = read_results(run_notebook(name))
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    notebook = execute(nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4))
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    traced = sum("trace_during(" in cell.source for cell in notebook.cells)
    assert text.count("RECORDED, not live (LAB_SOURCE asks for it)") == traced >= 3
    assert "ebpf" not in text
    assert len(read_results(notebook)) == len(live)
    if name.startswith("02"):
        assert "{'pages': 1000, 'minor_faults': 0, 'major_faults': 0}" in text


def test_read_only_data_mapped_shared():
    text, figures = read_outputs("05_shared_and_mapped")
    assert len(figures) == 2
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
    return [path for path in list_segments() if "-table_" in path.name]


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
