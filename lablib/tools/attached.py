"""Tools that look at a program from outside while it stands still, before and after its terms."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from elftools.elf.elffile import ELFFile

from lablib.apps import LocalApp
from lablib.language import term
from lablib.proc import read_address_space
from lablib.records import Vma
from lablib.tools.trial import TIME_LIMIT_S, NoReportError, Trial, await_condition
from lablib.wording import os_reason

_SETTLED_S = 0.3
"""Where a call has a probe, its return may get one a moment later."""


@contextmanager
def start_held(trial: Trial) -> Iterator[LocalApp]:
    """Start the program, held before its first term; it stays when its terms are done."""
    with LocalApp(trial.app, rate=0, terms=trial.terms, stays=True) as app:
        yield app


def do_terms(app: LocalApp, rounds: int = 1) -> float:
    """Let the program do its terms, and return how many seconds that took, to 0.01 s."""
    began_s = time.monotonic()
    app.release()
    app.wait_for_terms(TIME_LIMIT_S, rounds)
    return time.monotonic() - began_s


def await_probes(
    pid: int, functions: Sequence[str], is_over: Callable[[], bool], timeout_s: float
) -> float:
    """Return once another tool has its probes on these functions of a process, or has ended.

    They are functions of the C library. A probe is a breakpoint: the process's code there is no
    longer what the file has. What is returned is the last moment at which one was still missing, by
    `time.monotonic`. Raises `NoReportError`.
    """
    library = find_libc(pid)
    places = _find_places(library, functions)
    missing_s = time.monotonic()

    def is_probed() -> bool:
        nonlocal missing_s
        looked_s = time.monotonic()
        if is_over() or all(_differs(pid, library, place) for place in places):
            return True
        missing_s = looked_s
        return False

    await_condition(is_probed, timeout_s, term("the attaching"))
    time.sleep(_SETTLED_S)
    return missing_s


def find_libc(pid: int) -> Vma:
    """Return the mapping of a process that has the C library's code; raises `NoReportError`."""
    for vma in read_address_space(pid).vmas:
        if "x" in vma.permissions and re.search(r"/libc[.-][^/]*$", vma.path):
            return vma
    raise NoReportError(term("the program has no C library that is mapped from a file"))


def _find_places(library: Vma, functions: Sequence[str]) -> list[int]:
    """Return where in the library's file these functions begin."""
    with open(library.path, "rb") as file:
        elf = ELFFile(file)
        segments = [s for s in elf.iter_segments("PT_LOAD") if s["p_flags"] & 1]
        table: Any = elf.get_section_by_name(".dynsym")
        values = [table.get_symbol_by_name(name)[0]["st_value"] for name in functions]
        return [
            value - segment["p_vaddr"] + segment["p_offset"]
            for value in values
            for segment in segments
            if 0 <= value - segment["p_vaddr"] < segment["p_filesz"]
        ]


def _differs(pid: int, library: Vma, place: int) -> bool:
    """Whether a process has another instruction at a place of its library than the file has."""
    try:
        with (
            open(library.path, "rb") as file,
            open(f"/proc/{pid}/mem", "rb", buffering=0) as memory,
        ):
            file.seek(place)
            memory.seek(library.start + place - library.offset_bytes)
            return file.read(1) != memory.read(1)
    except OSError as error:
        raise NoReportError(
            term("the program can't be looked into ({reason})", reason=os_reason(error))
        ) from None
