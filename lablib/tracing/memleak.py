"""bcc's own memleak: run by the service, which has the rights, and read by the client.

memleak is the tool of the case study. It is shown beside ours, never instead of it.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from lablib.errors import ToolMissingError, TracerError
from lablib.language import term
from lablib.records import MemleakReport, MemleakStack
from lablib.tracing.permission import Target

COMMAND_NAMES = ("memleak-bpfcc", "memleak")
SILENCE_LIMIT_S = 180
"""After so long without a word it is ended: a busy or an emulated machine takes a minute."""

MAX_OUTPUT_BYTES = 16 << 20

# bcc's Python leaves out the last argument of bpf_attach_uprobe, a reference counter's offset, and
# libbcc reads what happens to lie on the stack. The kernel refuses a second tracer whose offset for
# the same instruction is another, so memleak and ours would shut each other out. This runs memleak
# as it is, with that one argument given as 0.
BOOTSTRAP = """
import runpy, sys
from bcc.libbcc import lib
attach = lib.bpf_attach_uprobe
lib.bpf_attach_uprobe = lambda *arguments: attach(*(arguments + (0,))[:7])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

_STACK = re.compile(r"^\s*(\d+) bytes in (\d+) allocations from stack$")
_REPORT = re.compile(r"^\[\d\d:\d\d:\d\d\] Top \d+ stacks with outstanding allocations:$")
_FRAME_ADDRESS = re.compile(r"^0x[0-9a-f]+\s+")


def parse_memleak(command: str, output: str) -> MemleakReport:
    """Return what memleak printed as a record; only the last of its reports counts."""
    stacks: list[MemleakStack] = []
    frames: list[str] | None = None
    counts = (0, 0)

    def finish() -> None:
        if frames is not None:
            stacks.append(MemleakStack(counts[0], counts[1], tuple(frames)))

    for line in output.splitlines():
        if _REPORT.match(line):
            stacks, frames = [], None
        elif match := _STACK.match(line):
            finish()
            counts, frames = (int(match[1]), int(match[2])), []
        elif frames is not None and line.startswith("\t\t"):
            frames.append(_FRAME_ADDRESS.sub("", line.strip()))
        else:
            finish()
            frames = None
    finish()
    stacks.sort(key=lambda stack: stack.live_bytes, reverse=True)
    return MemleakReport(command, output, tuple(stacks))


def run_memleak(
    connection: socket.socket, target: Target, request: dict[str, Any]
) -> dict[str, Any]:
    """Run memleak on the target for one interval and return its command and output.

    Runs in the service. The request may say `seconds` (1 to 30), and two folders where unstripped
    or debug files lie: `symfs` (as the target's paths) and `debug_root` (by build-id). Ends with
    the connection.
    """
    executable = next(filter(None, map(shutil.which, COMMAND_NAMES)), None)
    if executable is None:
        raise ToolMissingError(
            term("bcc's memleak is not installed"), term("run: sudo apt-get install bpfcc-tools")
        )
    seconds = request.get("seconds", 5)
    if type(seconds) is not int or not 1 <= seconds <= 30:
        raise TracerError(term("memleak's interval must be 1 to 30 whole seconds"))
    command = [executable, "-a", "-p", str(target.pid), str(seconds), "1"]
    settings = {
        "BCC_SYMFS": str(request.get("symfs") or ""),
        "BCC_DEBUGINFO_ROOT": str(request.get("debug_root") or ""),
    }
    settings = {name: value for name, value in settings.items() if value}
    output = _run_while_connected(
        connection, [sys.executable, "-I", "-c", BOOTSTRAP, *command], settings
    )
    spelled = [f"{name}={value}" for name, value in settings.items()] + command
    return {"command": " ".join(spelled), "output": output}


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG; memleak takes its probes out


def _run_while_connected(
    connection: socket.socket, command: Sequence[str], settings: dict[str, str]
) -> str:
    """Return what the command prints; end it when the client goes or the time is over."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **settings}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        preexec_fn=_die_with_parent,
    )
    assert process.stdout is not None
    watched: list[Any] = [process.stdout, connection]
    output = bytearray()
    try:
        while True:
            ready, _, _ = select.select(watched, [], [], SILENCE_LIMIT_S)
            if not ready:
                raise TracerError(
                    term("memleak said nothing for {seconds} seconds", seconds=SILENCE_LIMIT_S),
                    term("try it when the machine has less to do"),
                )
            if connection in ready:
                raise TracerError(term("who asked for memleak has gone"))
            if len(output) > MAX_OUTPUT_BYTES:
                raise TracerError(
                    term("memleak prints too much"), term("try it on a program that does less")
                )
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                return output.decode(errors="replace")
            output += chunk
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # memleak takes its probes out
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        process.stdout.close()
        process.wait()
