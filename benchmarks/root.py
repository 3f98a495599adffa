"""The benchmark's side of root_helper.py: start it as root, ask it."""

from __future__ import annotations

import json
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lablib.errors import TracerError
from lablib.privilege import root_prefix
from lablib.tracing.control import SYSTEM_PYTHON

_CHECKOUT = Path(__file__).resolve().parents[1]
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from benchmarks.root_helper import main; main()"
)


class RootHelper(AbstractContextManager["RootHelper"]):
    """root_helper.py as a running process; a context manager that ends it."""

    def __init__(self) -> None:
        """Start it and wait until it is ready; raises `LabError` without root or without bcc."""
        command = [SYSTEM_PYTHON, "-I", "-B", "-c", _BOOTSTRAP, str(_CHECKOUT)]
        self._process = subprocess.Popen(
            [*root_prefix("the benchmark"), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us, who then end it in order
        )
        try:
            self._read_answer()
        except BaseException:
            self._end()
            raise

    def __exit__(self, *_: object) -> None:
        """End it; it takes off whatever it has attached."""
        self._end()

    def ask(self, do: str, **arguments: int) -> dict[str, Any]:
        """Return its answer to one request, with the `seconds` that it took.

        Raises `TracerError` where it could not do it.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise TracerError("the benchmark's helper ended") from None
        return self._read_answer()

    def _read_answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise TracerError("the benchmark's helper ended", "what it said is above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise TracerError(answer["error"])
        return answer

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
