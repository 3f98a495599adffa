"""What is built of an incident's program: in a folder for each kernel, which goes with its room."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from lablib.editing import INCIDENTS_BUILD_DIR, build_source
from lablib.incident_room.incidents import Incident
from lablib.records import AppFiles


class Builds:
    """The programs that this process has built for an incident."""

    def __init__(self, incident: Incident) -> None:
        """Remove what other kernels have built for it, and died."""
        self._folder = INCIDENTS_BUILD_DIR / f"{incident.name}-{os.getpid()}"
        for folder in INCIDENTS_BUILD_DIR.glob(f"{incident.name}-*"):
            if not Path("/proc", folder.name.rpartition("-")[2]).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def build(self, name: str, source: str) -> AppFiles:
        """Compile a source of the incident's, and return the program; raises `LabError`."""
        return build_source("incident", source, self._folder / name)[0]

    def remove(self) -> None:
        """Remove them; safe more than once."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):  # other rooms have built as well
            INCIDENTS_BUILD_DIR.rmdir()
