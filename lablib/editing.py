"""A leaky app's source with a function of the learner's own, built like the apps."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from lablib.apps import APPS_DIR, BUILD_DIR
from lablib.errors import AppError
from lablib.language import term
from lablib.records import AppFiles
from lablib.wording import os_reason

OWN_DIR = BUILD_DIR / "own"
"""Where such sources and programs lie."""

INCIDENTS_BUILD_DIR = BUILD_DIR / "incidents"
"""Where the programs of the incident room are built, each incident's in a folder of its own."""

_NAME = re.compile(r"\w+")


def read_function(source: str, name: str) -> str:
    """Return a C function's text, from the line of its name to the brace that ends it.

    Raises `AppError` where the source has none of that name at the start of a line's declaration.
    """
    start, end = _find_function(source, name)
    return source[start:end]


def replace_function(source: str, name: str, text: str) -> str:
    """Return a C source with another text for a function; raises `AppError` if there is none."""
    start, end = _find_function(source, name)
    return source[:start] + text.strip("\n") + source[end:]


def _find_function(source: str, name: str) -> tuple[int, int]:
    """The braces of a function at the outermost level stand at the start of their lines."""
    found = re.search(rf"^[\w *]*\b{re.escape(name)}\([^;]*?\)\n\{{.*?^\}}", source, re.M | re.S)
    if found is None:
        raise AppError(term("there is no function {name} in the source", name=name))
    return found.span()


def build_source(name: str, source: str, build_dir: Path = BUILD_DIR) -> tuple[AppFiles, str]:
    """Compile a C source as the leaky apps are, and return the program and the warnings.

    The files are called `name` and lie in the folder own/ of `build_dir`, which is below
    `BUILD_DIR`; without one that is `OWN_DIR`. Raises `AppError` with the first error.
    """
    if not _NAME.fullmatch(name):
        raise AppError(
            term("{name} is no name for a program", name=name),
            term("use letters, digits and underscores"),
        )
    executable = build_dir / OWN_DIR.name / name
    file = executable.with_suffix(".c")
    try:
        executable.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    except OSError as error:
        raise AppError(
            term(
                "can't write to {folder} ({reason})",
                folder=executable.parent,
                reason=os_reason(error),
            )
        ) from None
    target = str(executable.relative_to(APPS_DIR))
    made = subprocess.run(
        ["make", "-s", "-C", APPS_DIR, f"BUILD={build_dir.relative_to(APPS_DIR)}", target],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},  # the words "error" and "warning" are looked for
    )
    said = [_shorten(line) for line in made.stderr.splitlines()]
    if made.returncode != 0:
        errors = [line for line in said if "error" in line.lower()] or said[-1:]
        complaint = errors[0] if errors else "make failed"
        raise AppError(term("it doesn't compile: {error}", error=complaint))
    warnings = "\n".join(line for line in said if " warning: " in line)
    return AppFiles(name, executable, file, {}), warnings


def _shorten(line: str) -> str:
    """Return what the compiler says without the folder of the file."""
    return re.sub(r"^\S*/(?=\w+\.c:)", "", line)
