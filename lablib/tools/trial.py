"""One tool on one program: started within limits, watched, and ended; what is common to all tools.

A program under a tool is in a process group of its own, with a cap on its memory, a lifetime, and a
limit to what it may write. Whatever happens, the group is gone when `run_watched` returns.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from lablib import launcher
from lablib.errors import LabError, ToolMissingError
from lablib.language import term
from lablib.records import AppFiles
from lablib.release import LIFETIME_S, MEMORY_CAP_BYTES

TIME_LIMIT_S = 60.0
"""How long one tool may take with one program; a cell needs one to four seconds."""

MAX_OUTPUT_BYTES = 32 << 20
RAW_LETTERS = 12_000
UNLIMITED = -1
"""A memory cap for AddressSanitizer: its shadow is a reservation of terabytes."""

_INTERVAL_S = 0.003
_ENV = "/usr/bin/env"
_LOCALE = "LC_ALL=C.UTF-8"
"""Some tools print in the reader's language, numbers as well."""

_LAST_WORDS = 200


_TOO_MUCH = term("it wrote more than anybody reads")


class NoReportError(LabError):
    """The tool was run, and gave nothing that can be read."""


@dataclass(frozen=True)
class Trial:
    """What a tool is given: a program, how many terms it shall do, and a folder for its files.

    In one that `is_timed` the terms are done as fast as they go, also where a tool needs time.
    """

    app: AppFiles
    terms: int
    folder: Path
    is_timed: bool = False

    def command(self, terms: int | None = None, executable: Path | None = None) -> list[str]:
        """Return the words that run the program to its end, as fast as it goes."""
        count = str(self.terms if terms is None else terms)
        return [str(executable or self.app.executable), "--rate", "0", "--terms", count]


@dataclass(frozen=True)
class Watched:
    """How a command went: its exit code, what it wrote, and what it cost (see `ToolReport`)."""

    exit_code: int
    errors: str
    seconds: float
    work_seconds: float | None
    peak_rss_bytes: int | None


