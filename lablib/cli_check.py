"""The verb that grades: ./lab check."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lablib.cli_trace import json_option, print_json


@click.command(
    epilog="""Examples:

    \b
    ./lab check fib_leak                       the program in labs/fib_leak
    ./lab check fib_leak --submission ~/mine   one in another folder
    ./lab check fib_leak --submission DIR --student ada --key-file FILE   ada's variant of it"""
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
@json_option
def check(
    lab: str,
    submission: Path | None,
    student: str,
    key_file: Path | None,
    hint: int | None,
    as_json: bool,
) -> None:
    """Judge a program by what it does, and say what was found.

    It is built afresh and run in a sandbox: without network, without your files, within limits.
    Exit 0: it passed; 1: it did not; 2: it could not be judged.
    """
    from lablib.grading.judging import judge_submission
    from lablib.grading.keys import read_key
    from lablib.grading.labs import load_lab
    from lablib.grading.page import describe_report, render_report
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
        report = judge_submission(
            chosen,
            submission or chosen.folder,
            student,
            hint or 0,
            on_check=lambda name: status.update(f"checking: {name.replace('_', ' ')} ..."),
        )
    if as_json:
        print_json(describe_report(report))
    else:
        console.print(render_report(chosen, report))
    sys.exit(0 if report.has_passed else 1)
