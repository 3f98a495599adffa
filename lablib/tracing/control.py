"""Start the tracer service with root's rights, and remove what a killed one has left."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from lablib.errors import LabError, ToolMissingError, TracerError
from lablib.language import term
from lablib.privilege import root_prefix
from lablib.tracing import client, holdings, protocol

SYSTEM_PYTHON = "/usr/bin/python3"
"""The distribution's Python, which its bcc belongs to."""

START_TIMEOUT_S = 120.0
"""Compiling takes two seconds here, and minutes on an emulated processor."""

_CHECKOUT = Path(__file__).resolve().parents[2]
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from lablib.tracing.service import main; main()"
)
_SWEEP = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from lablib.tracing.holdings import main; main()"
)


def start_service() -> dict[str, Any]:
    """Start the service unless it runs, and return its status.

    Raises `ToolMissingError` without bcc, `LabError` without root or sudo, and `TracerError` when
    another version is running or the service does not come up.
    """
    try:
        client.connect().close()
        return client.read_status()
    except TracerError as error:
        if "does not run" not in error.message:
            raise
    _check_bcc()
    log = protocol.socket_path().with_suffix(".log")
    command = [
        *root_prefix(term("the tracer service")),
        "/bin/sh",
        "-c",
        'mkdir -p -m 755 "${1%/*}"; log=$1; shift; exec setsid -f "$@" >"$log" 2>&1 </dev/null',
        *("sh", str(log)),
        *_service_command(),
    ]
    if subprocess.run(command, check=False).returncode != 0:
        raise TracerError(term("the tracer service could not be started"), term("try: sudo -v"))
    return _await_service(log)


def describe_unit() -> str:
    """Return a systemd unit that runs the service from boot on, owned by the calling user.

    It counts as started once it answers, so that what comes after it finds it there.
    """
    command = " ".join(_quote_for_systemd(word) for word in _service_command())
    wait = 'until [ -S "$1" ]; do kill -0 "$2" || exit 1; sleep 0.2; done'
    waiting = ["/bin/sh", "-c", wait, "sh", str(protocol.socket_path())]
    return f"""\
[Unit]
Description=The Memory Leak Lab's tracer service
StartLimitIntervalSec=1h
StartLimitBurst=3

[Service]
Type=exec
RuntimeDirectory={protocol.RUN_DIR.name}
RuntimeDirectoryPreserve=yes
ExecStart={command}
ExecStartPost={" ".join(_quote_for_systemd(word) for word in waiting)} $MAINPID
TimeoutStartSec=15min
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


def remove_groups() -> list[str]:
    """Remove what sessions that were killed have left: capped cgroups, what is in them, swap.

    Returns a line for each. Raises `PrivilegeError` where there is something and no root or sudo,
    and `TracerError` where it can't be removed.
    """
    if not holdings.has_holdings(os.getuid()):
        return []
    command = [
        *root_prefix(term("removing what an experiment has left")),
        *(SYSTEM_PYTHON, "-I", "-B", "-c", _SWEEP, str(_CHECKOUT)),
    ]
    swept = subprocess.run(command, capture_output=True, text=True, check=False)
    if swept.returncode != 0:
        said = swept.stderr.strip().splitlines()
        raise TracerError(
            term(
                "an experiment's leftovers can't be removed: {said}",
                said=said[-1] if said else "",
            )
        )
    return swept.stdout.splitlines()


def _service_command() -> list[str]:
    return [
        *(SYSTEM_PYTHON, "-I", "-B", "-c", _BOOTSTRAP, str(_CHECKOUT)),
        *("--socket", str(protocol.socket_path()), "--owner-uid", str(os.getuid())),
    ]


def _quote_for_systemd(word: str) -> str:
    """Return a word as ExecStart= reads it: it expands % and $, and knows double quotes."""
    for special, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(special, written)
    return f'"{word}"'


def _check_bcc() -> None:
    probe = [SYSTEM_PYTHON, "-I", "-c", "import bcc"]
    try:
        found = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        found = False
    if not found:
        raise ToolMissingError(
            term("the tracer needs the distribution's bcc"),
            term("run: sudo apt-get install python3-bpfcc python3-capstone bpfcc-tools"),
        )


def _await_service(log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            return client.read_status()
        except LabError:
            time.sleep(0.05)
        said = _read_last_line(log)
        if said.startswith("lab-tracer: "):
            raise TracerError(said.removeprefix("lab-tracer: "))
    raise TracerError(
        term("the tracer service did not come up"), term("see its log: {log}", log=log)
    )


def _read_last_line(log: Path) -> str:
    try:
        return (log.read_text(errors="replace").splitlines() or [""])[-1]
    except OSError:
        return ""
