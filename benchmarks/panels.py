"""What the live panels cost the notebook's kernel and the browser: `./lab bench panels`.

    ./lab bench panels [--json] [--no-write]

Writes panels.md beside this file, unless --json or --no-write is given. Exit 0: every target is
met; 1: one is not; 2: it could not be measured.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from jupyter_client.manager import start_new_kernel

from benchmarks.case_panels import CaseShare
from benchmarks.commands import Announce, Benchmark, Result
from benchmarks.frames import INTERVAL_S, MEASURED_S, Frames
from benchmarks.pages import Sheet, Target
from lablib.errors import LabError
from lablib.jupyter.server import start_notebook_server

PAGE = Path(__file__).with_suffix(".md")
CHECKOUT = Path(__file__).resolve().parents[1]
NOTEBOOK = "sizes.ipynb"
KERNEL_TIMEOUT_S = 600
FRAME_LIMIT_MS = 2.0
SHARE_LIMIT = 15.0
CASE_LIMIT = 10.0

_BROWSER_INTERVAL_S = 0.2
_BROWSER_S = 15.0
_SETTLE_S = 6.0


@dataclass(frozen=True)
class Share:
    """Percent of a core that the browser's renderer takes: the panel running, and stopped."""

    running: float
    stopped: float


def measure(announce: Announce) -> Result:
    """Return what panels cost, against what was promised; raises `LabError`."""
    announce("the kernel, some two minutes")
    frames = measure_kernel()
    announce("notebook 09")
    case = measure_case()
    announce("the browser")
    share = measure_browser()
    return Result(
        make_sheets(frames, case, share),
        describe(frames, case, share),
        judge(frames, case, share),
    )


def measure_kernel() -> tuple[Frames, ...]:
    """Return what a frame costs; raises `LabError` with the kernel's words if it fails."""
    said = _run_in_kernel("from benchmarks.frames import print_frames; print_frames()")
    return tuple(Frames(**each) for each in said)


def measure_case() -> CaseShare:
    """Return what the panels of notebook 09 cost together; raises `LabError` likewise."""
    code = "from benchmarks.case_panels import print_case_share; print_case_share()"
    return CaseShare(**_run_in_kernel(code))


def _run_in_kernel(code: str) -> Any:
    """Return the JSON document that code prints in a notebook's kernel."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    manager, client = start_new_kernel(env=environment, stderr=subprocess.DEVNULL)
    said: list[dict[str, Any]] = []
    try:
        client.execute_interactive(code, timeout=KERNEL_TIMEOUT_S, output_hook=said.append)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    errors = [each["content"]["evalue"] for each in said if each["msg_type"] == "error"]
    if errors:
        raise LabError(f"the measurement in the kernel has failed: {errors[0]}")
    printed = [each["content"] for each in said if each["msg_type"] == "stream"]
    return json.loads("".join(each["text"] for each in printed if each["name"] == "stdout"))


def measure_browser() -> Share:
    """Return the renderer's share with a full `SizesPanel`, five samples a second, in JupyterLab.

    Raises `LabError` where there is no Chromium.
    """
    sys.path.insert(0, str(CHECKOUT / "tests" / "browser"))
    from notebook_page import launch_chromium, open_notebook, open_page, press_button, run_all
    from playwright.sync_api import Error, sync_playwright

    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder, sync_playwright() as driver:
        root = Path(folder)
        (root / "notebooks").mkdir()
        nbformat.write(_make_notebook(), root / "notebooks" / NOTEBOOK)
        _leave_settings_alone(root)
        try:
            with (
                launch_chromium(driver) as browser,
                start_notebook_server(root, root / "jupyter.log") as server,
                open_page(browser) as page,
            ):
                open_notebook(page, server, NOTEBOOK)
                run_all(page)
                running = _measure_renderers()
                press_button(page, "Stop")
                return Share(running, _measure_renderers())
        except (LookupError, Error) as error:
            raise LabError(f"no figures of the browser: {error}") from None


def _leave_settings_alone(root: Path) -> None:
    """Have JupyterLab keep its layout and settings elsewhere than where the user has theirs."""
    for name in ("WORKSPACES", "SETTINGS"):
        os.environ[f"JUPYTERLAB_{name}_DIR"] = str(root / name.lower())
    os.environ["PYTHONPATH"] = str(CHECKOUT)  # for the kernel


def _make_notebook() -> nbformat.NotebookNode:
    call = f"app = show_full_sizes({_BROWSER_INTERVAL_S})"
    code = f"from benchmarks.frames import show_full_sizes\n{call}"
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])


def _measure_renderers() -> float:
    """Return the percentage of a core that our browser's renderers take, together."""
    time.sleep(_SETTLE_S)
    before, began_s = _read_renderers_s(), time.monotonic()
    time.sleep(_BROWSER_S)
    return 100 * (_read_renderers_s() - before) / (time.monotonic() - began_s)


