"""Running a command as root: directly, or through sudo."""

from __future__ import annotations

import os
import subprocess
import sys

from lablib.errors import LabError


def root_prefix(what: str) -> list[str]:
    """Return the words to put before a command that needs root: none, or sudo.

    `what` names the thing to start, for the password prompt and the error. Raises `LabError` when
    there is neither root nor a sudo that works without a terminal to ask on.
    """
    if os.geteuid() == 0:
        return []
    try:
        quiet = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
        if quiet.returncode == 0:
            return ["sudo", "-n", "--"]
        if sys.stdin.isatty() and sys.stderr.isatty():
            return ["sudo", "-p", f"[sudo] password for %u, for {what}: ", "--"]
    except FileNotFoundError:
        pass
    raise LabError(
        f"{what} needs root, and there is no sudo here that gives it",
        "run this once as root or from a terminal where sudo works",
    )
