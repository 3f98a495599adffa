"""An app that takes commands while it runs: start one, ask it for something, read its answer."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

from lablib.errors import AppError
from lablib.language import term
from lablib.records import AppFiles
from lablib.release import limit_app

TIMEOUT_S = 20.0
"""How long an app may take for an answer."""

_SHARED_MEMORY = Path("/dev/shm")
_SEGMENT_PREFIX = f"memory-leak-lab-{os.getuid()}-"


def list_segments() -> list[Path]:
    """Return this user's shared memory segments that the lab's apps made, as files, sorted."""
    return sorted(_SHARED_MEMORY.glob(f"{_SEGMENT_PREFIX}*"))


def segment_path(name: str) -> Path:
    """Return where the segment is that `sharing` makes for `shm_create NAME`."""
    return _SHARED_MEMORY / f"{_SEGMENT_PREFIX}{name}"


class GuardedSegment(AbstractContextManager["GuardedSegment"]):
    """A name for a shared memory segment that is gone when this process is, however it ends.

    `name` is for `shm_create`, and no other process's; `path` is where the segment's file will be.
    Whoever makes a segment that outlives its process needs somebody who outlives both: a shell that
    waits for the end of its input, which comes even when this process is killed.
    """

    def __init__(self, word: str) -> None:
        """Guard the segment whose name begins with `word`, before it is made."""
        self.name = f"{word}_{os.getpid()}"
        self.path = segment_path(self.name)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; rm -f -- "$1"', "sh", str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what interrupts a notebook's kernel is not meant for it
        )

    def __exit__(self, *_: object) -> None:
        """Remove the segment, if it is there."""
        self.close()

    def close(self) -> None:
        """Remove the segment, if it is there; safe more than once."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()


class SteeredApp(AbstractContextManager["SteeredApp"]):
    """An app of this machine that does what it is told; a context manager that ends it.

    Several threads may ask it: they take turns. It has the limits of every app, and is killed when
    the thread that made it ends: in a notebook that is the kernel's main thread.
    """

    def __init__(self, app: AppFiles, timeout_s: float = TIMEOUT_S) -> None:
        """Start the app and return once it waits for commands; raises `AppError` if it doesn't.

        `timeout_s` is how long each answer may take.
        """
        self.app = app
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._pending = b""
        self._is_closed = False
        self._process = subprocess.Popen(
            limit_app(app.executable),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self.pid = self._process.pid
        try:
            _parse_answer(self._read_line("start"), app.name, "start")
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        """End the app."""
        self.close()

    @property
    def is_running(self) -> bool:
        """Whether the app lives and can be asked."""
        return not self._is_closed and self._process.poll() is None

    @property
    def ended_by(self) -> str:
        """The name of the signal that has killed the app, "" while it runs or if none has."""
        code = self._process.poll()
        return signal.Signals(-code).name if code is not None and code < 0 else ""

    def ask(self, command: str, *values: int | str) -> dict[str, int]:
        """Have the app do a command, and return its answer: numbers (addresses too) by name.

        Raises `AppError` with the app's own words if it refuses, and with a sentence if it has
        ended or does not answer in time; then it is ended, because a late answer would be taken
        for that of another question.
        """
        with self._turn:
            self._write_line(command, values)
            return _parse_answer(self._read_line(command), self.app.name, command)

    def ask_fatal(self, command: str, *values: int | str) -> str:
        """Have the app do what kills it, and return the name of the signal, like "SIGSEGV".

        Raises `AppError` if it refuses or survives.
        """
        with self._turn:
            self._write_line(command, values)
            answer = self._read_line(command, may_end=True)
            if answer is not None:
                said = _parse_answer(answer, self.app.name, command)
                raise AppError(
                    term(
                        "{name} survived {command} and answered {said}",
                        name=self.app.name,
                        command=command,
                        said=said,
                    )
                )
            code = self._process.wait(self._timeout_s)
            if code >= 0:
                raise AppError(
                    term(
                        "{name} was not killed by {command}: it exited ({code})",
                        name=self.app.name,
                        command=command,
                        code=code,
                    )
                )
            return signal.Signals(-code).name

    def close(self) -> None:
        """End the app if it runs, also while a thread still waits for an answer."""
        self._is_closed = True
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with self._turn:  # whoever waited for an answer has been told by now
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()

    def _write_line(self, command: str, values: tuple[int | str, ...]) -> None:
        words = [command, *map(str, values)]
        if any(word.split() != [word] or not word.isprintable() for word in words):
            raise AppError(term("each part of a command is one word: {words}", words=words))
        if self._is_closed:
            raise AppError(
                term("{name} has been closed", name=self.app.name), term("start it again")
            )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{' '.join(words)}\n".encode())
        except OSError:
            raise AppError(self._describe_end(), term("start it again")) from None

    def _read_line(self, command: str, may_end: bool = False) -> str | None:
        """Return the next line, or None where the app has ended and `may_end`."""
        assert self._process.stdout is not None
        deadline_s = time.monotonic() + self._timeout_s
        while b"\n" not in self._pending:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([self._process.stdout], [], [], left_s)[0]:
                self._process.kill()
                waited = f"{self._timeout_s:g} s"
                raise AppError(
                    term(
                        "{name} did not answer {command} within {waited}; ended",
                        name=self.app.name,
                        command=command,
                        waited=waited,
                    )
                )
            chunk = os.read(self._process.stdout.fileno(), 1 << 12)
            if not chunk and may_end:
                return None
            if not chunk:
                raise AppError(self._describe_end(), term("start it again"))
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode(errors="replace")

    def _describe_end(self) -> str:
        try:
            code = self._process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            return term(
                "{name} (process {pid}) no longer takes commands", name=self.app.name, pid=self.pid
            )
        if code < 0:
            how = term("killed by {signal}", signal=signal.Signals(-code).name)
        else:
            how = term("exit code {code}", code=code)
        return term(
            "{name} (process {pid}) has ended: {how}", name=self.app.name, pid=self.pid, how=how
        )


def _parse_answer(line: str | None, name: str, command: str) -> dict[str, int]:
    """Return the numbers of "ok NAME VALUE NAME VALUE"; raise `AppError` for anything else."""
    verdict, _, rest = (line or "").partition(" ")
    if verdict == "error":
        raise AppError(
            term("{name} refused {command}: {rest}", name=name, command=command, rest=rest)
        )
    words = rest.split()
    if verdict != "ok":
        raise AppError(term("{name} said: {line}", name=name, line=line))
    return {key: int(value, 0) for key, value in zip(words[::2], words[1::2], strict=True)}
