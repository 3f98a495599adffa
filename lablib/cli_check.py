"""The verb that grades: ./lab check."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from lablib.cli_trace import json_option, print_json


@click.command(
    epilog="""Examples:

    \b
    ./lab check fib_leak                       the program in labs/fib_leak
    ./lab check fib_leak --submission ~/mine   one in another folder
    ./lab check fib_leak --submission DIR --student ada --key-file FILE   ada's variant of it
    ./lab check fib_leak --all DIR --csv grades.csv --pages pages         a class"""
)
@click.argument("lab")
@click.option(
    "--submission",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of what is handed in (default: the lab's own).",
)
@click.option("--student", default="", help="Whose it is, for the report.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The key of the course: judge against the student's variant.",
)
@click.option("--hint", type=click.IntRange(1, 3), help="Add a hint; a higher number says more.")
@click.option(
    "--all",
    "class_folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Judge a class: a folder with a folder for each student.",
)
@click.option(
    "--csv",
    "gradebook",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The class's gradebook; what it has of others and of other labs stays.",
)
@click.option(
    "--pages",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a page for each student into this folder, and one of all.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 6),
    help="How many to judge at once (default: one on each processor).",
)
@click.option("--resume", is_flag=True, help="Judge only whom the gradebook does not have yet.")
@json_option
def check(
    lab: str,
    submission: Path | None,
    student: str,
    key_file: Path | None,
    hint: int | None,
    class_folder: Path | None,
    gradebook: Path | None,
    pages: Path | None,
    jobs: int | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Judge a program by what it does, and say what was found.

    It is built afresh and run in a sandbox: without network, without your files, within limits.
    Exit 0: it passed; 1: it did not; 2: it could not be judged. Of a class: 0: all whom it has
    judged passed; 1: some did not, or could not be judged; 2: nobody could.
    """
    if class_folder is None:
        if gradebook or pages or jobs or resume:
            raise click.UsageError("--csv, --pages, --jobs and --resume go with --all DIR")
        _check_one(lab, submission, student, key_file, hint or 0, as_json)
    if submission or student or hint:
        raise click.UsageError("--submission, --student and --hint don't go with --all")
    if gradebook is None:
        raise click.UsageError("--all goes with --csv FILE: where the results are kept")
    _check_class(lab, class_folder, gradebook, pages, key_file, jobs, resume, as_json)


def _check_one(
    lab: str,
    submission: Path | None,
    student: str,
    key_file: Path | None,
    hint: int,
    as_json: bool,
) -> NoReturn:
    from lablib.grading.judging import judge_submission
    from lablib.grading.keys import read_key
    from lablib.grading.labs import load_lab
    from lablib.grading.page import PROGRESS, describe_report, render_report
    from lablib.grading.variants import draw_lab
    from lablib.report import make_console

    console = make_console(as_json)
    chosen = load_lab(lab)
    if key_file:
        if not (student and submission):
            raise click.UsageError(
                "with --key-file say whose it is, and where: --student ID --submission DIR"
            )
        chosen = draw_lab(chosen, read_key(key_file), student)
    with console.status("trying the sandbox ...") as status:

        def tell(name: str) -> None:
            doing = f"{PROGRESS}{name.replace('_', ' ')}"
            status.update(f"{doing} ...")
            if as_json and not console.is_terminal:
                click.echo(doing, err=True)

        report = judge_submission(chosen, submission or chosen.folder, student, hint, on_check=tell)
    if as_json:
        print_json(describe_report(report))
    else:
        console.print(render_report(chosen, report))
    sys.exit(0 if report.has_passed else 1)


def _check_class(
    lab: str,
    folder: Path,
    gradebook: Path,
    pages: Path | None,
    key_file: Path | None,
    jobs: int | None,
    resume: bool,
    as_json: bool,
) -> NoReturn:
    from lablib.grading.classes import MAX_JOBS
    from lablib.grading.keys import read_key
    from lablib.grading.labs import load_lab
    from lablib.grading.marking import Marking, describe_class, mark_class, render_class
    from lablib.report import make_console

    if key_file:
        read_key(key_file)  # refused once, and not for each student
    console = make_console(as_json)
    at_once = jobs or min(len(os.sched_getaffinity(0)), MAX_JOBS)
    marking = Marking(load_lab(lab), folder, gradebook, pages, key_file, at_once, resume)
    results = mark_class(marking, console)
    if as_json:
        print_json(describe_class(marking, results))
    else:
        console.print(render_class(marking, results))
    sys.exit(0 if all(result.state == "passed" for result in results) else 1)
