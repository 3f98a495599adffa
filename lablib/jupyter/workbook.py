"""Open the workbook: JupyterLab on the notebooks, with its address printed."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from rich.console import Console

from lablib.errors import LabError
from lablib.jupyter.server import start_notebook_server
from lablib.language import term
from lablib.localising import make_workbook
from lablib.privilege import ask_for_root
from lablib.report import make_console
from lablib.study import choose_runtime
from lablib.tracing.control import start_service


def open_workbook(checkout: Path, port: int | None = None, locale: str = "") -> int:
    """Run JupyterLab until Ctrl-C and return its exit code; raises `LabError` if it can't start.

    It opens on the notebooks of `locale`, which are made first; "" is English.

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
    folder = _prepare_folder(checkout, locale, console)
    has_screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    try:
        with contextlib.ExitStack() as running:
            with console.status("starting JupyterLab ..."):
                server = running.enter_context(
                    start_notebook_server(
                        checkout, checkout / ".lab" / "jupyter.log", port, has_screen, folder
                    )
                )
            console.print("The workbook is open at")
            console.print(f"\n    {server.address(folder=folder)}\n", soft_wrap=True)
            console.print("Ctrl-C here ends it.")
            return server.process.wait()
    except KeyboardInterrupt:
        return 0


def _prepare_folder(checkout: Path, locale: str, console: Console) -> str:
    """Return the folder of a locale's notebooks in the checkout; they are made if need be."""
    if not locale:
        return "notebooks"
    folder, set_aside = make_workbook(checkout / "notebooks", locale)
    for path in set_aside:
        console.print(
            f"There is a newer {path.stem.removeprefix('my_')}; yours is kept as {path.name}.",
            style="yellow",
        )
    return folder.relative_to(checkout).as_posix()


def _check_port(port: int) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise LabError(
                term("port {port} is in use or not allowed", port=port),
                term("choose another with --port, or leave it out"),
            ) from None
