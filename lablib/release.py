"""What holds for every leaky app that is started: it is held at its start, and has its limits.

With `--wait` an app catches SIGUSR1 and waits for it. The kernel shows the caught signal in
/proc/PID/status, so that whoever started the app knows when the signal will be heard.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from lablib.errors import AppError

MEMORY_CAP_BYTES = 256 << 20
"""How much a leaky app may have, in RAM and swap together."""

LIFETIME_S = 3600
"""After how long it ends by itself, whatever happened to the one who started it."""

RELEASE_SIGNAL = signal.SIGUSR1
TIMEOUT_S = 10.0


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
