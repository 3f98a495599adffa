"""08: what the kernel does when a group of programs has too little memory."""

import re

import psutil
import pytest
from outputs import read_number, read_outputs, read_result, read_table
from parallel import MACHINE

pytestmark = pytest.mark.xdist_group(MACHINE)

MEMORY = "08_when_memory_runs_out"


def test_when_memory_runs_out():
    text, figures = read_outputs(MEMORY)
    assert len(figures) == 7
    assert len(re.findall(r"has ended: SIGKILL", text)) >= 3
    killed = read_number(r"eater, process (\d+), killed", text)
    assert "RECORDED" in text or not psutil.pid_exists(killed)
    assert "1 OOM kill" in text
    assert "a shell calls that exit code 137" in text
    assert "pages refused reserve: malloc: Cannot allocate memory" in text


def test_when_memory_runs_out_the_page_cache_goes_first_and_nothing_is_lost():
    text, _ = read_outputs(MEMORY)
    left = read_result(MEMORY, "How much of the page cache is left in the group then?")
    left_mib = float(left.split()[0])
    assert left_mib > 8  # of 64 MiB, of which the eater has 48
    first, again = re.findall(r"reader read 40: 40 MiB, checksum (\d+)", text)
    assert first == again
    assert re.search(r"[\d,]+ pages were taken back, 0 of them written first", text)
    anonymous = float(re.search(r"anonymous ([\d.]+) MiB, killed: 0", text)[1])
    assert 48 <= anonymous < 52
    assert left_mib < 64 - anonymous


def test_when_memory_runs_out_si_moves_only_for_pages_that_are_touched_again():
    swapped = read_result(MEMORY, "How much of it is in swap then?")
    assert 15 < float(swapped.split()[0]) < 20  # 80 MiB, of which 64 may be in RAM
    assert "only so" in read_result(MEMORY, "Which column moves while the eater takes the 80 MiB?")
    assert "both" in read_result(MEMORY, "Which column moves when these 16 MiB are touched again?")
    rows = read_table(MEMORY, "What went to swap and came back, in MiB")
    assert float(rows["touching again"][1]) > 12


def test_when_memory_runs_out_a_little_less_than_is_used_in_turn_is_far_too_little():
    text, _ = read_outputs(MEMORY)
    question = "How many times as long does a walk take, with the limit at 48 MiB?"
    assert read_number(r"([\d,]+) times", read_result(MEMORY, question)) > 20
    faults, pages = re.search(r"([\d,]+) major faults for ([\d,]+) pages", text).groups()
    assert int(faults.replace(",", "")) > 0.9 * int(pages.replace(",", ""))


def test_when_memory_runs_out_the_end_comes_when_it_was_calculated():
    text, _ = read_outputs(MEMORY)
    found = re.search(r"calculated ([\d.]+) s, met ([\d.]+) s", text)
    calculated, met = map(float, found.groups())
    assert 3.9 < calculated <= 4.01  # 48 + 16 MiB, at 16 a second
    assert met > 0.95 * calculated  # never too early; a busy machine may be late
    rows = read_table(MEMORY, "How long the eater had left")
    assert len(rows) == 3
    assert all(row[0] != "not known" for row in rows.values())


def test_when_memory_runs_out_the_largest_goes_unless_another_has_spoken_up():
    asked = "Who is killed: small, which asks, or large, which only sits there?"
    assert read_result(MEMORY, asked) == "“large”"
    assert read_result(MEMORY, "Who is killed now?") == "“small”"


def test_when_memory_runs_out_docker_tells_of_it_and_allows_as_much_swap_again():
    text, _ = read_outputs(MEMORY)
    assert "Memory 32 MiB, MemorySwap 64 MiB" in text
    assert "OOMKilled True, exit code 137" in text
    assert read_result(MEMORY, "It outgrows that. Which exit code does Docker report?") == "137"
