"""Running a command as root: directly, or through sudo."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from lablib.errors import PrivilegeError
from lablib.language import term


def ask_for_root(what: str) -> None:
    """Have sudo ask for its password now, on a terminal where nothing else is being drawn.

    Does nothing for root, where sudo needs no password, and where there is no terminal.
    """
    if os.geteuid() == 0 or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    with contextlib.suppress(FileNotFoundError):
        prompt = f"[sudo] password for %u, for {what}: "
        subprocess.run(["sudo", "-v", "-p", prompt], check=False)


def root_prefix(what: str) -> list[str]:
    """Return the words to put before a command that needs root: none, or sudo.

    `what` names the thing to start, for the error. Raises `PrivilegeError` where there is neither
    root nor a sudo that needs no password now; `ask_for_root` gets one.
    """
    if os.geteuid() == 0:
        return []
    try:
        quiet = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    except OSError:
        pass
    else:
        if quiet.returncode == 0:
            return ["sudo", "-n", "--"]
    raise PrivilegeError(
        term("{what} needs root, and there is no sudo here that gives it", what=what),
        term("run this as root, or where sudo works"),
    )
