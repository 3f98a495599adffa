"""Present a notebook: make its deck, start what takes long, and open it in JupyterLab."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat

from lablib.apps import build_app
from lablib.containers import build_image
from lablib.errors import LabError
from lablib.jupyter.server import start_notebook_server
from lablib.language import LOCALES, reader_locale, say
from lablib.presenter.deck import KEYS, make_deck
from lablib.presenter.notes import read_notes
from lablib.privilege import ask_for_root
from lablib.report import make_console
from lablib.scratch import make_scratch_folder
from lablib.site.editions import make_editions
from lablib.site.running import run_for_site
from lablib.study import choose_runtime
from lablib.tracing.control import start_service

EXTENSIONS_DIR = Path(__file__).with_name("extensions")
NUMBERS = ("01", "09")
"""The notebooks that have slides."""

_APPS = ("segments", "fib_leak", "fib_fixed")


def present(checkout: Path, numbers: Sequence[str], port: int | None = None) -> int:
    """Open the decks of these notebooks until Ctrl-C; return JupyterLab's exit code.

    What takes long is done before: programs and images are built, the tracer is started, and the
    recordings are there. Raises `LabError` where a deck can't be made or JupyterLab doesn't start.
    """
    console = make_console(is_json=False)
    ask_for_root("the tracer service and Docker's engine")
    root = checkout / ".lab" / "present"
    with console.status("") as status:
        for sentence in warm_up(status.update):
            console.print(sentence, style="yellow")
        for number in numbers:
            status.update(f"the slides of {number}, with their recording ...")
            write_deck(checkout, number, root / "notebooks")
    has_screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    try:
        with contextlib.ExitStack() as running:
            with console.status("starting JupyterLab ..."):
                server = running.enter_context(
                    start_notebook_server(
                        root,
                        checkout / ".lab" / "present.log",
                        port,
                        has_screen,
                        extensions=EXTENSIONS_DIR,
                    )
                )
            for number in numbers:
                (name,) = (path.name for path in (root / "notebooks").glob(f"{number}_*.ipynb"))
                console.print(f"\n    {server.address(name)}", soft_wrap=True)
            console.print(f"\n{say(KEYS)} {say('Ctrl-C here ends it.')}", soft_wrap=True)
            return server.process.wait()
    except KeyboardInterrupt:
        return 0


def write_deck(checkout: Path, number: str, folder: Path) -> Path:
    """Write the deck of a notebook, given by its number, to `folder`, and return its path.

    It is in the reader's language (LAB_LANG), as the site has the notebook.

    The notebook is run on its recordings first, unless that was done before: this is what a slide
    falls back to. A hand-out for learners has no notes for its slides.
    """
    with make_scratch_folder("slides") as made:
        editions = make_editions(checkout, made)
        (edition,) = (one for one in editions if LOCALES[one.code] == reader_locale())
        (source,) = edition.notebooks.glob(f"{number}_*.ipynb")
        kept = checkout / ".lab" / "site" / edition.code / source.name
        recorded = run_for_site(source, kept, checkout, edition.code)
        notebook = nbformat.read(source, as_version=4)
    page = checkout / "instructor" / "presenting.md"
    notes = read_notes(page.read_text(), number) if page.exists() else {}
    deck = make_deck(notebook, recorded, notes, edition.tag)
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(deck, folder / source.name)
    return folder / source.name


def warm_up(tell: Callable[[str], None]) -> list[str]:
    """Build and start what the slides need; return a sentence for each thing that can't be had."""
    missing = []
    tell("building the programs ...")
    apps = [build_app(name) for name in _APPS]
    tell("starting the tracer ...")
    try:
        start_service()
    except LabError as error:
        missing.append(f"Without the tracer: {error}")
    tell("building the image ...")
    runtime = choose_runtime()
    if runtime.engine is None:
        missing.append(f"Without Docker: {runtime.reason}")
    else:
        for app in apps[1:]:
            build_image(runtime.engine, app, f"{app.name}:latest")
    return missing
