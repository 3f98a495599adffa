"""Holding a leaky app at its start until a tracer is attached.

With `--wait` an app catches SIGUSR1 and waits for it. The kernel shows the caught signal in
/proc/PID/status, so that whoever started the app knows when the signal will be heard.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from lablib.errors import AppError

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
