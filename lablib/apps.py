"""The leaky apps: build them, start one as a local process, release it and stop it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from lablib.errors import AppError, ToolMissingError
from lablib.records import AppFiles
from lablib.release import RELEASE_SIGNAL, limit_app, wait_until_held

APPS_DIR = Path(__file__).resolve().parents[1] / "leaky_apps"
BUILD_DIR = APPS_DIR / "build"
DEBUG_DIR = BUILD_DIR / "debug"
"""The apps' debug files, by build-id: what a release keeps back when it ships stripped files."""


def list_apps() -> list[str]:
    """Return the names of all apps, sorted."""
    return sorted(path.stem for path in APPS_DIR.glob("*.c"))


def build_app(name: str, stripped: bool = False) -> AppFiles:
    """Compile an app if its source has changed, and return it.

    `stripped` gives the program as a release would ship it: without symbols, which lie in
    `DEBUG_DIR`. Raises `AppError` for an unknown name or a failed build, `ToolMissingError`
    without a compiler.
    """
    if name not in list_apps():
        raise AppError(f"there is no app called {name}", f"choose from: {', '.join(list_apps())}")
    for tool in ("make", "gcc"):
        if shutil.which(tool) is None:
            raise ToolMissingError(
                f"building the leaky apps needs {tool}",
                "run: sudo apt-get install gcc libc6-dev make",
            )
    executable = BUILD_DIR / ("stripped" if stripped else "") / name
    with _build_lock():
        made = subprocess.run(
            ["make", "-s", "-C", str(APPS_DIR), str(executable.relative_to(APPS_DIR))],
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode != 0:
        said = next((line for line in made.stderr.splitlines() if "error" in line.lower()), "")
        raise AppError(f"building {name} failed: {said or made.stderr.strip()[-200:]}")
    source = APPS_DIR / f"{name}.c"
    return AppFiles(name, executable, source, json.loads(source.with_suffix(".json").read_text()))


@contextlib.contextmanager
def _build_lock() -> Iterator[None]:
    try:
        BUILD_DIR.mkdir(exist_ok=True)
        with (BUILD_DIR / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise AppError(f"can't write to {BUILD_DIR} ({error.strerror})") from None


class LocalApp(AbstractContextManager["LocalApp"]):
    """An app that runs as a process of this machine; a context manager that ends it.

    It has a memory cap that includes swap, a lifetime, a process group of its own, and dies with
    the one who started it.
    """

    runtime = "local"
    run_words: tuple[str, ...]
    """The command that starts it by hand, without its limits."""

    def __init__(self, app: AppFiles, rate: float, terms: int = 0) -> None:
        """Start the app held before its first term; raises `AppError` if it does not come up."""
        self.app = app
        options = ("--rate", f"{rate:g}", "--terms", str(terms), "--wait")
        self.run_words = (str(app.executable), *options)
        self._output: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._process = subprocess.Popen(
            limit_app(app.executable, *options),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid
        try:
            wait_until_held(self.pid)
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        """End the app."""
        self.close()

    def release(self) -> None:
        """Let the app begin."""
        self._process.send_signal(RELEASE_SIGNAL)

    def pause(self) -> None:
        """Stop the app where it is: it stays as it is."""
        self._process.send_signal(signal.SIGSTOP)

    def wait(self, timeout_s: float) -> int:
        """Return the exit code once the app ends by itself; `subprocess.TimeoutExpired` if not."""
        return self._process.wait(timeout_s)

    def read_logs(self) -> str:
        """Return what the app has printed so far."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def read_source(self) -> str:
        """Return the app's C source."""
        return self.app.source.read_text()

    def close(self) -> None:
        """End the app if it runs, and forget its output."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._output.close()
