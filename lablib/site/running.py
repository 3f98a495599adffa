"""Run a notebook for the site, on recordings; what was run before and hasn't changed is kept."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode

from lablib.errors import LabError

TIMEOUT_S = 600
"""How long a cell may take, on a machine that is busy with something else."""

RAN = "lab_site"
"""The metadata of a notebook that was run here: its date, its kernel, and what it was run from."""


def run_for_site(path: Path, kept: Path, checkout: Path, language: str) -> NotebookNode:
    """Return a notebook with outputs, its metadata `RAN` saying when and where they were made.

    Its experiments are replayed from their recordings (LAB_SOURCE=recorded), and say so; what needs
    none is run on this machine. It is taken from the file `kept` if nothing that it comes from has
    changed since, and else run and written there. Raises `LabError` where a cell fails.
    """
    fingerprint = _take_fingerprint([path, *_list_what_it_runs(checkout)], language)
    if kept.exists():
        notebook: NotebookNode = nbformat.read(kept, as_version=4)
        if notebook.metadata[RAN]["fingerprint"] == fingerprint:
            return notebook
    notebook = nbformat.read(path, as_version=4)
    environment = {**os.environ, "LAB_SOURCE": "recorded", "LAB_LANG": language}
    client = NotebookClient(
        notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(checkout / "notebooks")}}
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        raise _make_refusal(path, f"{error.ename}: {error.evalue}") from None
    except CellTimeoutError:
        raise _make_refusal(path, f"a cell took longer than {TIMEOUT_S} s") from None
    notebook.metadata[RAN] = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "kernel": os.uname().release,
        "fingerprint": fingerprint,
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, kept)
    return notebook


def _make_refusal(path: Path, reason: str) -> LabError:
    return LabError(
        f"{path.name} could not be run: {reason}", "see it in ./lab, or build with --no-run"
    )


def _list_what_it_runs(checkout: Path) -> list[Path]:
    """Return the files that an output may depend on: the library, the programs, the recordings."""
    patterns = ("lablib/**/*.*", "leaky_apps/**/*.*", "notebooks/recordings/*.gz")
    found = {path for pattern in patterns for path in checkout.glob(pattern) if path.is_file()}
    return sorted(path for path in found if not {"build", "__pycache__"} & set(path.parts))


def _take_fingerprint(paths: Iterable[Path], language: str) -> str:
    digest = hashlib.sha256(language.encode())
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
