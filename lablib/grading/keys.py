"""The key of a course: whoever has it can make each student's variants, and nobody else."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from lablib.errors import GradingError

_MAKE_ONE = "make one with: ./lab release --new-key FILE"
_BYTES = 32
_LEAST_CHARACTERS = 16


def make_key(path: Path) -> None:
    """Write a new key into a new file that its owner alone may read.

    Raises `GradingError` where there is a file already: it may be the key of a course.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise GradingError(
            f"{path} is there already: it may be a key", "choose another name"
        ) from None
    except OSError as error:
        raise GradingError(f"{path} can't be written ({os.strerror(error.errno or 0)})") from None
    with open(descriptor, "w") as file:
        file.write(f"{secrets.token_hex(_BYTES)}\n")


def read_key(path: Path) -> bytes:
    """Return the key in a file; raises `GradingError` where there is none worth the name."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise GradingError(f"the key {path} can't be read ({reason})", _MAKE_ONE) from None
    if len(key) < _LEAST_CHARACTERS:
        raise GradingError(f"{path} is too short for a key", _MAKE_ONE)
    return key
