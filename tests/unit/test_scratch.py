"""Scratch folders are gone after use, and those of a killed process are found."""

import subprocess
import sys
import tempfile

import pytest

from lablib import cleanup
from lablib.scratch import make_scratch_folder, remove_left_folders

WORKS = """
import signal
from lablib.scratch import make_scratch_folder
with make_scratch_folder("test") as folder:
    (folder / "written").write_text("x")
    print(folder, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is asked for again
    return tmp_path


def test_a_folder_is_gone_after_use_and_after_an_error(temporary):
    with make_scratch_folder("test") as folder:
        assert list(temporary.iterdir()) == [folder]
    assert list(temporary.iterdir()) == []
    with pytest.raises(FileNotFoundError), make_scratch_folder("test") as folder:
        (folder / "absent").read_text()
    assert list(temporary.iterdir()) == []


def test_a_folder_in_use_stays_and_one_of_a_killed_process_goes(temporary):
    with subprocess.Popen(
        [sys.executable, "-c", WORKS], stdout=subprocess.PIPE, text=True
    ) as works:
        folder = works.stdout.readline().strip()
        assert remove_left_folders() == []
        works.kill()
    assert [str(each) for each in temporary.iterdir()] == [folder]
    assert cleanup._remove_folders() == [f"the temporary folder {folder}"]
    assert list(temporary.iterdir()) == []


def test_what_is_not_the_labs_stays(temporary):
    other, target = temporary / "other", temporary / "target"
    other.mkdir()
    target.mkdir()
    (temporary / "memory-leak-lab-link").symlink_to(target)
    (temporary / "memory-leak-lab-file").write_text("x")
    assert remove_left_folders() == []
    assert len(list(temporary.iterdir())) == 4
