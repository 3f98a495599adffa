"""What glibc brings along: mtrace, a log of each call, and malloc_info, the allocator's totals."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from lablib.apps import BUILD_DIR
from lablib.errors import ToolMissingError
from lablib.language import term
from lablib.records import Frame, ToolFinding, ToolReport, ToolTotal
from lablib.tools.trial import (
    NoReportError,
    Trial,
    find_tool,
    read_written,
    require_end,
    run_reader,
    run_watched,
    shorten,
    spell,
)

DEBUG_LIBRARY = "libc_malloc_debug.so.0"
"""Since glibc 2.34 mtrace does nothing without it."""

_SOURCE = Path(__file__).with_name("glibc_hooks.c")
_BLOCK = re.compile(r"^0x[0-9a-f]+\s+0x([0-9a-f]+)\s+at (.*)$")
_VERDICT = re.compile(r"^(Memory not freed:|No memory leaks\.)$", re.MULTILINE)
_PLACE = re.compile(r"^(.*?):(\d+)(?: \(discriminator \d+\))?$")


def run_mtrace(trial: Trial) -> ToolReport:
    """Return which blocks mtrace's log has no free for, by the place that it names."""
    script = find_tool(["mtrace"], "libc-devtools")
    log = trial.folder / "mtrace.log"
    settings = {"MALLOC_TRACE": str(log), "LD_PRELOAD": f"{build_hooks()}:{DEBUG_LIBRARY}"}
    command = trial.command()
    watched = run_watched(command, trial.app.executable, settings=settings)
    require_end(watched, trial.app.name)
    if not read_written(log, "mtrace").startswith("= Start"):
        raise NoReportError(term("the log of mtrace has no beginning"))
    text = run_reader([script, str(trial.app.executable), str(log)])
    return ToolReport(
        command=f"MALLOC_TRACE=log {spell(command, trial.folder)}; mtrace {trial.app.name} log",
        raw=shorten(text),
        findings=tuple(parse_mtrace(text)),
        seconds=watched.seconds,
        work_seconds=watched.work_seconds,
        peak_rss_bytes=watched.peak_rss_bytes,
        exit_code=watched.exit_code,
    )


def parse_mtrace(text: str) -> Iterator[ToolFinding]:
    """Yield the blocks that the script `mtrace` lists as not freed, those of one place together.

    The place has a file and a line where it has any: mtrace knows no functions. The line is that of
    the instruction behind the call, so it may be a later one. Raises `NoReportError` for what is
    no such list.
    """
    if not _VERDICT.search(text):
        raise NoReportError(term("mtrace printed neither blocks nor that there are none"))
    places: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        if match := _BLOCK.match(line):
            size_bytes, blocks = places.get(match[2], (0, 0))
            places[match[2]] = (size_bytes + int(match[1], 16), blocks + 1)
    for place, (size_bytes, blocks) in places.items():
        yield ToolFinding("memory not freed", size_bytes, blocks, (_read_place(place),))


def _read_place(place: str) -> Frame:
    if match := _PLACE.match(place):
        return Frame(None, "", 0, match[1].rpartition("/")[2], int(match[2]))
    return Frame(None, place.rpartition("/")[2], 0)


def run_malloc_info(trial: Trial) -> ToolReport:
    """Return what glibc's own books say is in use at the end: after the terms, and twice as many.

    A program that gives back what it has is compared at its end, where it has done so.
    """
    hooks = build_hooks()
    texts = []
    for times in (1, 2):
        out = trial.folder / f"malloc_info.{times}"
        settings = {"LAB_MALLOC_INFO": str(out), "LD_PRELOAD": str(hooks)}
        command = trial.command(terms=times * trial.terms)
        watched = run_watched(command, trial.app.executable, settings=settings)
        require_end(watched, trial.app.name)
        texts.append(read_written(out, "malloc_info"))
        if times == 1:
            first = watched
    before, after = map(parse_malloc_info, texts)
    return ToolReport(
        command=f"{spell(command, trial.folder)}, which calls malloc_info(0, file)",
        raw=shorten("\n".join(texts)),
        totals=(ToolTotal(term("what is in use"), before, after),),
        seconds=first.seconds + watched.seconds,
        work_seconds=first.work_seconds,
        peak_rss_bytes=first.peak_rss_bytes,
        exit_code=watched.exit_code,
    )


def parse_malloc_info(text: str) -> int:
    """Return the bytes in use by a document of malloc_info: what is not free, and mapped blocks.

    Raises `NoReportError` for another document.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        raise NoReportError(term("malloc_info's document is cut off")) from None
    sizes = {
        (each.tag, each.get("type")): int(each.get("size", "0"))
        for each in root
        if each.tag in ("total", "system")
    }
    try:
        free = sizes["total", "fast"] + sizes["total", "rest"]
        return sizes["system", "current"] - free + sizes["total", "mmap"]
    except KeyError:
        raise NoReportError(term("this malloc_info has other totals")) from None


def build_hooks() -> Path:
    """Return the library of glibc_hooks.c, compiled; raises `ToolMissingError`."""
    if shutil.which("gcc") is None:
        raise ToolMissingError(
            term("building what calls mtrace needs gcc"),
            term("run: {command}", command="sudo apt-get install gcc libc6-dev"),
        )
    library = BUILD_DIR / "tools" / "glibc_hooks.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    with library.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists() or library.stat().st_mtime < _SOURCE.stat().st_mtime:
            made = library.with_suffix(".new")
            words = ["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(made), str(_SOURCE)]
            subprocess.run(words, check=True, capture_output=True)
            made.rename(library)
    return library
