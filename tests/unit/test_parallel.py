"""Tests that run in several processes: who takes which, what runs by itself, and who dies."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
OPTIONS = ("-p", "no:cacheprovider")
CONFTEST = """
from pathlib import Path
import parallel
from parallel import UnitScheduling, write_units

parallel.LONG = ("test_long.py",)
UNITS = Path(__file__).with_name("units.json")

def pytest_configure(config):
    config.addinivalue_line("markers", "alone: by itself")

def pytest_xdist_make_scheduler(config, log):
    return UnitScheduling(config, log, UNITS)

def pytest_collection_modifyitems(items):
    write_units(items, UNITS)
"""
NOTING = """
import fcntl, os, time
from pathlib import Path
import pytest

RUNNING = Path(__file__).with_name("running")
NOTES = Path(__file__).with_name("notes")

def note(*words):
    with NOTES.open("a") as file:
        file.write(" ".join(map(str, (os.getpid(), *words))) + "\\n")

@pytest.fixture(autouse=True)
def running(request):
    with RUNNING.open("w") as lock:
        kind = fcntl.LOCK_EX if "alone" in request.node.name else fcntl.LOCK_SH
        fcntl.flock(lock, kind | fcntl.LOCK_NB)  # fails where another test runs beside this one
        yield
    note(request.node.name)
"""


@pytest.fixture(params=[2, 3])
def processes(request):
    return request.param


@pytest.fixture
def run(tmp_path, processes):
    """Run test files, given by their text, in processes; return its output and the notes."""

    def run_files(**texts):
        (tmp_path / "conftest.py").write_text(CONFTEST)
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(NOTING + text)
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", f"-n{processes}", *OPTIONS, "-q", "."],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TESTS)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        notes = (tmp_path / "notes").read_text().splitlines()
        return ran, [note.split() for note in notes]

    return run_files


def test_a_unit_stays_together_and_what_is_alone_is_last_with_nothing_beside_it(run, processes):
    ran, notes = run(
        test_a="@pytest.mark.alone\ndef test_alone_a(): pass\n"
        "@pytest.mark.parametrize('n', range(20))\ndef test_a(n): time.sleep(0.01)\n"
        "@pytest.mark.xdist_group('shared')\ndef test_shared_a(): pass\n",
        test_b="@pytest.mark.parametrize('n', range(20))\ndef test_b(n): time.sleep(0.01)\n"
        "@pytest.mark.alone\ndef test_alone_b(): pass\n",
        test_c="@pytest.mark.xdist_group('shared')\ndef test_shared_c(): pass\n",
    )
    assert ran.returncode == 0, ran.stdout
    assert "44 passed" in ran.stdout
    assert [name for _, name in notes[-2:]] == ["test_alone_a", "test_alone_b"]
    for words in ("test_a[", "test_b[", "shared", "alone"):
        assert len({process for process, name in notes if words in name}) == 1, words
    assert len({process for process, _ in notes}) == processes


def test_a_long_unit_is_begun_first_wherever_it_stands(run):
    ran, notes = run(
        **{f"test_{letter}": "def test_short(): time.sleep(0.1)\n" for letter in "abcdefgh"},
        test_long="def test_long(): pass\n",
        test_z="def test_short(): pass\n",
    )
    assert ran.returncode == 0, ran.stdout
    (process,) = {process for process, name in notes if name == "test_long"}
    assert next(name for other, name in notes if other == process) == "test_long"


def test_only_what_runs_by_itself(run):
    ran, notes = run(
        test_a="@pytest.mark.alone\ndef test_alone(): pass\n", test_b="def test_b(): pass\n"
    )
    assert ran.returncode == 0, ran.stdout
    assert [name for _, name in notes] == ["test_b", "test_alone"]


def test_a_failure_is_shown_once_and_a_process_that_dies_is_one_and_the_rest_are_run(run):
    ran, notes = run(
        test_a="def test_before(): pass\n"
        "def test_dies(): note('dies'); os._exit(3)\n"
        "@pytest.mark.parametrize('n', range(5))\ndef test_a(n): pass\n"
        "@pytest.mark.alone\ndef test_alone(): pass\n",
        test_b="def test_wrong(): assert 1 == 2\ndef test_b(): pass\n",
    )
    assert ran.returncode == 1
    assert "2 failed, 8 passed" in ran.stdout
    assert len(re.findall("^_+ test_wrong _+$", ran.stdout, re.MULTILINE)) == 1
    assert re.search(r"worker 'gw\d' crashed while running 'test_a.py::test_dies'", ran.stdout)
    assert [name for _, name in notes].count("dies") == 1
    assert notes[-1][1] == "test_alone"