def find_tool(names: Sequence[str], package: str) -> str:
    """Return the path of the first of these programs that is installed.

    Raises `ToolMissingError`, with the package that has it.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise ToolMissingError(
        term("{program} is not installed", program=names[0]),
        term("run: {command}", command=f"sudo apt-get install {package}"),
    )


def run_watched(
    command: Sequence[str],
    program: Path,
    memory_bytes: int = MEMORY_CAP_BYTES,
    settings: Mapping[str, str] | None = None,
    time_limit_s: float = TIME_LIMIT_S,
) -> Watched:
    """Run a command to its end in a group of its own, and watch the `program` in it.

    The program's output goes to a file, which tells when it began its terms and when it was done.
    `settings` are added to the environment. Raises `NoReportError` where it takes too long or
    writes too much.
    """
    environment = [f"{name}={value}" for name, value in (settings or {}).items()]
    words = [
        *(sys.executable, "-I", "-S", "-B", launcher.__file__),
        *(str(memory_bytes), str(LIFETIME_S), str(os.getpid())),
        *(_ENV, _LOCALE, *environment, *command),
    ]
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        watch = _Watch(process.pid, str(program), output.fileno())
        try:
            while process.poll() is None:
                watch.look()
                if time.monotonic() - began_s > time_limit_s:
                    raise NoReportError(
                        term("it was not done after {seconds:.0f} s", seconds=time_limit_s)
                    )
                if watch.size_bytes > MAX_OUTPUT_BYTES:
                    raise NoReportError(_TOO_MUCH)
                time.sleep(_INTERVAL_S)
        finally:
            end_group(process)
        said = os.pread(errors.fileno(), MAX_OUTPUT_BYTES, 0).decode(errors="replace")
        seconds = time.monotonic() - began_s
        return Watched(
            process.returncode, said, seconds, watch.find_work_s(), watch.peak_rss_bytes or None
        )


def require_end(watched: Watched, tool: str) -> None:
    """Raise `NoReportError` unless a program under a tool came to its end."""
    code = watched.exit_code
    if code == 0:
        return
    how = term("{tool} ended with exit code {code}", tool=tool, code=code)
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        how = term("{tool} was ended by signal {number}", tool=tool, number=number)
    said = [line.strip() for line in watched.errors.splitlines() if line.strip()]
    if said:
        how = term("{how}, and said: {said}", how=how, said=said[-1][-_LAST_WORDS:])
    raise NoReportError(how)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, and all that is still in the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()
    process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # those whose leader has ended before them


def run_reader(command: Sequence[str], time_limit_s: float = TIME_LIMIT_S) -> str:
    """Return what a program says that only reads what a tool has written.

    Raises `NoReportError` where it fails.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            [_ENV, _LOCALE, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=time_limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoReportError(term("{program} was not done in time", program=name)) from None
    if len(done.stdout) > MAX_OUTPUT_BYTES:
        raise NoReportError(_TOO_MUCH)
    said = done.stdout.decode(errors="replace")
    if not said.strip():
        complaint = done.stderr.decode(errors="replace").strip()[-_LAST_WORDS:]
        raise NoReportError(
            term("{program} printed nothing: {complaint}", program=name, complaint=complaint or "-")
        )
    return said


def read_written(path: Path, what: str) -> str:
    """Return a file that a tool was to write; raises `NoReportError` where there is none."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_OUTPUT_BYTES + 1)
    except OSError:
        raise NoReportError(term("{tool} wrote no report", tool=what)) from None
    if len(text) > MAX_OUTPUT_BYTES:
        raise NoReportError(_TOO_MUCH)
    return text.decode(errors="replace")


def shorten(text: str, letters: int = RAW_LETTERS) -> str:
    """Return a text with its middle cut out where it is long, and a word that it was."""
    if len(text) <= letters:
        return text
    half = letters // 2
    return f"{text[:half]}\n... {len(text) - letters:,} characters left out ...\n{text[-half:]}"


def spell(command: Sequence[str], folder: Path) -> str:
    """Return a command as one would type it: tools and programs by their names."""
    names = [
        word.replace(f"{folder}/", "") if str(folder) in word else _last_part(word)
        for word in command
    ]
    return shlex.join(names)


def _last_part(word: str) -> str:
    return Path(word).name if word.startswith("/") else word


@dataclass
class _Watch:
    """Looks at a group while it runs: the program's peak, and when its output began."""

    pid: int
    program: str
    output: int
    peak_rss_bytes: int = 0
    size_bytes: int = 0
    _first_ns: int = 0

    def look(self) -> None:
        status = os.fstat(self.output)
        self.size_bytes = status.st_size
        if self.size_bytes and not self._first_ns:
            self._first_ns = time.time_ns()
        for pid in self._list_pids():
            if self._is_program(pid):
                self.peak_rss_bytes = max(self.peak_rss_bytes, read_peak(pid))

    def find_work_s(self) -> float | None:
        """From the first look that saw output to the last of it."""
        if not self._first_ns:
            return None
        return max(0.0, (os.fstat(self.output).st_mtime_ns - self._first_ns) / 1e9)

    def _list_pids(self) -> list[int]:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.pid).children(recursive=True)
            return [self.pid, *(child.pid for child in children)]
        return []

    def _is_program(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return self.program.encode() in words and launcher.__file__.encode() not in words


def read_peak(pid: int) -> int:
    """Return the most that a process has had resident, in bytes; 0 once it has gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def await_condition(is_met: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Return once a condition is met; raises `NoReportError` after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not is_met():
        if time.monotonic() > deadline_s:
            raise NoReportError(
                term("{what} did not happen within {seconds:.0f} s", what=what, seconds=timeout_s)
            )
        time.sleep(0.02)
