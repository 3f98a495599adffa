"""The verb that compares: ./lab compare."""

from __future__ import annotations

import sys

import click

from lablib.cli_trace import json_option, print_json


@click.command(
    epilog="""Examples:

    \b
    ./lab compare fib_leak fib_fixed
    ./lab compare --terms 1000 ./old ./new           runs: ./old --terms 1000
    ./lab compare "./old {terms} x" "./new {terms} x"
    ./lab compare --arguments "-n {terms}" ./old ./new"""
)
@click.argument("before")
@click.argument("after")
@click.option(
    "--terms",
    type=click.IntRange(1),
    help="How much work: each build does so many terms, and then twice as many (default: 200).",
)
@click.option(
    "--arguments", default="", help="Arguments for both commands, as one word; {terms} in them."
)
@click.option(
    "--limit",
    type=click.FloatRange(0.1, 3600),
    help="How many seconds a run may take (default: 20).",
)
@json_option
def compare(
    before: str, after: str, terms: int | None, arguments: str, limit: float | None, as_json: bool
) -> None:
    """Say whether a fix is right: run two builds at the same work, and compare.

    BEFORE and AFTER are leaky apps by name, or commands of your own, each quoted as one word. The
    number of terms takes the place of {terms} in a command; where it has none, "--terms N" is
    added. Exit 0: fixed; 1: not; 2: it could not be compared.
    """
    from lablib.comparison import (
        DEFAULT_TERMS,
        TIME_LIMIT_S,
        compare_builds,
        describe_comparison,
        make_build,
        render_comparison,
    )
    from lablib.privilege import ask_for_root
    from lablib.report import make_console
    from lablib.sources import choose_source

    console = make_console(as_json)
    was, now = (make_build(text, arguments) for text in (before, after))
    terms = terms or DEFAULT_TERMS
    ask_for_root("the tracer service")
    with console.status("starting the tracer service ...") as status:
        source = choose_source()
        status.update(f"running both builds, with {terms:,} terms and with {2 * terms:,} ...")
        comparison = compare_builds(was, now, terms, limit or TIME_LIMIT_S, source)
    if as_json:
        print_json(describe_comparison(comparison))
    else:
        console.print(render_comparison(comparison))
    sys.exit(0 if comparison.kind == "fixed" else 1)
