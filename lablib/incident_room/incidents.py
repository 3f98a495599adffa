"""An incident on the disk: which program it is about, since when, and the learner's own files.

A folder below `incidents_dir()` has all of it, so that a kernel that was restarted finds the same
incident again:

    incident.json    when its page came, and whose it is
    key              what its program was drawn with; the judge draws the same again
    incident.c       the program, which the learner may change
    answers.json     the answers to the lab's questions
    timeline.jsonl   a line for each entry of the timeline
    ...              what was seen, and the post-mortem
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lablib.apps import APPS_DIR
from lablib.errors import GradingError
from lablib.grading.keys import read_key
from lablib.grading.labs import ANSWERS, Lab, list_sources, load_lab
from lablib.grading.variants import draw_lab
from lablib.language import term
from lablib.wording import os_reason

LAB = "incident"
"""The lab whose programs, questions and judge these are."""

FOLDER_VARIABLE = "LAB_INCIDENTS"
"""What in the environment names another folder for the incidents."""

LEARNER = "learner"
KEY, STATE, CURRENT = "key", "incident.json", "current"

_NAME_DIGITS = 8
_FOUND_PAGE = "results/incidents"


@dataclass(frozen=True)
class Incident:
    """One incident: its `folder`, its `lab` (the program and how it is judged), when it began.

    `student` is who it was drawn for with the key in `key_file`, "" where the program is the one
    that lies in the lab. `paged_s` is when its page came, in seconds since 1970.
    """

    folder: Path
    lab: Lab
    student: str
    paged_s: float

    @property
    def name(self) -> str:
        """Eight hexadecimal digits that no other incident has."""
        return self.folder.name

    @property
    def key_file(self) -> Path:
        """The file with the key that it was drawn with."""
        return self.folder / KEY

    @property
    def source_file(self) -> Path:
        """The program's source, which is the learner's to change."""
        return self.folder / self.lab.source

    @property
    def post_mortem(self) -> Path:
        """Where the post-mortem is written; as a page it has the suffix .html."""
        return self.folder / "post-mortem.md"

    @property
    def judge_words(self) -> tuple[str, ...]:
        """What `./lab check incident` must be told beside the folder to judge this program."""
        return ("--student", self.student, "--key-file", str(self.key_file)) if self.student else ()

    def has_key(self, key: str) -> bool:
        """Return whether it was drawn with this key."""
        try:
            return self.key_file.read_text().strip() == key
        except OSError:
            return False

    def elapsed_s(self) -> float:
        """The seconds since its page."""
        return max(0.0, time.time() - self.paged_s)

    def read_source(self) -> str:
        """Return the program as it is now in the learner's file; raises `GradingError`."""
        try:
            return self.source_file.read_text(errors="replace")
        except OSError as error:
            raise GradingError(
                term(
                    "{file} can't be read ({reason})",
                    file=self.source_file,
                    reason=os_reason(error),
                ),
                term("open_room(new=True) draws another incident"),
            ) from None

    def read_answers(self) -> dict[str, Any]:
        """Return what answers.json has, nothing where it is no form of answers."""
        try:
            answers = json.loads((self.folder / ANSWERS).read_text())
        except (OSError, ValueError):
            return {}
        return answers if isinstance(answers, dict) else {}

    @property
    def is_changed(self) -> bool:
        """Whether the learner has changed the program."""
        return self.read_source() != self.lab.read_source()

    def remove(self) -> None:
        """Remove its folder, and with it all that is known of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for empty in (self.folder.parent / CURRENT, self.folder.parent):
            _remove_pointer(empty, self.name)


def incidents_dir() -> Path:
    """Return where the incidents lie: `LAB_INCIDENTS`, else results/incidents of the checkout."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else APPS_DIR.parent / _FOUND_PAGE


def open_incident(key: str = "", student: str = LEARNER, new: bool = False) -> Incident:
    """Return the incident that is under way, else a new one, whose page comes now.

    With a `key`, of 16 letters or more, it is the one that is drawn with it for `student`: whoever
    gives the same two has the same program, as a class may want. `new` leaves the one that is under
    way where it lies, and draws another. Raises `GradingError` for a key that is too short, and
    where nothing can be written.
    """
    root = incidents_dir()
    if not key and not new:
        current = find_current()
        if current is not None:
            return current
    key = key or secrets.token_hex(16)
    name = hashlib.sha256(f"{key}\n{student}".encode()).hexdigest()[:_NAME_DIGITS]
    folder = root / name
    try:
        if not (folder / STATE).exists():
            _make(folder, key, student)
        (root / CURRENT).write_text(name + "\n")
    except OSError as error:
        raise GradingError(
            term(
                "the incident can't be kept in {root} ({reason})",
                root=root,
                reason=os_reason(error),
            ),
            term("name a folder of yours: {variable}=DIR", variable=FOLDER_VARIABLE),
        ) from None
    return load_incident(folder)


def find_current() -> Incident | None:
    """Return the incident under way, None where none is; raises what `load_incident` does."""
    root = incidents_dir()
    try:
        name = (root / CURRENT).read_text().strip()
    except OSError:
        return None
    folder = root / name
    is_there = name and "/" not in name and (folder / STATE).exists()
    return load_incident(folder) if is_there else None


def load_incident(folder: Path) -> Incident:
    """Return the incident in a folder; raises `GradingError` where there is none."""
    try:
        state = json.loads((folder / STATE).read_text())
        student, paged_s = str(state["student"]), float(state["paged_s"])
    except (OSError, ValueError, KeyError, TypeError):
        raise GradingError(
            term("{folder} is no incident that can be read", folder=folder),
            term("open_room(new=True) draws another"),
        ) from None
    lab = load_lab(LAB)
    if student:
        lab = draw_lab(lab, read_key(folder / KEY), student)
    return Incident(folder, lab, student, paged_s)


def _make(folder: Path, key: str, student: str) -> None:
    """Draw the program; a hand-out, which has one program only, has nothing to draw from."""
    folder.mkdir(parents=True, exist_ok=True)
    key_file = folder / KEY
    key_file.touch(0o600)
    key_file.write_text(key + "\n")
    try:
        read_key(key_file)
    except GradingError:
        shutil.rmtree(folder)
        raise
    is_drawn = bool(list_sources(load_lab(LAB).folder))
    state = {"student": student if is_drawn else "", "paged_s": time.time()}
    (folder / STATE).write_text(json.dumps(state) + "\n")
    incident = load_incident(folder)
    incident.source_file.write_text(incident.lab.read_source())
    empty = (incident.lab.folder / ANSWERS).read_text()
    (folder / ANSWERS).write_text(empty)


def _remove_pointer(path: Path, name: str) -> None:
    """Remove what points at an incident that is no more, and the folder if it was the last."""
    try:
        if path.is_dir():
            path.rmdir()
        elif path.read_text().strip() == name:
            path.unlink()
    except OSError:
        pass  # others are in there
