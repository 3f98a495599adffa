"""Build a submission afresh, in the sandbox: at two optimisation levels, and with a sanitizer."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import GradingError, ToolMissingError
from lablib.grading.bubblewrap import FOLDER
from lablib.grading.limits import Limits
from lablib.grading.sandbox import Run, Sandboxed
from lablib.language import term
from lablib.tracing.groups import CappedGroup

LEVELS = ("-O0", "-O2")
SANITIZED = "sanitized"

_SECONDS = 20.0
_MAX_COMPLAINT = 200
_FLAGS = (
    *("-std=gnu11", "-g", "-pthread", "-Wno-unused-function"),
    *("-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", f"-ffile-prefix-map={FOLDER}/="),
)
_SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
_FIRST_ERROR = re.compile(r"^([^\s:]+):(\d+):\d+: (?:fatal )?error: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Build:
    """A program that was built, or why it could not be: `complaint` is the compiler's, in a line.

    `path` is where it lies in the sandbox.
    """

    level: str
    path: str
    complaint: str = ""

    @property
    def is_built(self) -> bool:
        """Whether there is a program."""
        return not self.complaint


def build(
    folder: Path,
    source: str,
    level: str,
    linked: tuple[str, ...] = (),
    group: CappedGroup | None = None,
) -> Build:
    """Compile `source` in `folder`, at one of `LEVELS` or `SANITIZED`, and link it with `linked`.

    The compiler's memory is charged to `group`, where there is one.
    Raises `ToolMissingError` without a compiler, and `GradingError` where there is no sandbox.
    """
    flags = _SANITIZERS if level == SANITIZED else (level,)
    program = f"{FOLDER}/{Path(source).stem}{'' if level == SANITIZED else level}"
    run = _compile(folder, [*_FLAGS, *flags, "-o", program, source, *linked], group)
    if run.ended_by != "itself":
        return Build(level, program, f"the compiler was ended: too much {run.ended_by}")
    if run.exit_code != 0:
        return Build(level, program, _find_complaint(run.errors))
    return Build(level, program)


def build_companions(
    folder: Path, sources: tuple[str, ...], wrapped: tuple[str, ...], seed: int
) -> tuple[str, ...]:
    """Compile what a lab links each program with, and return what the linker is to be told.

    The files know `seed` as SEED. Calls of the functions in `wrapped` go to their __wrap_ ones.
    Optimised and without frame pointers, so that they stand in nobody's call stack. Raises as
    `build` does, and `GradingError` where they don't compile.
    """
    if not sources:
        return ()
    run = _compile(folder, ["-std=gnu11", "-g", "-O2", f"-DSEED={seed}u", "-c", *sources], None)
    if run.exit_code != 0:
        raise GradingError(
            term(
                "the lab's own files don't build here: {complaint}",
                complaint=_find_complaint(run.errors),
            )
        )
    objects = (f"{Path(source).stem}.o" for source in sources)
    return (*objects, *(f"-Wl,--wrap={name}" for name in wrapped))


def _compile(folder: Path, arguments: list[str], group: CappedGroup | None) -> Run:
    if shutil.which("gcc") is None:
        raise ToolMissingError(
            term("building a submission needs gcc"), term("run: sudo apt-get install gcc libc6-dev")
        )
    limits = Limits(seconds=_SECONDS, memory_bytes=1 << 30, may_fork=True)
    command = ["/usr/bin/gcc", *arguments]
    with Sandboxed(folder, command, limits, group, is_writable=True) as compiler:
        compiler.release()
        return compiler.finish()


def _find_complaint(errors: str) -> str:
    found = _FIRST_ERROR.search(errors)
    if found:
        return f"{found[3][:_MAX_COMPLAINT]} ({found[1][:_MAX_COMPLAINT]}:{found[2]})"
    lines = errors.strip().splitlines()
    telling = next((line for line in lines if "rror: " in line or "out of memory" in line), "")
    return (telling or lines[-1])[:_MAX_COMPLAINT] if lines else "it gave no reason"
