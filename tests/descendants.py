"""The leaky apps that the tests of this process have started, also through others, and that run."""

import os
from pathlib import Path

import psutil

from lablib.apps import BUILD_DIR

MARK = "LAB_TRACER_SOCKET"
"""Each process that runs tests has a tracer of its own, and all that it starts knows of it."""


def list_own_apps() -> list[Path]:
    """Return the programs of the apps that run as local processes; other people's are not ours."""
    found = []
    for process in psutil.process_iter():
        try:
            program = Path(process.exe())
            if BUILD_DIR in program.parents and process.environ().get(MARK) == os.environ[MARK]:
                found.append(program)
        except psutil.Error:
            continue
    return found
