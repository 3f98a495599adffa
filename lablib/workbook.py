"""Open the workbook: JupyterLab on the notebooks, with its address printed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from lablib.errors import LabError
from lablib.privilege import ask_for_root
from lablib.report import make_console
from lablib.study import choose_runtime
from lablib.tracing.control import start_service

START_TIMEOUT_S = 60.0


def open_workbook(checkout: Path, port: int | None = None) -> int:
    """Run JupyterLab until Ctrl-C and return its exit code; raises `LabError` if it can't start.

    What needs a password is started now, while there is a terminal to ask on: a notebook has none.
    """
    if port is not None:
        _check_port(port)
    console = make_console(is_json=False)
    ask_for_root("the tracer service and Docker's engine")
    try:
        start_service()
    except LabError as error:
        console.print(f"Without the tracer: {error}", style="yellow")
    runtime = choose_runtime()
    if runtime.engine is None:
        console.print(f"Without Docker: {runtime.reason}", style="yellow")
    log_path = checkout / ".lab" / "jupyter.log"
    with log_path.open("w") as log:
        server = subprocess.Popen(
            _server_command(checkout, port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=checkout,
        )
    try:
        with console.status("starting JupyterLab ..."):
            address = _await_address(server, log_path)
        console.print("The workbook is open at")
        console.print(f"\n    {address}\n", soft_wrap=True)
        console.print("Ctrl-C here ends it.")
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(server)


def _server_command(checkout: Path, port: int | None) -> list[str]:
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return [
        *(sys.executable, "-m", "jupyterlab"),
        f"--ServerApp.root_dir={checkout}",
        "--LabApp.default_url=/lab/tree/notebooks",
        "--LabApp.news_url=None",  # nothing is fetched, so nothing has to be asked
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *([f"--ServerApp.port={port}", "--ServerApp.port_retries=0"] if port else []),
        *([] if has_screen else ["--no-browser"]),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]


def _check_port(port: int) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise LabError(
                f"port {port} is in use or not allowed",
                "choose another with --port, or leave it out",
            ) from None


def _await_address(server: subprocess.Popen[bytes], log_path: Path) -> str:
    """Return the address with its token, once the server answers there."""
    facts = Path(jupyter_runtime_dir()) / f"jpserver-{server.pid}.json"
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            server_facts = json.loads(facts.read_text())
            with socket.create_connection(("127.0.0.1", server_facts["port"]), timeout=1):
                return f"{server_facts['url']}lab/tree/notebooks?token={server_facts['token']}"
        time.sleep(0.1)
    raise LabError("JupyterLab did not start", f"see its log: {log_path}")


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and its kernels: it ends them itself on SIGTERM."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
