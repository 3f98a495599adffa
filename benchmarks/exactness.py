"""Known workloads, and what lablib, memleak, memcheck and heaptrack say: `./lab bench exactness`.

    ./lab bench exactness [--json] [--no-write]

Writes exactness.md beside this file, unless --json or --no-write is given. Exit 0: lablib is right
everywhere; 1: it is wrong somewhere; 2: it could not be run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.answers import (
    DOES_NOT_APPLY,
    NO_ANSWER,
    NOT_INSTALLED,
    RIGHT,
    Answer,
    judge_outcome,
    judge_report,
)
from benchmarks.exactness_page import TOOLS, Row, describe_rows, format_page, render_rows
from benchmarks.in_container import ask_in_container, describe_truth, docker_runtime
from benchmarks.other_tools import run_heaptrack, run_memcheck, run_memleak
from benchmarks.pages import describe_machine
from benchmarks.service import own_service
from benchmarks.workloads import CASES, Case, Workload, build_case, run_case
from lablib.errors import LabError, ToolMissingError

PAGE = Path(__file__).with_suffix(".md")

_MALLOC_ONLY = "it watches malloc, not mmap"
_STARTS_IT = "it starts the program: nothing comes before"
_NOT_APPLICABLE = {
    (tool, case): reason
    for tool in ("memcheck", "heaptrack")
    for case, reason in (
        ("failed_mmap", _MALLOC_ONLY),
        ("partial_munmap", _MALLOC_ONLY),
        ("sampling", "it does not sample"),
        ("before_attach", _STARTS_IT),
    )
}
_MEMLEAK_OPTIONS = {
    "realloc_of_null": ("--combined-only",),
    "aligned_alloc": ("--combined-only",),
    "contended": ("--combined-only",),
    "sampling": ("--sample-rate", "30"),
}

Announce = Callable[[str], None]
Built = Sequence[tuple[Case, Workload | None]]


def run_benchmark(announce: Announce) -> list[Row]:
    """Ask every tool about every case, in under five minutes; raises `LabError`."""
    with own_service(), tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        announce("building the programs")
        built = [(case, _build(case, Path(folder) / case.name)) for case in CASES]
        # memleak compiles itself for each case: alone it takes as long as the others together.
        with ThreadPoolExecutor(2) as pool:
            halves = [
                pool.submit(_ask_all, built, tools, announce)
                for tools in (("lablib", "memcheck", "heaptrack"), ("memleak",))
            ]
            answers = {key: answer for half in halves for key, answer in half.result().items()}
        rows = [
            Row(
                case.name,
                case.title,
                case.truth or str(case.total),
                {tool: answers[case.name, tool] for tool in TOOLS},
            )
            for case in CASES
        ]
        return rows + _ask_in_containers(announce)


def _build(case: Case, folder: Path) -> Workload | None:
    """Build a case's program; None where its allocator is not installed."""
    if case.allocator.find() is None:
        return None
    folder.mkdir()
    return build_case(case, folder)


def _ask_all(
    built: Built, tools: Sequence[str], announce: Announce
) -> dict[tuple[str, str], Answer]:
    answers = {}
    for case, workload in built:
        for tool in tools:
            announce(f"{case.title}: {tool}")
            answers[case.name, tool] = _ask(tool, case, workload)
    return answers


def _ask(tool: str, case: Case, workload: Workload | None) -> Answer:
    """Run one tool on one case; what goes wrong is its answer."""
    if reason := _NOT_APPLICABLE.get((tool, case.name)):
        return Answer(DOES_NOT_APPLY, reason)
    if workload is None:
        return Answer(NOT_INSTALLED, case.allocator.package)
    try:
        return _ASK[tool](case, workload)
    except ToolMissingError:
        return Answer(NOT_INSTALLED)
    except LabError as error:
        return Answer(NO_ANSWER, str(error))


def _ask_lablib(case: Case, workload: Workload) -> Answer:
    return judge_outcome(case, run_case(case, workload))


def _ask_memleak(case: Case, workload: Workload) -> Answer:
    options: Sequence[str] = _MEMLEAK_OPTIONS.get(case.name, ())
    if case.allocator.is_preloaded or case.allocator.name == "static":
        options = ("-O", str(workload.preload or workload.program))
    report = run_memleak(
        workload.program,
        workload.environment,
        workload.program.parent,
        options=options,
        debug_root=workload.debug_dirs[0] if workload.debug_dirs else None,
        is_launched=case.is_launched,
        is_held=case.name != "short_life",
    )
    given = options[0] if options else "BCC_DEBUGINFO_ROOT" if workload.debug_dirs else ""
    return replace(judge_report(case, report), given=given)


def _ask_memcheck(case: Case, workload: Workload) -> Answer:
    options = [f"--extra-debuginfo-path={folder}" for folder in workload.debug_dirs]
    if case.allocator.name == "static":
        options.append("--soname-synonyms=somalloc=NONE")
    report = run_memcheck(workload.program, workload.environment, workload.program.parent, options)
    given = options[0].partition("=")[0] if options else ""
    return replace(judge_report(case, report), given=given)


def _ask_heaptrack(case: Case, workload: Workload) -> Answer:
    folder = workload.program.parent
    return judge_report(case, run_heaptrack(workload.program, workload.environment, folder))


_ASK = {
    "lablib": _ask_lablib,
    "memleak": _ask_memleak,
    "memcheck": _ask_memcheck,
    "heaptrack": _ask_heaptrack,
}


def _ask_in_containers(announce: Announce) -> list[Row]:
    """Return the rows of the cases that need Docker; where there is none they say so."""
    titles = {False: "in a container", True: "stripped in a container"}
    answers = {}
    try:
        with docker_runtime() as runtime:
            for is_stripped, title in titles.items():
                announce(title)
                answers[is_stripped] = ask_in_container(runtime, is_stripped)
    except LabError as error:
        nothing = dict.fromkeys(TOOLS, Answer(NO_ANSWER, str(error)))
        answers = {False: nothing, True: nothing} | answers
    return [
        Row(title.replace(" ", "_"), title, describe_truth(), answers[is_stripped])
        for is_stripped, title in titles.items()
    ]


def main() -> int:
    """Ask, print, write the page; return the exit code."""
    parser = argparse.ArgumentParser(prog="./lab bench exactness", description="Who is right?")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--no-write", action="store_true", help="leave exactness.md as it is")
    options = parser.parse_args()
    progress = Console(stderr=True, highlight=False, markup=False)
    started_s = time.monotonic()
    try:
        rows = run_benchmark(lambda what: progress.print(f"exactness: {what}", style="dim"))
    except (LabError, OSError) as error:
        print(f"lab: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    seconds = time.monotonic() - started_s
    if options.json:
        print(json.dumps(describe_rows(rows, seconds), indent=2))
    else:
        page = Console(highlight=False, markup=False)
        page.print(describe_machine())
        page.print(render_rows(rows))
        if not options.no_write:
            PAGE.write_text(format_page(rows, seconds))
    return 0 if all(row.answers["lablib"].mark == RIGHT for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
