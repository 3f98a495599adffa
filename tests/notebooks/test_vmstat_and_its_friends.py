"""07: what others do on the machine in the same seconds is in its columns too.

How much that may be, the notebook has measured itself; but no other test runs beside these.
"""

import re
import subprocess
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from execution import NOTEBOOKS, VMSTAT, execute
from nbclient.exceptions import CellExecutionError
from outputs import read_number, read_outputs, read_result, read_table

pytestmark = pytest.mark.alone


def read_changes(caption):
    """The changes in MiB of a table of columns, by column; one for each step."""
    table = read_table(VMSTAT, caption)
    return {
        column: [float(cell.replace(",", "")) for cell in cells] for column, cells in table.items()
    }


@pytest.fixture(scope="module")
def file_mib():
    text, _ = read_outputs(VMSTAT)
    return read_number(r"the experiments take ([\d,]+) MiB", text)


@pytest.fixture(scope="module")
def others_mib():
    """How much others may take or give back during an experiment, by how still it was before."""
    still = read_result(VMSTAT, "By how much does `free` move in these four seconds, up and down?")
    noise_mib = float(still.removesuffix(" MiB").replace(",", ""))
    return 32 + 4 * noise_mib


@pytest.fixture(scope="module")
def dropped_mib(file_mib, others_mib):
    """The same where there are files: of their pages the kernel may drop what is idle.

    Shared memory it does not drop, and what it drops was available before.
    """
    return others_mib + (file_mib / 2 if pages_out_by_itself() else 0)


def pages_out_by_itself():
    """Whether this kernel gives back what is idle without being short of memory, by DAMON."""
    schemes = Path("/sys/kernel/mm/damon/admin/kdamonds").glob("*/contexts/*/schemes/*/action")
    switch = Path("/sys/module/damon_reclaim/parameters/enabled")
    return (switch.exists() and switch.read_text().strip() == "Y") or any(
        action.read_text().strip() == "pageout" for action in schemes
    )


def test_vmstat_and_its_friends(file_mib):
    text, figures = read_outputs(VMSTAT)
    assert len(figures) == 3
    fall = read_result(VMSTAT, "By how much does the column `free` fall in these four lines?")
    if re.search("procps-ng 4.0.2", subprocess.check_output(["vmstat", "-V"], text=True)):
        assert fall == "0 MiB"
        assert "The first one has repeated its sizes." in text
    else:
        assert "The first one has read its sizes each time." in text
        assert float(fall.removesuffix(" MiB").replace(",", "")) > file_mib / 4
    columns = read_table(VMSTAT, "This machine now")
    assert list(columns)[:3] == ["free", "buff", "cache"]
    assert "not known" not in {cells[0] for cells in columns.values()}
    added = read_result(VMSTAT, "Add up free, buff and cache of your machine.")
    assert added == "“more than available”"
    assert read_result(VMSTAT, "How much of this fall can the program have caused") == "16 %"


def test_the_first_line_of_vmstat_is_an_average_since_the_start():
    text, _ = read_outputs(VMSTAT)
    first = read_number(r"cs, line by line: \[(\d+)", text)
    since_start = read_number(r"started: ([\d,]+) a second and processor", text)
    assert first == pytest.approx(since_start, rel=0.1, abs=5)


def test_the_file_is_in_memory_when_it_was_written_and_whole_when_it_is_read_again(file_mib):
    text, _ = read_outputs(VMSTAT)
    assert f"pages of the file in memory: {file_mib} MiB" in text
    assert f"\n{file_mib} MiB were read, " in text


def test_the_decoy_moves_from_free_to_cache_and_back(file_mib, dropped_mib):
    text, _ = read_outputs(VMSTAT)
    there = read_number(rf"{file_mib} MiB were read, ([\d,]+) MiB of them are in memory", text)
    assert there == file_mib or (pages_out_by_itself() and there > file_mib / 2)
    changes = read_changes("One file, three times")
    there_and_back = [file_mib, -file_mib, file_mib]
    assert changes["cache"] == pytest.approx(there_and_back, abs=dropped_mib)
    assert changes["free"] == pytest.approx([-each for each in there_and_back], abs=dropped_mib)
    assert max(map(abs, changes["available"])) < file_mib / 4 + dropped_mib
    forgetting = read_result(VMSTAT, "The file is forgotten, and then read again.")
    assert forgetting == "“free comes back, and falls again when the file is read”"


