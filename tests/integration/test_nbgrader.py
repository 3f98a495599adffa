"""The lab notebooks under nbgrader itself: released, handed in, graded, the points read."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import pytest
from conftest import require_tracer
from submissions import INSTRUCTOR, hand_in, make_solution

ROOT = Path(__file__).parents[2]
LAB = "fib_leak"
NAME = f"{LAB}.ipynb"
FULL = {"program": 8.0, "answers": 2.0}
NOTHING = {"program": 0.0, "answers": 0.0}

# What somebody tries who has a fix and no answers: to replace the grader, in a cell and in a file.
FORGERY = """
import subprocess
from lablib.teaching.labs import LabBench
LabBench.points = lambda self, part: {"program": 8, "answers": 2}[part]
open("forged", "w").close()
"""
IMPOSTOR = """
open("forged", "w").close()
def open_lab():
    class Lab:
        def points(self, part): return {"program": 8, "answers": 2}[part]
    return Lab()
predict = None
"""


@dataclass(frozen=True)
class Course:
    """A course's folder, with submissions that were graded."""

    folder: Path
    environment: dict

    def nbgrader(self, *words):
        """Run one of nbgrader's commands, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def fetch(self, student):
        """Return the folder of a student, with the release in it as nbgrader hands it out."""
        folder = self.folder / "submitted" / student / LAB
        shutil.copytree(self.folder / "release" / LAB, folder)
        return folder

    def read_points(self, student):
        """Return a student's points by cell, from nbgrader's gradebook."""
        from nbgrader.api import Gradebook

        with Gradebook(f"sqlite:///{self.folder}/gradebook.db") as gradebook:
            notebook = gradebook.find_submission_notebook(LAB, LAB, student)
            assert not notebook.needs_manual_grade
            return {grade.name: grade.score for grade in notebook.grades}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course as the instructor's book makes it; three have handed in."""
    pytest.importorskip("nbgrader", reason="nbgrader is an extra: pip install '.[nbgrader]'")
    require_tracer()
    folder = tmp_path_factory.mktemp("nbgrader")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    home = Course(folder, environment)
    home.nbgrader("quickstart", "memory")
    course = Course(folder / "memory", environment)
    shutil.rmtree(course.folder / "source" / "ps1")
    shutil.copy(INSTRUCTOR / "nbgrader" / "nbgrader_config.py", course.folder)
    subprocess.run(
        [sys.executable, "-m", "lablib", "release", folder / "hand-out"], cwd=ROOT, check=True
    )
    shutil.copytree(folder / "hand-out" / "labs" / LAB, course.folder / "source" / LAB)
    course.nbgrader("generate_assignment", LAB)
    course.fetch("untouched")
    fixed = course.fetch("fixed")
    solution = make_solution(LAB, "")
    hand_in(solution, fixed)
    forger = course.fetch("forger")
    hand_in(replace(solution, answers=None), forger)
    forge(forger)
    course.nbgrader("autograde", LAB)
    return course


def forge(folder):
    """Put a cell that replaces the grader into the notebook, and a package that is found first."""
    notebook = nbformat.read(folder / NAME, as_version=4)
    notebook.cells.insert(2, nbformat.v4.new_code_cell(FORGERY))
    nbformat.write(notebook, folder / NAME)
    (folder / "lablib").mkdir()
    (folder / "lablib" / "__init__.py").write_text("")
    (folder / "lablib" / "teaching.py").write_text(IMPOSTOR)


def test_a_release_has_the_program_and_the_form_and_no_solution(course):
    released = course.folder / "release" / LAB
    assert {path.name for path in released.iterdir()} == {
        *(NAME, f"{LAB}.c", "answers.json", "lab.json", "README.md")
    }
    assert not any(json.loads((released / "answers.json").read_text()).values())
    assert "expected" not in (released / "lab.json").read_text()


def test_the_reference_fix_has_all_points_and_what_was_handed_out_none(course):
    assert course.read_points("fixed") == FULL
    assert course.read_points("untouched") == NOTHING


def test_a_right_program_has_its_part_of_the_points_whatever_else_is_handed_in(course):
    assert course.read_points("forger") == {"program": 8.0, "answers": 0.0}
    assert not list(course.folder.rglob("forged"))
