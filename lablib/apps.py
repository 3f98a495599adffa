"""The leaky apps: build them, start one as a local process, release it and stop it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from lablib.errors import AppError, ToolMissingError
from lablib.language import term
from lablib.records import AppFiles
from lablib.release import RELEASE_SIGNAL, limit_app, wait_until_held
from lablib.truth import resolve_truth
from lablib.wording import os_reason

APPS_DIR = Path(__file__).resolve().parents[1] / "leaky_apps"
BUILD_DIR = APPS_DIR / "build"
DEBUG_DIR = BUILD_DIR / "debug"
"""The apps' debug files, by build-id: what a release keeps back when it ships stripped files."""


APP_FOLDERS = ("", "leaks", "lookalikes", "steered")
"""Where the sources lie, below `APPS_DIR`: the case study, what leaks, what only looks like it,
and what does as it is told."""

STAYING = "all terms are done; staying\n"
"""What an app with `--stay` says after its last term."""


def list_apps() -> list[str]:
    """Return the names of all apps, sorted."""
    return sorted(_find_sources())


def list_corpus() -> list[str]:
    """Return the names of the apps that work by themselves, term by term, sorted.

    They are what a verdict is tried on: for each it is known whether it leaks, where and how much.
    """
    return [name for name in list_apps() if not read_truth(name).get("is_steered")]


def find_source(name: str) -> Path:
    """Return the source file of an app; raises `AppError` for an unknown name."""
    sources = _find_sources()
    if name not in sources:
        raise AppError(
            term("there is no app called {name}", name=name),
            term("choose from: {choices}", choices=", ".join(list_apps())),
        )
    return sources[name]


def read_truth(name: str) -> dict[str, Any]:
    """Return the ground truth about an app as it is built; truth.py says what it has."""
    return resolve_truth(read_raw_truth(name), {}, {})


def read_raw_truth(name: str) -> dict[str, Any]:
    """Return the JSON file beside an app's source, whose numbers may be expressions."""
    raw: dict[str, Any] = json.loads(find_source(name).with_suffix(".json").read_text())
    return raw


def build_app(name: str, stripped: bool = False) -> AppFiles:
    """Compile an app if its source has changed, and return it.

    `stripped` gives the program as a release would ship it: without symbols, which lie in
    `DEBUG_DIR`. Raises `AppError` for an unknown name or a failed build, `ToolMissingError`
    without a compiler.
    """
    source = find_source(name)
    executable = BUILD_DIR / ("stripped" if stripped else "") / name
    app = AppFiles(name, executable, source, read_truth(name))
    run_make(app)
    return app


def run_make(app: AppFiles, *settings: str) -> None:
    """Have make bring a program up to date; `settings` are variables of the Makefile.

    Raises `ToolMissingError` without a compiler for that source, `AppError` for a failed build.
    """
    compiler = "g++" if app.source.suffix == ".cpp" else "gcc"
    for tool in ("make", compiler):
        if shutil.which(tool) is None:
            raise ToolMissingError(
                term("building the leaky apps needs {tool}", tool=tool),
                term("run: sudo apt-get install {compiler} libc6-dev make", compiler=compiler),
            )
    targets = [path.relative_to(APPS_DIR) for path in (app.executable, app.plugin) if path]
    with _build_lock(app.name):
        made = subprocess.run(
            ["make", "-s", "-C", APPS_DIR, *settings, *targets],
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode != 0:
        said = next((line for line in made.stderr.splitlines() if "error" in line.lower()), "")
        raise AppError(
            term(
                "building {name} failed: {said}",
                name=app.name,
                said=said or made.stderr.strip()[-200:],
            )
        )


def _find_sources() -> dict[str, Path]:
    """Return the source file of each app, by name."""
    return {
        path.stem: path
        for folder in APP_FOLDERS
        for path in (APPS_DIR / folder).iterdir()
        if path.suffix in (".c", ".cpp")
    }


@contextlib.contextmanager
def _build_lock(name: str) -> Iterator[None]:
    try:
        BUILD_DIR.mkdir(exist_ok=True)
        with (BUILD_DIR / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise AppError(
            term("can't write to {folder} ({reason})", folder=BUILD_DIR, reason=os_reason(error))
        ) from None


class Instrument(Protocol):
    """What an app is started with so that it can be traced without any privilege."""

    def settings(self) -> Mapping[str, str]:
        """Return the variables that its environment must have."""
        ...

    def close(self) -> None:
        """Let go of it, when the app has ended."""
        ...


class LocalApp(AbstractContextManager["LocalApp"]):
    """An app that runs as a process of this machine; a context manager that ends it.

    It has a memory cap that includes swap, a lifetime, a process group of its own, and dies with
    the one who started it.
    """

    runtime = "local"
    run_words: tuple[str, ...]
    """The command that starts it by hand, without its limits."""

    def __init__(
        self,
        app: AppFiles,
        rate: float,
        terms: int = 0,
        stays: bool = False,
        instrument: Instrument | None = None,
    ) -> None:
        """Start the app held before its first term; raises `AppError` if it does not come up.

        `stays` keeps it alive after its last term, so that what it holds then can be counted. The
        `instrument` that it is started with ends with it.
        """
        self.app = app
        self.instrument = instrument
        settings = instrument.settings() if instrument else {}
        options = ["--rate", f"{rate:g}", "--terms", str(terms), "--wait"]
        options += ["--stay"] if stays else []
        self.run_words = (str(app.executable), *options)
        self._output: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._process = subprocess.Popen(
            limit_app(app.executable, *options, settings=settings),
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

    def wait_for_terms(self, timeout_s: float, rounds: int = 1) -> None:
        """Return once an app that stays has done its terms; raise `AppError` if it does not.

        Released again it does as many once more: `rounds` says how often it has been released.
        """
        deadline_s = time.monotonic() + timeout_s
        while self.read_logs().count(STAYING) < rounds:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                said = self.read_logs()[-200:].strip()
                raise AppError(
                    term(
                        "{name} did not come to its last term; it said: {said}",
                        name=self.app.name,
                        said=said,
                    )
                )
            time.sleep(0.01)

    def read_logs(self) -> str:
        """Return what the app has printed so far."""
        # The app writes where this file's position is, so that must not be moved to read.
        descriptor = self._output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def read_source(self) -> str:
        """Return the app's C source."""
        return self.app.source.read_text()

    def close(self) -> None:
        """End the app if it runs, and forget its output."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._output.close()
        if self.instrument is not None:
            self.instrument.close()