def test_shared_memory_looks_like_cache_and_is_not_available(file_mib, others_mib, dropped_mib):
    changes = read_changes(f"{file_mib // 2} MiB of shared memory")
    assert changes["cache"] == [pytest.approx(file_mib / 2, abs=dropped_mib)]
    assert changes["available"] == [pytest.approx(-file_mib / 2, abs=others_mib)]


LEAKS = ("Five seconds of a leak", "A leak behind a decoy")


@pytest.mark.parametrize("leak", LEAKS)
def test_the_leak_is_seen_in_its_process(leak):
    (leaked,) = read_changes(leak)["RSS"]
    assert 4 * 32 <= leaked <= 7 * 32


@pytest.mark.parametrize("leak", LEAKS)
def test_the_leak_takes_what_is_available(leak, dropped_mib):
    changes = read_changes(leak)
    (leaked,) = changes["RSS"]
    assert changes["available"] == [pytest.approx(-leaked, abs=dropped_mib)]


def test_the_judge_tells_the_decoy_from_the_leak(file_mib):
    """Where the kernel drops what is idle, a leak may be hidden, but never excused."""
    text, _ = read_outputs(VMSTAT)
    assert re.search(r"^page_cache: Page cache, not a leak", text, re.MULTILINE)
    leaking = read_result(VMSTAT, "It leaks for about five seconds. Which columns move?")
    shared = read_result(VMSTAT, "Which columns move now?")
    assert "cache rises" in shared
    (change,) = read_changes(f"{file_mib // 2} MiB of shared memory")["available"]
    if change < -file_mib / 4 - 1:  # or others have given back as much in the same second
        assert shared == "“free and available fall, cache rises”"
    if pages_out_by_itself():
        assert len(re.findall(r"^page_cache: ", text, re.MULTILINE)) == 1
    else:
        assert re.search(r"^shrinking: ", text, re.MULTILINE)
        assert leaking == "“free and available fall, cache stays”"


def test_rss_grows_by_a_file_that_costs_nothing(file_mib):
    sizes = read_table(VMSTAT, "The Python process, in MiB")
    before, mapped, after = (
        [float(size.replace(",", "")) for size in row] for row in sizes.values()
    )
    assert mapped[0] - before[0] == pytest.approx(file_mib, abs=1)
    assert mapped[1] - before[1] == pytest.approx(file_mib, abs=1)
    assert abs(mapped[2] - before[2]) < 1
    assert abs(after[0] - before[0]) < 1


def test_the_slow_leak_shows_in_its_process():
    text, _ = read_outputs(VMSTAT)
    minutes = float(re.search(r"([\d.]+) minutes: RSS has grown", text)[1])
    leaked_kib = read_number(r"RSS has grown by ([\d,]+) KiB", text)
    assert 8 * 60 * (minutes - 0.1) <= leaked_kib <= 8 * 60 * (minutes + 0.1) + 512
    (pid,) = re.findall(r"process (\d+) leaks slowly", text)
    assert not psutil.pid_exists(int(pid))


def test_vmstat_and_the_leaks_end_with_the_kernel_also_after_an_error_half_way():
    notebook = nbformat.read(NOTEBOOKS / f"{VMSTAT}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    showing = [cell for cell in code if "panel.show()" in cell.source]
    failing = nbformat.v4.new_code_cell(
        "import psutil\nprint([each.pid for each in psutil.Process().children(True)])\n1 / 0"
    )
    notebook.cells = [*code[:2], *showing[:2], failing]
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(notebook)
    started = [int(pid) for pid in re.findall(r"\d+", failing.outputs[0].text)]
    assert len(started) >= 4  # two leaks, and a vmstat for each panel
    deadline = time.monotonic() + 10
    while any(map(psutil.pid_exists, started)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in started if psutil.pid_exists(pid)]
