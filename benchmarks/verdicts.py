"""Every program of the corpus judged, and what naive readings say: `./lab bench verdicts`.

    ./lab bench verdicts [--json] [--no-write] [--variants SEED N]

Writes verdicts.md beside this file, unless --json, --no-write or --variants is given: with these,
N variants of the corpus are judged (other names, sizes, rates, depths), drawn by the seed, without
the naive readings. Exit 0: after 10 seconds no verdict is wrong, and at most two are undecided;
1: it is otherwise; 2: it could not be run.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from benchmarks.corpus_runs import MOMENTS_S, cut_trace, judge_app, run_app
from benchmarks.naive import SECONDS, Reading, read_memleak, read_rss, read_sanitizer
from benchmarks.pages import describe_machine, render_sheet
from benchmarks.service import own_service
from benchmarks.verdicts_page import Row, describe_rows, format_page, is_clean, make_sheets
from lablib.apps import build_app, list_corpus
from lablib.errors import LabError
from lablib.records import AppFiles, HeapTrace
from lablib.variants import build_variant, draw_variant

PAGE = Path(__file__).with_suffix(".md")
AT_A_TIME = 8
MEMLEAKS_AT_A_TIME = 4
"""memleak compiles itself each time: more of them would only wait for each other."""

SANITIZERS_AT_A_TIME = 2

Announce = Callable[[str], None]


def run_benchmark(apps: Sequence[AppFiles], is_naive: bool, announce: Announce) -> list[Row]:
    """Return what is said of each program; raises `LabError` where nothing can be traced."""
    with own_service():
        announce(f"{len(apps)} programs, for {max(MOMENTS_S)} s each")
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            traces = list(pool.map(_try_run, apps))
        readings: list[tuple[Reading, ...]] = [()] * len(apps)
        if is_naive:
            announce("the same under bcc's memleak, and under LeakSanitizer")
            with (
                ThreadPoolExecutor(MEMLEAKS_AT_A_TIME) as memleaks,
                ThreadPoolExecutor(SANITIZERS_AT_A_TIME) as sanitizers,
            ):
                answers = zip(
                    memleaks.map(read_memleak, apps),
                    sanitizers.map(read_sanitizer, apps),
                    strict=True,
                )
                readings = [
                    (read_rss(cut_trace(trace, SECONDS)), *others)
                    if isinstance(trace, HeapTrace)
                    else ()
                    for trace, others in zip(traces, answers, strict=True)
                ]
    return [_make_row(*each) for each in zip(apps, traces, readings, strict=True)]


def _try_run(app: AppFiles) -> HeapTrace | LabError:
    try:
        return run_app(app, max(MOMENTS_S))
    except LabError as error:
        return error


def _make_row(app: AppFiles, trace: HeapTrace | LabError, readings: tuple[Reading, ...]) -> Row:
    if isinstance(trace, LabError):
        return Row(app, error=str(trace))
    return Row(app, tuple(judge_app(app, trace, seconds) for seconds in MOMENTS_S), readings)


def main() -> int:
    """Run, print, write the page; return the exit code."""
    parser = argparse.ArgumentParser(prog="./lab bench verdicts", description="Leak or not?")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--no-write", action="store_true", help="leave verdicts.md as it is")
    parser.add_argument("--variants", nargs=2, type=int, metavar=("SEED", "N"), help="judge others")
    options = parser.parse_args()
    progress = Console(stderr=True, highlight=False, markup=False)
    started_s = time.monotonic()

    def announce(what: str) -> None:
        progress.print(f"verdicts: {what}", style="dim")

    try:
        announce("building the programs")
        apps = _build(options.variants)
        rows = run_benchmark(apps, not options.variants, announce)
    except (LabError, OSError) as error:
        print(f"lab: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    seconds = time.monotonic() - started_s
    if options.json:
        print(json.dumps(describe_rows(rows, seconds), indent=2))
    else:
        page = Console(highlight=False, markup=False)
        page.print(describe_machine())
        for sheet in make_sheets(rows):
            page.print(render_sheet(sheet))
        if not options.no_write and not options.variants:
            PAGE.write_text(format_page(rows, seconds))
    return 0 if is_clean(rows) else 1


def _build(variants: tuple[int, int] | None) -> list[AppFiles]:
    names = list_corpus()
    if not variants:
        return [build_app(name) for name in names]
    seed, count = variants
    random.Random(seed).shuffle(names)
    return [
        build_variant(draw_variant(names[number % len(names)], f"{seed}/{number}".encode()))
        for number in range(count)
    ]


if __name__ == "__main__":
    sys.exit(main())
