"""Experiments in a capped group, shown while they run; recorded ones where the machine can't.

run = run_capped("08_reclaim", [("eater", "grow", 32), ("wait", 2)], limit_mib=64)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from lablib.capped import MIB, CappedExperiment
from lablib.errors import LabError
from lablib.language import say, term
from lablib.panels import AppControls, Button, GroupPanel, Slider
from lablib.records import CappedRun, GroupEnd, GroupStep
from lablib.teaching.experiments import RECORDINGS_DIR, run_or_replay
from lablib.teaching.tables import show_table
from lablib.tracing.control import start_service
from lablib.wording import format_size

PANEL_TIMEOUT_S = 30.0
_TITLE = term("What the group holds, and its limit")
_CONTROLS = (
    Slider(term("limit"), "limit", 16, 128, 64, 8, "MiB"),
    Slider(term("rate"), "grow", 0, 32, 0, 2, "MiB / s"),
    Button(term("touch all of it"), "touch", (100,)),
    Button(term("free all of it"), "release"),
)

Step = tuple[str | float, ...]
"""What `CappedExperiment.take_step` takes."""


def run_capped(
    name: str,
    steps: Sequence[Step],
    *,
    limit_mib: int,
    swap_mib: int = 0,
    apps: Sequence[str] = ("eater",),
    title: str = _TITLE,
    folder: Path = RECORDINGS_DIR,
) -> CappedRun:
    """Have eaters take steps in a group with these limits, shown in a panel; return what was seen.

    The panel leaves a picture in which the steps have numbers, and a line of text names each. Where
    the machine can't, the panel shows the recording `folder`/`name`.json.gz, as `run_or_replay`
    says.
    """

    def run() -> CappedRun:
        start_service()
        with CappedExperiment(limit_mib * MIB, swap_mib * MIB, apps) as experiment:
            panel = GroupPanel(experiment.follow, title, steps=experiment.steps)
            panel.show()
            for step in steps:
                experiment.take_step(*step)
            seen = experiment.stop()
        panel.wait(PANEL_TIMEOUT_S)
        return seen

    seen = run_or_replay(name, run, folder)
    if seen.source != "live":
        panel = GroupPanel(seen.samples, title, recorded_on=_word_day(seen), steps=seen.steps)
        panel.show()
        panel.wait(PANEL_TIMEOUT_S)
    print("\n".join(word_events(seen)))
    return seen


def word_events(run: CappedRun) -> list[str]:
    """Return a line for each step, with its number in the picture, and for each end, by time."""
    events = [
        (step.elapsed_s, f"{number:>2} {word_step(step)}")
        for number, step in enumerate(run.steps, start=1)
    ]
    events += [(end.elapsed_s, f"   {word_end(end, run.victims)}") for end in run.ends]
    return [f"{elapsed_s:5.1f} s {words}" for elapsed_s, words in sorted(events)]


def word_end(end: GroupEnd, victims: Sequence[str]) -> str:
    """Return in words how a process ended; of several victims, as which of them it was chosen."""
    how = f": {end.signal}" if end.signal else ""
    is_one_of_several = len(victims) > 1 and end.name in victims
    number = victims.index(end.name) + 1 if is_one_of_several else 0
    chosen = say(", victim number {number}", number=number) if number else ""
    return say("{name} has ended{how}{chosen}", name=end.name, how=how, chosen=chosen)


def word_step(step: GroupStep) -> str:
    """Return a step in words: its command, and the sizes and times that were answered."""
    words: dict[str, Callable[[int], str]] = {
        "bytes": lambda value: say(format_size(value)),
        "microseconds": lambda value: f"{value / 1000:,.1f} ms",
        "major_faults": lambda value: say("{faults} major faults", faults=f"{value:,}"),
        "checksum": lambda value: say("checksum {checksum}", checksum=value),
    }
    said = [word(step.answer[name]) for name, word in words.items() if name in step.answer]
    return step.command + (f": {', '.join(said)}" if said else "")


def show_badness(run: CappedRun) -> None:
    """Show a table of the group's processes as the OOM killer compares them, in MiB.

    As they were in the last sample before the first of them ended. `oom_score` is the kernel's own
    number in /proc, which measures by the whole machine.
    """
    sample = run.sample_before_end()
    columns = (
        term("process"),
        term("resident"),
        term("in swap"),
        term("page tables"),
        "oom_score_adj",
        term("badness"),
        "oom_score",
    )
    rows = [
        (
            member.name,
            *(_word_mib(size) for size in (member.rss_bytes, member.swap_bytes)),
            _word_mib(member.page_table_bytes),
            str(member.score_adj),
            _word_mib(member.weigh(sample.allowed_bytes or 0)),
            str(member.score),
        )
        for member in sample.members
    ]
    show_table(term("Badness just before the end, sizes in MiB"), columns, rows)


def _word_mib(size_bytes: int | None) -> str:
    return term("never chosen") if size_bytes is None else f"{size_bytes / MIB:.1f}"


def _word_day(run: CappedRun) -> str:
    return run.source.removeprefix("recorded: ")


def steer_group(
    name: str,
    steps: Sequence[Step],
    *,
    limit_mib: int,
    swap_mib: int,
    title: str = _TITLE,
    folder: Path = RECORDINGS_DIR,
) -> SteeredGroup:
    """Show a group and controls for its limit and its eater, and return it when `steps` are taken.

    It runs on until it is stopped. Where the machine can't, the panel shows the recording
    `folder`/`name`.json.gz, and the controls say that there is nothing to steer.
    """
    shown: list[SteeredGroup] = []

    def run() -> CappedRun:
        start_service()
        experiment = CappedExperiment(limit_mib * MIB, swap_mib * MIB)
        panel = GroupPanel(experiment.follow, title, steps=experiment.steps)
        shown.append(SteeredGroup(panel, experiment))
        try:
            shown[0].show()
            for step in steps:
                experiment.take_step(*step)
        except BaseException:
            shown[0].stop()
            raise
        return experiment.read()

    seen = run_or_replay(name, run, folder)
    if not shown:
        panel = GroupPanel(seen.samples, title, recorded_on=_word_day(seen), steps=seen.steps)
        shown.append(SteeredGroup(panel))
        shown[0].show()
        panel.wait(PANEL_TIMEOUT_S)
    return shown[0]


class SteeredGroup(AbstractContextManager["SteeredGroup"]):
    """A panel with a group and the controls below it; a context manager that ends both."""

    def __init__(self, panel: GroupPanel, experiment: CappedExperiment | None = None) -> None:
        """Take what was started; without an experiment the panel shows a recording."""
        self._panel = panel
        self._experiment = experiment

    def __exit__(self, *_: object) -> None:
        """End the group, and leave the picture."""
        self.stop()

    def show(self) -> None:
        """Display the panel and the controls in the cell that runs."""
        self._panel.show()
        AppControls(self, _CONTROLS).show()

    def ask(self, command: str, *values: int | str) -> dict[str, int]:
        """Do what a control says; raises `LabError`, also where this is a recording."""
        if self._experiment is None:
            raise LabError(
                term("this is a recording: there is no program to steer"),
                term("see what is missing here with: ./lab doctor"),
            )
        return self._experiment.ask(command, *values)

    def stop(self) -> None:
        """End the group with what is in it, and leave the picture; safe more than once."""
        if self._experiment is None:
            self._panel.stop()
        else:
            self._experiment.close()
            self._panel.wait(PANEL_TIMEOUT_S)
