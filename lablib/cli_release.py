"""The verb that hands the labs out: ./lab release."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lablib.errors import GradingError
from lablib.wording import count_of

if TYPE_CHECKING:
    from lablib.grading.hand_outs import HandOuts


@click.command(
    epilog="""Examples:

    \b
    ./lab release hand-out                      one folder, for everybody the same
    ./lab release --new-key course.key          a key, to draw variants with: keep it
    ./lab release hand-outs --students ids.txt --key-file course.key
                                                an archive for each, with a variant of each lab"""
)
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--students",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with one student's id a line: an archive is made for each.",
)
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The key of the course: the variants are drawn with it.",
)
@click.option("--with-answers", is_flag=True, help="Leave the answers to the questions in.")
@click.option(
    "--new-key", type=click.Path(path_type=Path), help="Make a key in a new file, and no more."
)
def release(
    folder: Path | None,
    students: Path | None,
    key_file: Path | None,
    with_answers: bool,
    new_key: Path | None,
) -> None:
    """Make what a class is handed out: the lab without solutions, notes, tests and answers."""
    from lablib.grading.keys import make_key

    if new_key:
        make_key(new_key)
        click.echo(f"{new_key} is the key of a course: keep it, and keep it to yourself")
        return
    if folder is None:
        raise click.UsageError("say which folder to make: ./lab release DIR")
    if bool(students) != bool(key_file):
        raise click.UsageError("--students and --key-file go together")
    if students and key_file:
        _release_variants(folder, students, key_file, with_answers)
    else:
        _release_one(folder, with_answers)


def _release_one(folder: Path, with_answers: bool) -> None:
    from lablib.grading.hand_outs import prepare
    from lablib.grading.labs import LABS_DIR

    hand_outs = prepare(LABS_DIR.parent, with_answers)
    with _new_folder(folder):
        hand_outs.write(folder)
    click.echo(f"{folder} is the hand-out, {_describe(hand_outs)}")


def _release_variants(folder: Path, students: Path, key_file: Path, with_answers: bool) -> None:
    from lablib.grading.hand_outs import prepare, read_students
    from lablib.grading.keys import read_key
    from lablib.grading.labs import LABS_DIR
    from lablib.report import make_console

    key, names = read_key(key_file), read_students(students)
    hand_outs = prepare(LABS_DIR.parent, with_answers)
    with _new_folder(folder), make_console(False).status("") as status:
        for number, student in enumerate(names, 1):
            status.update(f"packing {number} of {len(names)}: {student} ...")
            hand_outs.pack(folder, student, key)
    made = count_of(len(names), "archive")
    click.echo(f"{folder} has {made}, one for each student, {_describe(hand_outs)}")


def _describe(hand_outs: HandOuts) -> str:
    changed = ", with changes that are not committed" if hand_outs.is_changed else ""
    answers = "with" if hand_outs.with_answers else "without"
    return (
        f"{answers} the answers to questions: {count_of(len(hand_outs.labs), 'lab')} "
        f"of commit {hand_outs.commit}{changed}"
    )


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """A folder that is empty at first; and again, where it could not be filled."""
    if folder.exists() and any(folder.iterdir()):
        raise GradingError(f"{folder} is not empty", "give a folder that is new")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for made in folder.iterdir():
            if made.is_dir():
                shutil.rmtree(made)
            else:
                made.unlink()
        raise
