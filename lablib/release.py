"""What holds for every leaky app that is started: it is held at its start, and has its limits.

With `--wait` an app catches SIGUSR1 and waits for it. The kernel shows the caught signal in
/proc/PID/status, so that whoever started the app knows when the signal will be heard.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lablib.errors import AppError

MEMORY_CAP_BYTES = 256 << 20
"""How much a leaky app may have, in RAM and swap together."""

LIFETIME_S = 3600
"""After how long it ends by itself, whatever happened to the one who started it."""

RELEASE_SIGNAL = signal.SIGUSR1
TIMEOUT_S = 10.0

_ENV = "/usr/bin/env"
_NONE: Mapping[str, str] = MappingProxyType({})
_LAUNCHER = Path(__file__).with_name("launcher.py")


def limit_app(executable: Path, *options: str, settings: Mapping[str, str] = _NONE) -> list[str]:
    """Return the command that starts an app as a child of this process, within its limits.

    It has the memory cap and the lifetime from above, a process group of its own, and is killed
    when the thread that started it ends. `settings` are variables of its environment.
    """
    return [
        *(sys.executable, "-I", "-S", "-B", str(_LAUNCHER)),
        *(str(MEMORY_CAP_BYTES), str(LIFETIME_S), str(os.getpid())),
        *((_ENV, *(f"{name}={value}" for name, value in settings.items())) if settings else ()),
        *(str(executable), *options, "--lifetime", str(LIFETIME_S)),
    ]


def wait_until_held(pid: int) -> None:
    """Return once process `pid` waits for its release; raise `AppError` if it ends instead."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            break
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if fields["State"].split()[0] in "ZX":
            break
        if int(fields["SigCgt"], 16) >> (RELEASE_SIGNAL - 1) & 1:
            return
        time.sleep(0.005)
    raise AppError(f"the program (process {pid}) ended or hung before it could be traced")
