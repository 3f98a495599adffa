"""What was done and seen in an incident, with the clock's time: kept line by line on the disk."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lablib.errors import RecordingError
from lablib.records import ENTRY_KINDS, TimelineEntry

Detail = float | str | bool | None


class Timeline:
    """The entries of an incident, oldest first; each is on the disk as soon as it is made.

    Several threads may add to it. A line that is no entry, as when the machine stopped in the
    middle of one, is left out.
    """

    def __init__(self, path: Path, paged_s: float, clock: Callable[[], float] = time.time) -> None:
        """Read what is there; `paged_s` and `clock` are in seconds since 1970."""
        self._path, self._paged_s, self._clock = path, paged_s, clock
        self._turn = threading.Lock()
        self.entries: list[TimelineEntry] = _read(path)

    def add(self, kind: str, text: str, **details: Detail) -> TimelineEntry:
        """Keep what has happened now, and return it; raises `RecordingError`.

        `kind` is one of `ENTRY_KINDS`.
        """
        if kind not in ENTRY_KINDS:
            raise ValueError(f"{kind} is none of {', '.join(ENTRY_KINDS)}")
        now_s = self._clock()
        entry = TimelineEntry(max(0.0, now_s - self._paged_s), now_s, kind, text, details)
        line = json.dumps(dataclasses.asdict(entry)) + "\n"
        with self._turn:
            try:
                with self._path.open("a") as file:
                    file.write(line)
            except OSError as error:
                raise RecordingError(
                    f"{self._path} can't be written ({error.strerror})", "free some space there"
                ) from None
            self.entries.append(entry)
        return entry

    def find(self, *kinds: str) -> list[TimelineEntry]:
        """Return the entries of these kinds, oldest first."""
        return [entry for entry in self.entries if entry.kind in kinds]


def _read(path: Path) -> list[TimelineEntry]:
    entries = []
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            entries.append(TimelineEntry(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return entries


def word_clock(elapsed_s: float) -> str:
    """Return a time as a clock shows it: "4:07", or "1:04:07" from an hour on."""
    minutes, seconds = divmod(int(elapsed_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
