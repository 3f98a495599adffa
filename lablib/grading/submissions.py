"""What a learner hands in: the program and the answers, read with suspicion."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lablib.apps import APPS_DIR
from lablib.errors import GradingError
from lablib.grading.labs import ANSWERS, Lab
from lablib.language import term
from lablib.wording import os_reason

MAX_FILE_BYTES = 256 << 10
"""How large a file of a submission may be."""


@dataclass(frozen=True)
class Submission:
    """A submission, in memory: its program's text, and its answers by the name of the question.

    `complaint` says what is wrong with the file of answers, "" where nothing is.
    """

    source: bytes
    answers: Mapping[str, Any]
    complaint: str = ""


def read_submission(lab: Lab, folder: Path) -> Submission:
    """Return what is handed in for a lab in `folder`; answers need not be there.

    Raises `GradingError` where there is no program, or it is no plain file of a program's size.
    """
    source = _read_plainly(folder / lab.source)
    try:
        answers = json.loads(_read_plainly(folder / ANSWERS)) if lab.questions else {}
    except GradingError as error:
        return Submission(source, {}, str(error))
    except (ValueError, RecursionError) as error:
        return Submission(source, {}, f"{ANSWERS} is not JSON: {error}")
    if not isinstance(answers, dict):
        return Submission(
            source, {}, f"{ANSWERS} must hold one answer by the name of each question"
        )
    return Submission(source, answers)


def lay_out(lab: Lab, source: bytes, folder: Path) -> None:
    """Put a program into an empty folder, beside the files of ours that it is built with."""
    (folder / lab.source).write_bytes(source)
    for header in APPS_DIR.glob("*.h"):
        shutil.copy(header, folder)
    for ours in (*lab.folder.glob("*.h"), *lab.companions):
        (folder / ours.name).write_bytes(lab.rendering.apply_to_file(ours))


def _read_plainly(path: Path) -> bytes:
    """Return a file's content; a link, a pipe or a giant is refused with a `GradingError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise GradingError(
            term("{path} can't be read ({reason})", path=path, reason=os_reason(error)),
            term("hand it in with that name"),
        ) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise GradingError(
            term("{path} is not a plain file", path=path), term("hand in the file itself")
        )
    with open(descriptor, "rb") as file:
        if status.st_size > MAX_FILE_BYTES:
            raise GradingError(
                term("{path} is larger than {kib} KiB", path=path, kib=MAX_FILE_BYTES >> 10)
            )
        return file.read(MAX_FILE_BYTES)
