"""Other tools on the known workloads: valgrind's memcheck, heaptrack, and bcc's memleak.

Each is run as its manual says, and its answer is taken from what it writes itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import psutil

from benchmarks.pause import PAUSE, WAITING
from lablib.errors import LabError, ToolMissingError
from lablib.privilege import root_prefix
from lablib.release import RELEASE_SIGNAL, wait_until_held
from lablib.tracing import memleak
from lablib.tracing.control import SYSTEM_PYTHON

MEMLEAK_TIMEOUT_S = 120
MEMCHECK_TIMEOUT_S = 60
HEAPTRACK_TIMEOUT_S = 10  # it needs one second, or hangs

HOLD = "LAB_HOLD"
"""With this in its environment a known workload stays at its end until it is killed (hold.c)."""

_END_SIGNAL_BIT = 1 << 11  # SIGUSR2 in the masks of /proc/PID/status: held at its end
_CHECKOUT = str(Path(__file__).resolve().parents[1])

# What the tracer service puts where bcc looks, for a memleak that is started here.
_MOUNTS = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from lablib.tracing.kernel import enter_private_mounts
del sys.path[0]
enter_private_mounts()
"""
_SCRIPT = _MOUNTS + PAUSE + memleak.BOOTSTRAP

# In its combined mode memleak (bcc 0.26) ends in a mistake before it has printed a number.
_MISTAKE = '"\\n\\t\\t".join(trace.decode())'
_MENDED = 'b"\\n\\t\\t".join(trace).decode(errors="replace")'


class NoAnswerError(LabError):
    """The tool ran and gave no answer."""


@dataclass(frozen=True)
class ToolStack:
    """One stack of a tool's report; `blocks` is None where the tool does not say how many."""

    size_bytes: int
    blocks: int | None
    functions: tuple[str, ...]


@dataclass(frozen=True)
class ToolReport:
    """What a tool says is allocated and not freed."""

    stacks: tuple[ToolStack, ...]

    def sum_below(self, *functions: str) -> tuple[int, int | None]:
        """Return (bytes, blocks) of the stacks that have one of the functions in them, or of all.

        The blocks are None where the tool has not told them.
        """
        chosen = [
            s for s in self.stacks if not functions or not {*functions}.isdisjoint(s.functions)
        ]
        blocks = [s.blocks for s in chosen if s.blocks is not None]
        return sum(s.size_bytes for s in chosen), sum(blocks) if len(blocks) == len(
            chosen
        ) else None


