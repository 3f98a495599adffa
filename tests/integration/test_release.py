"""A student's hand-out works by itself: unpacked in an empty place, with nothing else."""

import json
import subprocess
import sys
import tarfile

import pytest
from submissions import KEY, fill_in, list_patches, make_program

from lablib.grading.hand_outs import TOP_FOLDER, prepare
from lablib.grading.labs import ANSWERS, LABS_DIR, load_lab
from lablib.grading.variants import draw_lab

LAB = draw_lab(load_lab("fib_leak"), KEY, "ada")


@pytest.fixture(scope="module")
def hand_out(tmp_path_factory):
    """The folder that ada works in, set up with the Python packages of this test."""
    folder = tmp_path_factory.mktemp("a student")
    with tarfile.open(prepare(LABS_DIR.parent).pack(folder, "ada", KEY)) as tar:
        tar.extractall(folder)
    checkout = folder / TOP_FOLDER
    (checkout / ".venv").symlink_to(sys.prefix)
    (checkout / ".lab").mkdir()
    lock = (checkout / "requirements.lock").read_bytes()
    checksum = subprocess.run(["cksum"], input=lock, capture_output=True, check=True).stdout
    (checkout / ".lab" / "ready").write_text(f"{checkout} {checksum.decode()}")
    return checkout


def run_lab(hand_out, *words):
    """A verb of ./lab, by somebody who has only the hand-out."""
    command = [hand_out / "lab", "--no-system", *words]
    return subprocess.run(command, cwd=hand_out, capture_output=True, text=True, timeout=120)


def check(hand_out):
    ran = run_lab(hand_out, "check", LAB.name, "--json")
    assert ran.returncode in (0, 1), ran.stderr
    return ran.returncode, json.loads(ran.stdout)


@pytest.mark.usefixtures("tracer_service")
def test_the_first_lab_can_be_done_with_the_hand_out_alone(hand_out):
    status, report = check(hand_out)
    failed = next(each for each in report["findings"] if each["state"] == "failed")
    assert (status, report["points"]) == (1, 0)
    assert failed["sentence"].startswith(
        fill_in(LAB, "Still {8 * NUMBERS} bytes a term from fibonacci (fib_leak.c:")
    )

    folder = hand_out / "labs" / LAB.name
    (solution,) = list_patches(LAB.name, "", "solution")
    (folder / LAB.source).write_text(make_program(LAB, solution))
    (folder / ANSWERS).write_text(json.dumps({each.name: 1 for each in LAB.questions}))
    status, report = check(hand_out)
    assert status == 0
    assert report["points"] == sum(each.points for each in LAB.checks)
    questions = [each for each in report["findings"] if each["check"].startswith("question")]
    assert {each["state"] for each in questions} == {"unchecked"}
    assert report["unchecked"] == sum(each.points for each in LAB.questions)
    assert all("your instructor's copy" in each["sentence"] for each in questions)


@pytest.mark.parametrize(("verb", "missing"), [("test", "tests"), ("bench", "benchmarks")])
def test_what_needs_the_whole_lab_says_so(hand_out, verb, missing):
    ran = run_lab(hand_out, verb)
    assert ran.returncode == 2
    assert f"this hand-out of the lab has no {missing}" in ran.stderr


def test_an_instructor_judges_it_against_the_same_variant(hand_out, tmp_path):
    """Without the tracer, which is not what this is about."""
    key = tmp_path / "key"
    key.write_bytes(KEY)
    folder = tmp_path / "handed in"
    folder.mkdir()
    (folder / LAB.source).write_text((hand_out / "labs" / LAB.name / LAB.source).read_text())
    words = ["check", LAB.name, "--submission", folder, "--student", "ada", "--key-file", key]
    command = [sys.executable, "-m", "lablib", *map(str, words), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    same = next(e for e in json.loads(ran.stdout)["findings"] if e["check"] == "same_output")
    assert same["state"] == "passed"
