"""A class is judged in which some are out for points and for harm: it costs only themselves.

Few of the hostile programs are in the class; `./lab test --labs` has them all.
"""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from bs4 import BeautifulSoup
from conftest import require_tracer
from hostile import HONEST, LAB, SECRET, STRANGE, hand_in, list_programs, make_class
from submissions import KEY

from lablib.grading.gradebook import FIELDS, make_cell
from lablib.grading.pages import name_page

FEW = (
    *("escapes", "thread_bomb", "memfd_hog", "many_files", "prints_gigabytes", "ignores_signals"),
    *("daemon", "kills_all", "early_report", "runs_another", "steers_terminal", "incbin"),
    *("includes_passwd", "error_flood"),
)
EVERY = tuple(list_programs())
START_S = 60.0


@dataclass
class Marked:
    """A class that was judged: what came of it, and what the machine was like."""

    folder: Path
    scratch: Path
    expected: dict[str, str]
    before: dict[str, tuple]
    lowest_bytes: int
    exit_code: int
    document: dict
    errors: str
    rows: dict[str, dict] = field(default_factory=dict)


def start_check(folder, scratch, *options):
    """Start judging a class, with a folder of its own for all that is made on the way."""
    scratch.mkdir(exist_ok=True)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "lablib", "check", LAB, f"--all={folder / 'class'}", "--json"),
            *(f"--csv={folder / 'grades.csv'}", f"--pages={folder / 'pages'}", *options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def list_files(folder):
    """What lies in a folder: kinds, sizes and times, which a write would change."""
    states = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return {str(path): (state.st_mode, state.st_size, state.st_mtime_ns) for path, state in states}


def list_survivors(scratch):
    """The processes that see something of a folder by a mount: they run in a sandbox of ours."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if str(scratch) in Path(f"/proc/{process.pid}/mountinfo").read_text():
                found.append(process.pid)
    return found


def mark(folder, programs):
    expected = make_class(folder / "class", programs)
    (folder / "key").write_bytes(KEY)
    before = list_files(folder / "class")
    lowest = [psutil.virtual_memory().available]
    with start_check(
        folder, folder / "scratch", "--jobs=2", f"--key-file={folder / 'key'}"
    ) as process:
        watcher = threading.Thread(target=watch_memory, args=(process, lowest))
        watcher.start()
        output, errors = process.communicate()
        watcher.join()
    assert output, errors
    return Marked(
        folder=folder,
        scratch=folder / "scratch",
        expected=expected,
        before=before,
        lowest_bytes=min(lowest),
        exit_code=process.returncode,
        document=json.loads(output),
        errors=errors,
        rows=read_rows(folder / "grades.csv"),
    )


def watch_memory(process, lowest):
    while process.poll() is None:
        lowest.append(psutil.virtual_memory().available)
        time.sleep(0.05)


@pytest.fixture(
    scope="module", params=["few", pytest.param("every", marks=pytest.mark.labs)], name="marked"
)
def mark_a_class(request, tmp_path_factory):
    """The class, judged once for all tests."""
    require_tracer()
    folder = tmp_path_factory.mktemp("class")
    return mark(folder, list(FEW if request.param == "few" else EVERY))


def test_the_honest_have_all_their_points_each_for_his_own_variant(marked):
    rows = [marked.rows[make_cell(student)] for student in HONEST]
    assert [(row["state"], row["sentence"]) for row in rows] == [("passed", "")] * len(HONEST)
    assert all(row["points"] == row["possible"] != "0" for row in rows)


def test_no_other_has_a_point_and_each_gets_the_sentence_that_fits(marked):
    others = {student: words for student, words in marked.expected.items() if words}
    rows = {student: marked.rows[make_cell(student)] for student in others}
    assert {student: row["points"] for student, row in rows.items()} == dict.fromkeys(others, "0")
    wrong = [
        (student, row["sentence"])
        for student, row in rows.items()
        if others[student] not in row["sentence"]
    ]
    assert wrong == []


def test_the_gradebook_has_each_once_and_nothing_that_a_spreadsheet_executes(marked):
    assert marked.exit_code == 1
    assert set(marked.rows) == {make_cell(student) for student in marked.expected}
    assert list(marked.rows) == sorted(marked.rows)
    text = (marked.folder / "grades.csv").read_text()
    assert SECRET not in text
    for row in csv.reader(text.splitlines()):
        assert len(row) == len(FIELDS)
        assert not any(cell[:1] in tuple("=+-@\t\r") for cell in row if cell)
    assert "\x1b" not in text + marked.errors
    told = {row["student"]: row["state"] for row in marked.document["submissions"]}
    assert told == {student: row["state"] for student, row in marked.rows.items()}


def test_nothing_is_left_and_nothing_was_changed(marked):
    assert list_survivors(marked.scratch) == []
    assert list(marked.scratch.iterdir()) == []
    assert str(marked.scratch) not in Path("/proc/self/mountinfo").read_text()
    assert list_files(marked.folder / "class") == marked.before


def test_the_memory_of_the_machine_was_never_near_its_end(marked):
    assert marked.lowest_bytes > 0.05 * psutil.virtual_memory().total


def test_each_has_a_page_that_executes_nothing_and_all_are_on_one(marked):
    pages = marked.folder / "pages"
    index = BeautifulSoup((pages / "index.html").read_text(), "html.parser")
    links = {anchor["href"] for anchor in index.find_all("a")}
    assert links == {name_page(student) for student in marked.expected}
    for name in (*links, "index.html"):
        page = BeautifulSoup((pages / name).read_text(), "html.parser")
        assert page.html["lang"] == "en"
        assert len(page.find_all("h1")) == 1
        assert page.find_all(["script", "b", "img", "iframe", "object", "form"]) == []
    strange = BeautifulSoup((pages / name_page(STRANGE)).read_text(), "html.parser")
    assert "<script>alert(2)<b>" in strange.h1.text
    assert {cell.text for cell in strange.select("tbody td:nth-of-type(1)")} == {"passed"}
    assert len(strange.find_all("caption")) == 1


def test_ctrl_c_keeps_what_is_done_and_the_next_run_goes_on_from_there(tmp_path):
    """Whoever is first in the alphabet is judged first."""
    require_tracer()
    hand_in(tmp_path / "class" / "a", b"int main(void)")
    for name in ("b", "c"):
        hand_in(tmp_path / "class" / name, b"int main(void) { for (;;); }")
    with start_check(tmp_path, tmp_path / "scratch", "--jobs=1") as process:
        deadline = time.monotonic() + START_S
        while (
            "a" not in read_rows(tmp_path / "grades.csv")
            if (tmp_path / "grades.csv").exists()
            else True
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while not list_survivors(tmp_path / "scratch"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert (process.returncode, output) == (130, "")
    assert errors.strip().splitlines()[-1].startswith("lab: stopped")
    assert list(read_rows(tmp_path / "grades.csv")) == ["a"]
    assert list_survivors(tmp_path / "scratch") == []
    assert list((tmp_path / "scratch").iterdir()) == []
    first = read_rows(tmp_path / "grades.csv")["a"]
    with start_check(tmp_path, tmp_path / "scratch", "--resume") as process:
        output, _ = process.communicate()
    assert [row["student"] for row in json.loads(output)["submissions"]] == ["b", "c"]
    rows = read_rows(tmp_path / "grades.csv")
    assert rows["a"] == first
    assert {row["state"] for row in rows.values()} == {"failed"}
