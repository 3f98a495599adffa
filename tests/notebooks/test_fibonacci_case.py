"""09: the case study, from the first vmstat to the proof of the fix."""

import re

import nbformat
import pytest
from execution import NOTEBOOKS, execute
from outputs import read_number, read_outputs, read_result, read_table
from parallel import MACHINE

pytestmark = pytest.mark.xdist_group(MACHINE)

CASE = "09_fibonacci_case"


@pytest.mark.usefixtures("tracer_service")
def test_the_fibonacci_case_runs_live_and_shows_what_it_says():
    text, figures = read_outputs(CASE)
    assert "RECORDED" not in text
    assert len(figures) == 4  # the machine, the heap before and after, and both on one axis
    said = read_result(CASE, "By how many bytes does the program grow in a second?")
    assert read_number(r"([\d,]+)", said) == pytest.approx(100 * 8192, rel=0.1)
    wait = read_result(CASE, "After how many minutes has it lost as much as `free` moves")
    assert wait.endswith((" minutes", " minute"))
    place = read_result(CASE, "Where does the process keep the blocks that leak?")
    assert place == "“in mappings without a name”"
    stacks = read_result(CASE, "How many call stacks hold memory after six seconds?")
    assert read_number(r"(\d+)", stacks) >= 2
    assert re.search(r"^fibonacci\+0x\w+ \(fib_leak\.c:19\)\nchild\+0x", text, re.MULTILINE)
    assert re.search(r"^fibonacci, line \d+\n(.*\n)*child, line \d+\n", text, re.MULTILINE)


@pytest.mark.usefixtures("docker_runtime")
def test_the_fibonacci_case_shows_the_command_that_starts_its_container():
    text, _ = read_outputs(CASE)
    assert "docker run --detach --name=app-notebook " in text
    for word in ("--memory=268435456", "--memory-swap=268435456", "--network=none"):
        assert word in text


def test_the_fibonacci_case_counts_the_overflow():
    table = read_table(CASE, "What fits in 64 bits")
    exact, printed, signed = table["93th"]
    assert exact == printed == f"{12200160415121876738:,}"
    assert signed.startswith("-")
    assert table["92th"][0] == table["92th"][2] == f"{7540113804746346429:,}"
    assert table["94th"][1] == f"{19740274219868223167 % 2**64:,}"
    assert read_result(CASE, "In which line does this program") == "“94th”"


def test_the_fibonacci_case_cures_the_unknown_symbols():
    text, _ = read_outputs(CASE)
    assert re.search(r"^1\. memleak\n +\[unknown\] \[(app|fib_leak)\]", text, re.MULTILINE)
    for cure in ("2. the program", "3. the debug file", "4. the lab's tracer"):
        assert re.search(rf"^{re.escape(cure)}\n +fibonacci\+0x", text, re.MULTILINE)
    assert read_result(CASE, "In which of the four") == "“in 2, 3 and 4”"


def test_the_fibonacci_case_says_that_its_blocks_are_lost():
    text, _ = read_outputs(CASE)
    pointed = read_result(CASE, "At how many of these blocks does something still point?")
    assert pointed == "“at hardly any”"
    sentence = re.search(r"fibonacci \(fib_leak\.c:19\) leaks .*", " ".join(text.split()))[0]
    made = read_number(r"made ([\d,]+) blocks", sentence)
    assert read_number(r"nothing points any longer at ([\d,]+) of them", sentence) > 0.8 * made


def test_the_fibonacci_case_proves_its_fix_to_the_byte():
    text, _ = read_outputs(CASE)
    assert (
        "fibonacci (fib_leak.c:19) kept 8,192 bytes a term; my_fix keeps 0. "
        "Output identical over 400 terms."
    ) in text
    table = read_table(CASE, "Of each of 200 terms: before, and after the fix")
    assert table["fibonacci, called by child, start_thread"] == ["1", "1", "8,192", "0"]
    assert all(row[2:] == ["0", "0"] for what, row in table.items() if "fibonacci" not in what)
    asked = read_result(CASE, "How often does `fibonacci` call the allocator in a term")
    assert asked == "1 time"
    left = read_result(CASE, "How many blocks of `fibonacci` are live after five seconds?")
    assert left in ("0 blocks", "1 block")
    allocated, freed = re.search(r"^([\d,]+) allocated, ([\d,]+) freed$", text, re.M).groups()
    assert int(allocated.replace(",", "")) - int(freed.replace(",", "")) in (0, 1)


def test_the_fibonacci_case_runs_on_recordings_where_there_is_no_tracer(monkeypatch):
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    ran = execute(nbformat.read(NOTEBOOKS / f"{CASE}.ipynb", as_version=4))
    outputs = [out for cell in ran.cells for out in cell.get("outputs", [])]
    text = "".join(out.get("text", "") for out in outputs if out.output_type == "stream")
    assert text.count("RECORDED, not live") == 5
    assert "my_fix keeps 0. Output identical" in text
    pictures = [out["data"]["text/plain"] for out in outputs if "image/png" in out.get("data", {})]
    assert sum(words.startswith("Recorded, not live. ") for words in pictures) == 2
