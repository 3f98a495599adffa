"""LeakSanitizer and AddressSanitizer: the program is built anew, with the checker in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from lablib.apps import BUILD_DIR, run_make
from lablib.language import term
from lablib.records import Frame, ToolFinding, ToolReport
from lablib.tools.trial import (
    UNLIMITED,
    NoReportError,
    Trial,
    Watched,
    require_end,
    run_watched,
    shorten,
    spell,
)

_LEAK = re.compile(r"^(Direct|Indirect) leak of (\d+) byte\(s\) in (\d+) object\(s\)")
_ANY_FRAME = re.compile(r"^\s+#\d+ 0x[0-9a-f]+\b")
_FRAME = re.compile(r"^\s+#\d+ \S+ in (.+?) ((?:/|\.\.?/).+?|\S+?)(?::(\d+))?(?::\d+)?$")
_MODULE_FRAME = re.compile(r"^\s+#\d+ \S+\s+(?:in (.+?) +)?\((.+?)\+0x")
_SUM = re.compile(r"^SUMMARY: \w+: \d+ byte\(s\) leaked", re.MULTILINE)
_REFUSAL = re.compile(r"^==\d+==(?:FATAL: |LeakSanitizer has )?(.+)$", re.MULTILINE)
_OPTIONS = "detect_leaks=1:hard_rss_limit_mb=768"


def run_leak_sanitizer(trial: Trial) -> ToolReport:
    """Return LeakSanitizer's report at the end of a build with -fsanitize=leak."""
    return _run(trial, "leak", "LSAN_OPTIONS")


def run_address_sanitizer(trial: Trial) -> ToolReport:
    """Return what AddressSanitizer's leak check says at the end of a build that has it."""
    return _run(trial, "address", "ASAN_OPTIONS")


def _run(trial: Trial, sanitizer: str, options: str) -> ToolReport:
    folder = BUILD_DIR / f"sanitized-{sanitizer}"
    app = replace(trial.app, executable=folder / trial.app.name)
    flag = f"-fsanitize={sanitizer}"
    run_make(app, f"BUILD=build/{folder.name}", f"DEFINES={flag}")
    command = trial.command(executable=app.executable)
    watched = run_watched(command, app.executable, UNLIMITED, {options: _OPTIONS})
    _check(watched)
    return ToolReport(
        command=f"gcc {flag} ...; {spell(command, trial.folder)}",
        raw=shorten(watched.errors) or "(it said nothing)",
        findings=tuple(parse_sanitizer(watched.errors)),
        seconds=watched.seconds,
        work_seconds=watched.work_seconds,
        peak_rss_bytes=watched.peak_rss_bytes,
        exit_code=watched.exit_code,
    )


def _check(watched: Watched) -> None:
    """Raise `NoReportError` where it did not come to the list of leaks, or to its end.

    The checker itself may have given up, under ptrace or without room, or have met another error.
    """
    if _SUM.search(watched.errors):
        return
    if match := _REFUSAL.search(watched.errors):
        raise NoReportError(term("the sanitizer gave up: {said}", said=match[1].strip()))
    require_end(watched, term("the program with the sanitizer"))


def parse_sanitizer(text: str) -> Iterator[ToolFinding]:
    """Yield the leaks that LeakSanitizer lists, alone or as a part of AddressSanitizer."""
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if match := _LEAK.match(line):
            kind = f"{match[1].lower()} leak"
            yield ToolFinding(kind, int(match[2]), int(match[3]), _read_frames(lines[place + 1 :]))


def _read_frames(lines: list[str]) -> tuple[Frame, ...]:
    frames = []
    for line in lines:
        if match := _MODULE_FRAME.match(line):
            frames.append(Frame(match[1], match[2].rpartition("/")[2], 0))
        elif match := _FRAME.match(line):
            file = match[2].rpartition("/")[2]
            frames.append(Frame(match[1], "", 0, file, int(match[3]) if match[3] else None))
        elif _ANY_FRAME.match(line):
            frames.append(Frame(None, "", 0))
        else:
            break
    return tuple(frames)
