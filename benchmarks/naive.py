"""What one would say of a program without verdicts: by its RSS, by memleak, by LeakSanitizer."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.other_tools import attach_memleak, report_memleak
from lablib.analysis import estimate_slope
from lablib.apps import BUILD_DIR, LocalApp, run_make
from lablib.errors import LabError
from lablib.records import AppFiles, HeapTrace

SECONDS = 10
"""How long a program works before the tools are asked."""

_SANITIZER_TIMEOUT_S = 90
_LEAK = re.compile(r"leak of (\d+) byte")
_FRAME = re.compile(r"^\s+#\d+ 0x[0-9a-f]+ in (.+) (?:\S+:\d+|\(\S+\+0x.*)$", re.MULTILINE)
_BUILD = ("BUILD=build/sanitized", "DEFINES=-fsanitize=address -Wno-error")


@dataclass(frozen=True)
class Reading:
    """What one tool says: whether there is a leak, and the functions it names first; or no answer.

    `says_leak` is None where the tool gave no answer, which is then in `note`.
    """

    says_leak: bool | None
    functions: tuple[str, ...] = ()
    note: str = ""

    def names(self, app: AppFiles) -> bool:
        """Whether one of the functions is one that leaks."""
        named = {function.split("(")[0] for function in self.functions}
        return bool({leak["function"] for leak in app.truth["leaks"]} & named)


def read_rss(trace: HeapTrace) -> Reading:
    """Return what the resident set says: a leak where it grows, beyond doubt."""
    shots = [shot for shot in trace.snapshots if shot.rss_bytes is not None]
    values = [float(shot.rss_bytes or 0) for shot in shots]
    slope, error = estimate_slope([shot.elapsed_s for shot in shots], values)
    return Reading(slope > error, note=f"{slope:,.0f} ± {error:,.0f} bytes a second")


def read_memleak(app: AppFiles) -> Reading:
    """Return what bcc's memleak says: its top stack is the leak, where it has one."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lab-bench-") as folder,
            LocalApp(app, *_amount_of(app), stays=True) as running,
            attach_memleak(running.pid, Path(folder)) as tool,
        ):
            running.release()
            running.wait_for_terms(4 * SECONDS)
            stacks = report_memleak(tool).stacks
    except (LabError, OSError) as error:
        return Reading(None, note=str(error))
    if not stacks:
        return Reading(False)
    top = max(stacks, key=lambda stack: stack.size_bytes)
    return Reading(True, top.functions, f"{top.size_bytes:,} bytes")


def read_sanitizer(app: AppFiles) -> Reading:
    """Return what LeakSanitizer says at the program's end, of a build of the same source."""
    folder = BUILD_DIR / "sanitized"
    sanitized = replace(app, executable=folder / app.executable.name)
    rate, terms = _amount_of(app)
    try:
        run_make(sanitized, *_BUILD)
        ran = subprocess.run(
            [sanitized.executable, "--rate", str(rate), "--terms", str(terms), "--lifetime", "80"],
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SANITIZER_TIMEOUT_S,
            check=False,
        )
    except (LabError, subprocess.TimeoutExpired) as error:
        return Reading(None, note=str(error))
    if "LeakSanitizer has encountered a fatal error" in ran.stderr:
        return Reading(None, note="LeakSanitizer could not look")
    sizes = _LEAK.findall(ran.stderr)
    if ran.returncode and not sizes:
        said = next((line for line in ran.stderr.splitlines() if "ERROR" in line), "")
        return Reading(None, note=said or f"exit code {ran.returncode}")
    return Reading(bool(sizes), tuple(_FRAME.findall(ran.stderr)))


def _amount_of(app: AppFiles) -> tuple[float, int]:
    """Return an app's terms per second, and how many it does in `SECONDS`."""
    rate = float(app.truth["rate"])
    return rate, round(rate * SECONDS)
