"""All tools on all programs: some cells at a time, each in a folder of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from lablib.apps import build_app
from lablib.errors import LabError
from lablib.language import term
from lablib.records import ToolMatrix, ToolReport, ToolRun
from lablib.scratch import make_scratch_folder
from lablib.tools.catalogue import EXHIBITS, TOOLS, Exhibit, Tool
from lablib.tools.judging import judge_report
from lablib.tools.trial import Trial, run_watched, spell

AT_ONCE, TIMED_AT_ONCE = 4, 1
"""How many cells run at a time; those that tell the costs run alone, as the plain run does."""

PLAIN_TRIES = 3
PLAIN = "plain"
"""The name under which a run without any tool is kept."""

OnRun = Callable[[ToolRun], None]


def run_matrix(
    tools: Sequence[Tool] = TOOLS,
    exhibits: Sequence[Exhibit] = EXHIBITS,
    on_run: OnRun = lambda run: None,
) -> ToolMatrix:
    """Run all tools on all programs, some at a time, and return what came out.

    `on_run` gets each cell as soon as it is there, in a thread of the matrix. Interrupted it
    starts no further cell. A tool that can't run here is a cell as well; `LabError` is raised only
    where the programs can't be built.
    """
    began_s = time.monotonic()
    for exhibit in exhibits:
        build_app(exhibit.name)
    timed = [exhibit for exhibit in exhibits if exhibit.is_timed]
    plain = tuple(run_plain(exhibit) for exhibit in timed)
    lock = threading.Lock()
    runs: list[ToolRun] = []

    def run_cell(tool: Tool, exhibit: Exhibit) -> None:
        run = run_tool(tool, exhibit)
        with lock:
            runs.append(run)
            on_run(run)

    cells = [(tool, exhibit) for exhibit in exhibits for tool in tools]
    for at_once, is_timed in ((AT_ONCE, False), (TIMED_AT_ONCE, True)):
        with ThreadPoolExecutor(at_once) as pool:
            chosen = [cell for cell in cells if cell[1].is_timed == is_timed]
            pending = [pool.submit(run_cell, *cell) for cell in chosen]
            try:
                for done in as_completed(pending):
                    done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    order = {cell: place for place, cell in enumerate((t.name, e.name) for t, e in cells)}
    runs.sort(key=lambda run: order[run.tool, run.program])
    return ToolMatrix(tuple(runs), plain, time.monotonic() - began_s)


def run_tool(tool: Tool, exhibit: Exhibit) -> ToolRun:
    """Run a tool on a program, and judge what it says by what is true of the program."""
    app = build_app(exhibit.name)
    with make_scratch_folder("tools") as folder:
        trial = Trial(app, exhibit.terms, folder, exhibit.is_timed)
        try:
            report = tool.run(trial)
        except LabError as error:
            return ToolRun(
                *(tool.name, exhibit.name, exhibit.terms, term("can't run")),
                term("{reason}.", reason=error.message),
                reason=error.message,
                fix=error.fix,
            )
        report = replace(report, raw=report.raw.replace(f"{folder}/", ""))
    outcome, sentence = judge_report(report, app.truth, app.source.read_text(), exhibit.terms)
    return ToolRun(tool.name, exhibit.name, exhibit.terms, outcome, sentence, report)


def run_plain(exhibit: Exhibit) -> ToolRun:
    """Run a program alone: what the costs of the tools are compared with.

    It is done in a tenth of a second, so that others on the machine count: the middle one of three.
    """
    app = build_app(exhibit.name)
    trial = Trial(app, exhibit.terms, Path("/nowhere"), exhibit.is_timed)
    tries = [run_watched(trial.command(), app.executable) for _ in range(PLAIN_TRIES)]
    watched = sorted(tries, key=lambda each: each.work_seconds or each.seconds)[PLAIN_TRIES // 2]
    report = ToolReport(
        command=spell(trial.command(), trial.folder),
        raw="",
        seconds=watched.seconds,
        work_seconds=watched.work_seconds,
        peak_rss_bytes=watched.peak_rss_bytes,
        exit_code=watched.exit_code,
    )
    return ToolRun(PLAIN, exhibit.name, exhibit.terms, "quiet", "No tool.", report)