def find_tool(*names: str) -> str:
    """Return the path of the first of these programs that is here; raises `ToolMissingError`."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise ToolMissingError("not installed")


def run_memcheck(
    program: Path, environment: Mapping[str, str], folder: Path, options: Sequence[str] = ()
) -> ToolReport:
    """Return what memcheck reports at the program's end: leaks of all kinds, reachable blocks too.

    The reports of the program's children are added to its own. Raises `NoAnswerError`.
    """
    command = [
        *(find_tool("valgrind"), "--quiet", "--leak-check=full", "--show-leak-kinds=all"),
        *("--undef-value-errors=no", "--error-limit=no", "--num-callers=40"),
        *("--xml=yes", f"--xml-file={folder}/memcheck.%p.xml", *options, str(program)),
    ]
    _run(command, environment, folder, MEMCHECK_TIMEOUT_S)
    try:
        documents = [ElementTree.parse(path) for path in folder.glob("memcheck.*.xml")]
    except ElementTree.ParseError:
        raise NoAnswerError("its report is cut off") from None
    if not documents:
        raise NoAnswerError("it wrote no report")
    return ToolReport(
        tuple(
            ToolStack(
                int(error.findtext("xwhat/leakedbytes", "0")),
                int(error.findtext("xwhat/leakedblocks", "0")),
                tuple(fn.text or "" for fn in error.findall("stack/frame/fn")),
            )
            for document in documents
            for error in document.iter("error")
            if error.findtext("kind", "").startswith("Leak_")
        )
    )


def run_heaptrack(program: Path, environment: Mapping[str, str], folder: Path) -> ToolReport:
    """Return what heaptrack has recorded as leaked: the bytes of each stack, it tells no more.

    Raises `NoAnswerError`.
    """
    command = [find_tool("heaptrack"), "-o", str(folder / "heaptrack"), str(program)]
    _run(command, environment, folder, HEAPTRACK_TIMEOUT_S)
    recordings = list(folder.glob("heaptrack.*"))
    if not recordings:
        raise NoAnswerError("it wrote no recording")
    stacks = folder / "stacks"
    command = [find_tool("heaptrack_print"), "-f", str(recordings[0]), "-F", str(stacks)]
    _run([*command, "--flamegraph-cost-type", "leaked"], os.environ, folder, HEAPTRACK_TIMEOUT_S)
    if not stacks.exists():
        raise NoAnswerError("its recording can't be read")
    found = []
    for line in stacks.read_text(errors="replace").splitlines():
        frames, _, size = line.rpartition(" ")
        outermost_first = [frame.strip().rsplit(" (", 1)[0] for frame in frames.split(";")]
        found.append(ToolStack(int(size), None, tuple(reversed(outermost_first))))
    return ToolReport(tuple(found))


def run_memleak(
    program: Path,
    environment: Mapping[str, str],
    folder: Path,
    options: Sequence[str] = (),
    debug_root: Path | None = None,
    is_launched: bool = False,
    is_held: bool = True,
) -> ToolReport:
    """Return what bcc's memleak reports once the program has done its work.

    It is attached while the program waits for its release. One that is launched does not wait: then
    memleak comes after its start-up, as early as it can. Unless `is_held` is false, the program
    is still there when memleak looks its symbols up. Raises `NoAnswerError`, or `LabError` without
    root.
    """
    process = subprocess.Popen(
        [program, *([] if is_launched else ["--wait"])],
        stdout=subprocess.DEVNULL,
        env={**environment, HOLD: "1"} if is_held else dict(environment),
    )
    try:
        if is_launched:
            _wait_for_end(process)
        else:
            wait_until_held(process.pid)
        with attach_memleak(process.pid, folder, options, debug_root) as tool:
            if not is_launched:
                process.send_signal(RELEASE_SIGNAL)
                _wait_for_end(process)
            return report_memleak(tool)
    finally:
        process.kill()
        process.wait()


def report_memleak(tool: subprocess.Popen[str]) -> ToolReport:
    """Have an attached memleak report now, and return what it says; raises `NoAnswerError`."""
    try:
        output, _ = tool.communicate("\n", timeout=MEMLEAK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"not done after {MEMLEAK_TIMEOUT_S} s") from None
    if "outstanding allocations:" not in output:
        raise _explain_end(output.splitlines())
    return ToolReport(
        tuple(
            ToolStack(s.live_bytes, s.live_blocks, tuple(f.split("+")[0] for f in s.frames))
            for s in memleak.parse_memleak("memleak", output).stacks
        )
    )


@contextlib.contextmanager
def attach_memleak(
    pid: int, folder: Path, options: Sequence[str] = (), debug_root: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start memleak as root; its probes are in when this returns."""
    tool = find_tool(*memleak.COMMAND_NAMES)
    if "--combined-only" in options:
        mended = folder / "memleak"
        mended.write_text(Path(tool).read_text().replace(_MISTAKE, _MENDED))
        tool = str(mended)
    process = subprocess.Popen(
        [
            *root_prefix("memleak"),
            *("env", f"BCC_DEBUGINFO_ROOT={debug_root or '/usr/lib/debug'}"),
            *(SYSTEM_PYTHON, "-I", "-B", "-c", _SCRIPT, _CHECKOUT, tool),
            *("-p", str(pid), "-o", "0", "-T", "1000000", *options, "3600", "1"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    try:
        said: list[str] = []
        for line in process.stdout:
            if line == WAITING:
                break
            said.append(line)
        else:
            raise _explain_end(said)
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError, ValueError):
            process.communicate(timeout=MEMLEAK_TIMEOUT_S)


def _explain_end(said: Sequence[str]) -> NoAnswerError:
    mistakes = [line.strip() for line in said if re.match(r"\w*(Exception|Error)\b", line)]
    return NoAnswerError(f"it ends with {mistakes[-1]!r}" if mistakes else "it ends without a word")


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    """Return once the program is held at its end, or has ended."""
    deadline = time.monotonic() + MEMLEAK_TIMEOUT_S
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = re.search(r"^SigCgt:\s+([0-9a-f]+)", status, re.MULTILINE)
        if caught and int(caught[1], 16) & _END_SIGNAL_BIT:
            return
        if time.monotonic() > deadline:
            raise NoAnswerError(f"the program is not done after {MEMLEAK_TIMEOUT_S} s")
        time.sleep(0.01)


def _run(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, timeout_s: float
) -> None:
    """Run a command to its end in a folder, whatever it says; one that hangs has no answer."""
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=nowhere, stderr=nowhere
    ) as process:
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # Its children only: then it ends by itself and removes what it has made.
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            raise NoAnswerError(f"not done after {timeout_s:.0f} s") from None
