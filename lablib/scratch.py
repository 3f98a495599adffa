"""Folders in the temporary folder that are gone after use, and how to find those that are not.

Who works in one holds a lock on it, which the kernel lifts when the process ends, however it ends.
So a folder without a lock is one that a killed process has left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "memory-leak-lab-"


@contextmanager
def make_scratch_folder(purpose: str) -> Iterator[Path]:
    """Make a folder with `purpose` in its name, and remove it with all that is in it at the end.

    What can't be removed then is left to `remove_left_folders`.
    """
    prefix = f"{_PREFIX}{purpose}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        held = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(held, fcntl.LOCK_SH)
            yield Path(name)
        finally:
            os.close(held)


def remove_left_folders() -> list[Path]:
    """Remove this user's scratch folders that no living process works in, and return them."""
    removed = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        try:
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # no folder, or not ours to look into
        try:
            if os.fstat(held).st_uid != os.getuid():
                continue
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue  # somebody works in it
        finally:
            os.close(held)
        if not folder.exists():
            removed.append(folder)
    return removed
