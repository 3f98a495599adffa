"""What is handed in is read with suspicion: only a plain file of a program's size is one."""

import os

import pytest

from lablib.errors import GradingError
from lablib.grading.labs import load_lab
from lablib.grading.submissions import MAX_FILE_BYTES, read_submission

LAB = load_lab("fib_leak")


def make_fifo(path):
    os.mkfifo(path)


def make_link(path):
    path.with_name("other.c").write_text("int main(void) { return 0; }")
    path.symlink_to("other.c")


def make_giant(path):
    path.write_bytes(b" " * (MAX_FILE_BYTES + 1))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "can't be read"),
        (lambda path: path.mkdir(), "not a plain file"),
        (make_fifo, "not a plain file"),
        (make_link, "can't be read"),
        (make_giant, "larger than"),
    ],
    ids=["nothing", "folder", "pipe", "link", "giant"],
)
def test_what_is_no_plain_file_of_a_program_s_size_is_a_sentence(tmp_path, make, why):
    make(tmp_path / LAB.source)
    opened = set(os.listdir("/proc/self/fd"))
    with pytest.raises(GradingError, match=why):
        read_submission(LAB, tmp_path)
    assert set(os.listdir("/proc/self/fd")) == opened


@pytest.mark.parametrize("text", ["", "[" * 200_000, "[1]", '{"a": ', "\udcff"])
def test_answers_that_are_none_are_a_complaint_and_the_program_is_judged(tmp_path, text):
    (tmp_path / LAB.source).write_bytes(b"int main(void) { return 0; }")
    (tmp_path / "answers.json").write_bytes(text.encode(errors="surrogateescape"))
    submission = read_submission(LAB, tmp_path)
    assert submission.source == b"int main(void) { return 0; }"
    assert "answers.json" in submission.complaint
    assert submission.answers == {}
