"""What was done and seen in an incident, with the clock's time: kept line by line on the disk."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lablib.errors import RecordingError
from lablib.language import Said, say_in_all, term
from lablib.records import ENTRY_KINDS, TimelineEntry
from lablib.wording import os_reason

Detail = float | str | bool | None

KIND_WORDS = {
    "page": term("the page"),
    "service": term("service"),
    "kill": term("kill"),
    "look": term("look"),
    "command": term("command"),
    "note": term("note"),
    "answer": term("answer"),
    "change": term("change"),
    "fix": term("fix"),
    "proof": term("proof"),
    "check": term("the check"),
}
"""What a reader is told that an entry is about."""


class Timeline:
    """The entries of an incident, oldest first; each is on the disk as soon as it is made.

    What the lab says of what has happened is kept in every language, so that who reads it in
    another one can. Several threads may add to it. A line that is no entry, as when the machine
    stopped in the middle of one, is left out.
    """

    def __init__(self, path: Path, paged_s: float, clock: Callable[[], float] = time.time) -> None:
        """Read what is there; `paged_s` and `clock` are in seconds since 1970."""
        self._path, self._paged_s, self._clock = path, paged_s, clock
        self._turn = threading.Lock()
        self.entries: list[TimelineEntry] = _read(path)
        end_line(path)

    def add(self, kind: str, text: str | Callable[[], str], **details: Detail) -> TimelineEntry:
        """Keep what has happened now, and return it; raises `RecordingError`.

        `kind` is one of `ENTRY_KINDS`. What the lab says, and not the learner, comes from a call,
        which is made for each language.
        """
        if kind not in ENTRY_KINDS:
            raise ValueError(f"{kind} is none of {', '.join(ENTRY_KINDS)}")
        now_s = self._clock()
        text = text if isinstance(text, str) else say_in_all(text)
        entry = TimelineEntry(max(0.0, now_s - self._paged_s), now_s, kind, text, details)
        others = {"others": text.others} if isinstance(text, Said) else {}
        line = json.dumps({**dataclasses.asdict(entry), **others}) + "\n"
        with self._turn:
            try:
                with self._path.open("a") as file:
                    file.write(line)
            except OSError as error:
                raise RecordingError(
                    term(
                        "{path} can't be written ({reason})",
                        path=self._path,
                        reason=os_reason(error),
                    ),
                    term("free some space there"),
                ) from None
            self.entries.append(entry)
        return entry

    def find(self, *kinds: str) -> list[TimelineEntry]:
        """Return the entries of these kinds, oldest first."""
        return [entry for entry in self.entries if entry.kind in kinds]


def end_line(path: Path) -> None:
    """Have what is appended to a file begin a line of its own, where the last one is torn."""
    with suppress(OSError), path.open("rb+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")


def _read(path: Path) -> list[TimelineEntry]:
    entries = []
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            fields = json.loads(line)
            fields["text"] = Said(fields["text"], fields.pop("others", {}))
            entry = TimelineEntry(**fields)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if entry.kind in ENTRY_KINDS:
            entries.append(entry)
    return entries


def word_clock(elapsed_s: float) -> str:
    """Return a time as a clock shows it: "4:07", or "1:04:07" from an hour on."""
    minutes, seconds = divmod(int(elapsed_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
