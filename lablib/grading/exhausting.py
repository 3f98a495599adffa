"""A program under its limit of memory, run until the kernel kills it or until it has done its work.

The limit is that of a memory cgroup of the tracer service (tracing/groups.py). The program is put
into it while it waits at the sandbox's gate, and nothing else is in it, so nothing else is killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lablib.errors import GradingError
from lablib.grading.limits import Limits
from lablib.grading.measuring import read_peak
from lablib.grading.sandbox import Sandboxed
from lablib.language import term
from lablib.tracing.groups import CappedGroup


@dataclass(frozen=True)
class Exhaustion:
    """How a program fared: whether the OOM killer ended it, after how many terms.

    `terms` are the lines that it had printed, `peak_rss_bytes` its largest resident set (VmHWM of
    /proc/PID/status), None where it was killed.
    """

    is_killed: bool
    terms: int
    peak_rss_bytes: int | None


def exhaust(
    folder: Path,
    command: Sequence[str],
    group: CappedGroup | None,
    limit_bytes: int,
    limits: Limits,
) -> Exhaustion:
    """Run a program that prints a line a term, with so much memory and no swap, and look on.

    `group` is that of the runs before, which have ended: it has this limit for a while. None has a
    new one made. The program runs as fast as it goes: terms are counted, not seconds, so the answer
    is the same on a busy machine. Raises `GradingError` where it ended in another way, and
    `TracerError`, `ToolMissingError` or `PrivilegeError` where no group can be had.
    """
    with (
        _limit(group, limit_bytes) as limited,
        Sandboxed(folder, command, limits, limited) as program,
    ):
        limited.take(program.pid)  # a refusal is an error here: without the limit it proves nothing
        kills = limited.read().oom_kills
        program.hold()
        peak_rss_bytes = read_peak(program.pid, "VmHWM") if program.run_to_exit() else None
        program.release()
        run = program.finish()
        is_killed = limited.read().oom_kills > kills
    if not is_killed and (run.exit_code != 0 or run.ended_by != "itself"):
        raise GradingError(
            term(
                "the program as handed out was neither killed nor did it end well under its limit "
                "(exit code {code}, ended by {ended_by})",
                code=run.exit_code,
                ended_by=run.ended_by,
            )
        )
    return Exhaustion(is_killed, run.output.count("\n"), None if is_killed else peak_rss_bytes)


@contextmanager
def _limit(group: CappedGroup | None, limit_bytes: int) -> Iterator[CappedGroup]:
    if group is None:
        with CappedGroup(limit_bytes) as made:
            yield made
        return
    former_bytes = group.limit_bytes
    group.set_limit(limit_bytes)
    try:
        yield group
    finally:
        group.set_limit(former_bytes)
