"""What a tool said of a program, and whether that is true."""

from __future__ import annotations

from dataclasses import dataclass

from lablib.records.frames import Frame

TOOL_OUTCOMES = ("found", "seen", "missed", "false alarm", "quiet", "can't run")
"""found: it names the function that leaks. seen: a total grows as it should, and nobody is named.
missed: the program leaks, and it says nothing of it. false alarm: it names a leak, or a total
grows, where nothing leaks. quiet: nothing leaks, and it says so. can't run: not on this machine."""


@dataclass(frozen=True)
class ToolFinding:
    """One entry of a tool's report: what was not given back, and who took it.

    `kind` is the tool's own word for it. `size_bytes` and `blocks` are None where it doesn't say.
    `frames` begin at the innermost function; a frame has as much as the tool prints, its offset is
    0 where it prints none. `is_complaint` is false for what the tool lists without calling it a
    leak.
    """

    kind: str
    size_bytes: int | None
    blocks: int | None
    frames: tuple[Frame, ...]
    is_complaint: bool = True


@dataclass(frozen=True)
class ToolTotal:
    """A number that a tool gives for the process as a whole, at two moments.

    Between them the program does its terms once more. `unit` is "bytes" or "files".
    """

    name: str
    before: int
    after: int
    unit: str = "bytes"

    @property
    def growth(self) -> int:
        """By how much it is larger at the second moment."""
        return self.after - self.before


@dataclass(frozen=True)
class ToolReport:
    """What a tool has said, parsed and raw (cut in the middle where it is long).

    `command` is what was run. `seconds` is all of it, from the start to the report; `work_seconds`
    is the time in which the program did its terms, None where nobody could see that;
    `peak_rss_bytes` is the program's own (VmHWM), with what the tool puts into it. `is_early` says
    that the tool had its last look before the program had done all terms.
    """

    command: str
    raw: str
    findings: tuple[ToolFinding, ...] = ()
    totals: tuple[ToolTotal, ...] = ()
    seconds: float = 0.0
    work_seconds: float | None = None
    peak_rss_bytes: int | None = None
    exit_code: int | None = None
    is_early: bool = False


@dataclass(frozen=True)
class ToolRun:
    """One tool on one program: a cell of the matrix.

    `outcome` is one of `TOOL_OUTCOMES`, and `sentence` says why. `reason` and `fix` are there where
    it can't run: why not, and what would mend it. `source` is "live" until it is replayed.
    """

    tool: str
    program: str
    terms: int
    outcome: str
    sentence: str
    report: ToolReport | None = None
    reason: str = ""
    fix: str = ""
    source: str = "live"


@dataclass(frozen=True)
class ToolMatrix:
    """All runs of a matrix; `plain` are those without any tool, for the costs.

    `seconds` is how long the whole took.
    """

    runs: tuple[ToolRun, ...]
    plain: tuple[ToolRun, ...]
    seconds: float
    source: str = "live"

    def find(self, tool: str, program: str) -> ToolRun:
        """Return the run of a tool on a program; raises `KeyError` if there is none."""
        for run in self.runs:
            if (run.tool, run.program) == (tool, program):
                return run
        raise KeyError(f"{tool} on {program}")
