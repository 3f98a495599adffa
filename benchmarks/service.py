"""A tracer service for the time of a benchmark, beside the user's own."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lablib.errors import LabError
from lablib.tracing import client
from lablib.tracing.control import start_service


@contextlib.contextmanager
def own_service() -> Iterator[None]:
    """Start a tracer service on a socket of its own, and stop it; raises `LabError`."""
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ["LAB_TRACER_SOCKET"] = str(Path(folder) / "tracer.sock")
        start_service()
        try:
            yield
        finally:
            with contextlib.suppress(LabError):
                client.stop_service()
