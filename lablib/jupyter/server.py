"""JupyterLab as the lab runs it: one set of options, for the learner and for the tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from lablib.errors import LabError
from lablib.language import term

START_TIMEOUT_S = 300.0
"""It takes two seconds here, and minutes on an emulated processor."""

# Defaults below the user's own settings: widgets are saved with their notebook, its kernel starts
# without a question, and every cell is there for the browser's search and for a screen reader.
SETTINGS_DIR = Path(__file__).with_name("settings")
# nbgrader, which an instructor may grade with, is none of the workbook's, nor is what it brings:
# their extensions of the page are off in settings/page_config.json, those of the server here.
_NOT_SERVED = [
    "notebook",
    "nbgrader.server_extensions.assignment_list",
    "nbgrader.server_extensions.course_list",
    "nbgrader.server_extensions.formgrader",
    "nbgrader.server_extensions.validate_assignment",
]


@dataclass(frozen=True)
class NotebookServer:
    """A JupyterLab that answers: its process, its address (`url` ends in a slash) and its token."""

    process: subprocess.Popen[bytes]
    url: str
    token: str

    def address(self, notebook: str = "", folder: str = "notebooks") -> str:
        """Return where a browser finds a notebook, or the folder of all, with the token."""
        return f"{self.url}lab/tree/{folder}{'/' * bool(notebook)}{notebook}?token={self.token}"


@contextlib.contextmanager
def start_notebook_server(
    root: Path,
    log_path: Path,
    port: int | None = None,
    opens_browser: bool = False,
    folder: str = "notebooks",
    extensions: Path | None = None,
) -> Iterator[NotebookServer]:
    """Run JupyterLab on `root`, open at a folder in it, and end it with its kernels.

    Without a port it takes a free one. The folder `extensions` has more extensions of the page.
    Raises `LabError` if it ends, or does not answer within `START_TIMEOUT_S`.
    """
    with log_path.open("w") as log:
        process = subprocess.Popen(
            _command(root, port, opens_browser, folder, extensions),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=root,
        )
    try:
        yield _await_server(process, log_path)
    finally:
        _end(process)


def _command(
    root: Path, port: int | None, opens_browser: bool, folder: str, extensions: Path | None
) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyterlab"),
        f"--ServerApp.root_dir={root}",
        f"--LabApp.default_url=/lab/tree/{folder}",
        f"--LabApp.app_settings_dir={SETTINGS_DIR}",
        f"--ServerApp.jpserver_extensions={dict.fromkeys(_NOT_SERVED, False)}",
        *([f"--ServerApp.port={port}", "--ServerApp.port_retries=0"] if port else []),
        *([f"--LabApp.extra_labextensions_path={extensions}"] if extensions else []),
        *([] if opens_browser else ["--no-browser"]),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]


def _await_server(process: subprocess.Popen[bytes], log_path: Path) -> NotebookServer:
    """Return the server with its token, once it answers."""
    facts = Path(jupyter_runtime_dir()) / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            server_facts = json.loads(facts.read_text())
            with socket.create_connection(("127.0.0.1", server_facts["port"]), timeout=1):
                return NotebookServer(process, server_facts["url"], server_facts["token"])
        time.sleep(0.1)
    raise LabError(
        term("JupyterLab did not start"), term("see its log: {log_path}", log_path=log_path)
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its kernels: it ends them itself on SIGTERM."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