def _read_renderers_s() -> float:
    used_s = 0.0
    for process in psutil.Process().children(recursive=True):
        if "--type=renderer" in process.cmdline():
            times = process.cpu_times()
            used_s += times.user + times.system
    return used_s


def judge(frames: Sequence[Frames], case: CaseShare, share: Share) -> tuple[Target, ...]:
    """Return the targets, each with what was measured.

    A frame that costs more than its limit is drawn less often: then the limit is what ten frames
    may cost in a second, and the panel's status says so to who looks at it.
    """
    renderer = Target("the renderer, 5 frames a second", share.running, SHARE_LIMIT, "%")
    together = Target("vmstat and all panels of notebook 09", case.total, CASE_LIMIT, "%")
    return (*map(_judge_panel, frames), together, renderer)


def _judge_panel(frames: Frames) -> Target:
    name = f"{frames.panel}: {frames.process}"
    if frames.per_s > 0.9 / INTERVAL_S:
        return Target(f"{name}, a frame", frames.cpu_ms, FRAME_LIMIT_MS, "ms")
    limit_ms = FRAME_LIMIT_MS / INTERVAL_S
    return Target(f"{name}, all frames of a second", frames.cpu_ms * frames.per_s, limit_ms, "ms")


def make_sheets(frames: Sequence[Frames], case: CaseShare, share: Share) -> tuple[Sheet, ...]:
    """Return the tables: the kernel, and the browser."""
    rows = tuple(
        (
            f"{each.panel}: {each.process}",
            f"{each.resident_bytes / (1 << 20):,.1f} MiB",
            f"{each.per_s:.1f}",
            f"{each.cpu_ms:.2f} ms",
            f"{each.cpu_ms * each.per_s / 10:.1f} %",
        )
        for each in frames
    )
    headings = ("panel", "resident", "frames/s", "processor time a frame", "share of a core")
    shares = (
        ("the chart of sizes moves, 5 frames a second", f"{share.running:.1f} %"),
        ("it is stopped", f"{share.stopped:.1f} %"),
    )
    of_case = (
        ("the kernel: it reads, draws and sends", f"{case.kernel:.1f} %"),
        ("vmstat: one that runs on, and a new one for each sample", f"{case.vmstat:.1f} %"),
        ("the tracer service: its snapshots", f"{case.service:.1f} %"),
        ("together", f"{case.total:.1f} %"),
    )
    return (
        Sheet("The notebook's kernel, at 10 frames a second", headings, rows),
        Sheet("Notebook 09, both panels at once", ("who", "share of a core"), of_case),
        Sheet("The browser's renderer", ("JupyterLab", "share of a core"), shares),
    )


_INTRODUCTION = f"""\
Made by `./lab bench panels`. A frame is read from the process, drawn into the widgets, and sent.
Its cost is the processor time of all of the kernel's threads, over {MEASURED_S:g} seconds with a
frame every {INTERVAL_S * 1e3:.0f} ms; the notebooks ask for 2 to 5 a second.
Where a frame costs much, frames come less often, so that a panel takes at most 2 % of a processor,
and the panel's status line says so: the kernel walks all resident pages of a process for its
regions, and a heap is read block by block. A process that stays as it is costs least: its regions
are read again only when it has faulted, and its proportional set once a second. The last rows are
of processes that grow ten times a second. In notebook 09 the strips of vmstat get a sample a
second, and the growth by call stack two snapshots. The browser is the distribution's Chromium
without a graphics card, on a chart that is full (300 samples)."""


def describe(frames: Sequence[Frames], case: CaseShare, share: Share) -> dict[str, Any]:
    """Return the document of `--json`."""
    return {
        "frames": [dataclasses.asdict(each) for each in frames],
        "notebook_09_percent": {**dataclasses.asdict(case), "total": case.total},
        "renderer_percent": dataclasses.asdict(share),
    }


def main() -> int:
    """Measure, print, write the page; return the exit code."""
    return Benchmark("panels", "What the panels cost", _INTRODUCTION, measure).run()


if __name__ == "__main__":
    sys.exit(main())
