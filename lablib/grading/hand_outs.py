"""What a class is handed out: the lab without solutions and tests, each student's with variants.

    hand_outs = prepare(checkout)
    hand_outs.write(folder)               the labs as they lie there, for everybody the same
    hand_outs.pack(folder, "ada", key)    ada's own: folder/ada.tar.gz

What belongs to the lab is what git tracks, as it lies in the working tree. An archive follows from
that, the key and the student alone: there are no times in it, and no names of users.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lablib.errors import GradingError, ToolMissingError
from lablib.grading.labs import LAB_FILE, find_beside, list_sources, read_lab_data
from lablib.grading.rendering import Rendering
from lablib.grading.variants import draw_data, draw_rendering

LEFT_OUT = ("instructor", "tests", "benchmarks", ".ci", ".pre-commit-config.yaml")
"""What a hand-out has not: by the first part of its path."""

TOP_FOLDER = "memory-leak-lab"
_STUDENT = re.compile(r"\w[\w.@+-]{0,99}")


@dataclass(frozen=True)
class Released:
    """One file of a hand-out: its path below the top folder, and what is in it."""

    path: Path
    content: bytes
    is_executable: bool


@dataclass(frozen=True)
class HandOuts:
    """What can be handed out of a checkout.

    `common` is the same for everybody, `labs` are the folders of the labs that differ. `commit` is
    where git stands, `is_changed` whether the working tree has something else.
    """

    checkout: Path
    common: tuple[Released, ...]
    labs: Mapping[Path, tuple[Path, ...]]
    commit: str
    is_changed: bool
    with_answers: bool

    def write(self, folder: Path) -> None:
        """Write the labs as they lie there into a folder."""
        for released in self._compose(None, ""):
            path = folder / released.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(released.content)
            if released.is_executable:
                path.chmod(path.stat().st_mode | 0o111)

    def pack(self, folder: Path, student: str, key: bytes) -> Path:
        """Write a student's own labs into an archive, and return it."""
        archive = folder / f"{student}.tar.gz"
        with (
            archive.open("wb") as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for released in self._compose(key, student):
                entry = tarfile.TarInfo(str(TOP_FOLDER / released.path))
                entry.size = len(released.content)
                entry.mode = 0o755 if released.is_executable else 0o644
                tar.addfile(entry, io.BytesIO(released.content))
        return archive

    def _compose(self, key: bytes | None, student: str) -> Iterator[Released]:
        yield from self.common
        for folder, paths in self.labs.items():
            if key is None:
                data = read_lab_data(self.checkout / folder)
                rendering = Rendering.of_first(data)
            else:
                data = draw_data(self.checkout / folder, key, student)
                rendering = draw_rendering(folder.name, data, key, student)
            yield from self._render_lab(folder, paths, data, rendering)

    def _render_lab(
        self, folder: Path, paths: tuple[Path, ...], data: Mapping[str, Any], rendering: Rendering
    ) -> Iterator[Released]:
        program = folder / data.get("source", f"{folder.name}.c")
        left_out = set()
        for source in list_sources(self.checkout / folder):
            left_out |= {program, folder / source, find_beside(folder / source)}
        for path in paths:
            if path == folder / LAB_FILE:
                yield Released(path, self._render_data(data, rendering), False)
            elif path not in left_out:
                yield Released(path, rendering.apply_to_file(self.checkout / path), False)
            elif path == folder / rendering.source:
                yield Released(program, rendering.apply_to_file(self.checkout / path), False)

    def _render_data(self, data: Mapping[str, Any], rendering: Rendering) -> bytes:
        rendered = rendering.apply_to_lab(data)
        if not self.with_answers:
            _leave_out_answers(rendered)
        return (json.dumps(rendered, indent=2, ensure_ascii=False) + "\n").encode()


def prepare(checkout: Path, with_answers: bool = False) -> HandOuts:
    """Read what can be handed out of a checkout; `with_answers` leaves them in each lab.json.

    Raises `GradingError` where it is no checkout with its solutions, and `ToolMissingError` without
    git.
    """
    if not (checkout / "instructor").is_dir():
        raise GradingError(f"{checkout} is a hand-out itself", "release from the instructor's copy")
    tracked = (Path(name) for name in _ask_git(checkout, "ls-files", "-z").split("\0") if name)
    released = [
        path for path in tracked if path.parts[0] not in LEFT_OUT and (checkout / path).is_file()
    ]
    labs: dict[Path, list[Path]] = {}
    common = []
    for path in released:
        folder = path.parents[-3] if len(path.parts) > 2 else path.parent
        if (checkout / folder / LAB_FILE).is_file():
            labs.setdefault(folder, []).append(path)
        else:
            common.append(_read(checkout, path))
    return HandOuts(
        checkout,
        tuple(common),
        {folder: tuple(paths) for folder, paths in labs.items()},
        commit=_ask_git(checkout, "rev-parse", "--short=12", "HEAD").strip(),
        is_changed=bool(_ask_git(checkout, "status", "--porcelain", "--untracked-files=no")),
        with_answers=with_answers,
    )


def read_students(path: Path) -> list[str]:
    """Return the ids in a file, one a line; empty lines and those that begin with # don't count.

    Raises `GradingError` where it can't be read, and for an id that can't name a file or that is
    there twice.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise GradingError(f"the list of students {path} can't be read ({error})") from None
    students = [line for line in lines if line and not line.startswith("#")]
    if not students:
        raise GradingError(f"{path} names no student", "write one id a line into it")
    for student in students:
        if not _STUDENT.fullmatch(student):
            raise GradingError(
                f'{path} names the student "{student}"',
                "an id has only letters, digits and . _ @ + -, and begins with one of the former",
            )
        if students.count(student) > 1:
            raise GradingError(
                f"{path} names {student} more than once", "give each an id of their own"
            )
    return students


def _leave_out_answers(rendered: dict[str, Any]) -> None:
    """What the questions are worth stays, and the hints for the program."""
    rendered.pop("truth", None)
    for question in rendered.get("questions", ()):
        for part in ("expected", "feedback"):
            question.pop(part, None)
    hints = rendered.get("hints", {})
    for kind in [kind for kind in hints if kind.startswith("question ")]:
        del hints[kind]


def _read(checkout: Path, path: Path) -> Released:
    whole = checkout / path
    return Released(path, whole.read_bytes(), bool(whole.stat().st_mode & 0o100))


def _ask_git(checkout: Path, *words: str) -> str:
    # The checkout may belong to another user: that of who calls sudo.
    command = ["git", "-c", "safe.directory=*", "-C", str(checkout), *words]
    try:
        asked = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise ToolMissingError("a release needs git", "run: sudo apt-get install git") from None
    if asked.returncode != 0:
        raise GradingError(
            f"git does not know what belongs to the lab in {checkout} ({asked.stderr.strip()})",
            "release from a clone of it",
        )
    return asked.stdout
