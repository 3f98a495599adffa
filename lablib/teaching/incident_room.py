"""The incident room in its notebook: what the room knows, shown, and what the learner does in it.

    room = open_room()

What stands in for eBPF where that can't be had is the program's own account (preload). Where
LAB_SOURCE asks for recordings the incident is one of those that they were made of, and it says so.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from IPython.display import display

from lablib.editing import read_function
from lablib.errors import AppError, GradingError, LabError, TracerError
from lablib.figures import show_figure
from lablib.grading.labs import NEVER
from lablib.incident_room import IncidentRoom, open_incident
from lablib.incident_room.exhibits import tabulate_sites
from lablib.incident_room.incidents import LEARNER, find_current
from lablib.incident_room.page import render_parts
from lablib.incident_room.postmortem import compose
from lablib.incident_room.rehearsal import ROUNDS, TERMS
from lablib.incident_room.timeline import word_clock
from lablib.language import say, tell, term
from lablib.panels import FixEditor, ServicePanel, StacksPanel
from lablib.panels.sources import Source
from lablib.plots import plot_rehearsal
from lablib.records import (
    AppFiles,
    Comparison,
    HeapSnapshot,
    HeapTrace,
    Rehearsal,
    ServiceSample,
)
from lablib.resources import read_rss_bytes
from lablib.study import Runtime
from lablib.teaching.experiments import (
    COUNTED_FROM_INSIDE,
    keep_recording,
    run_or_replay,
    try_or_replay,
)
from lablib.teaching.lab_questions import QuestionForm
from lablib.teaching.lab_reports import Progress, judge_outside, render_report
from lablib.teaching.labs import show_source
from lablib.teaching.tables import show_comparison, show_table
from lablib.wording import format_size

RECORDED_KEY = "the incident that was recorded"
RECORDED_STUDENTS = tuple(f"workbook {number}" for number in (1, 2, 3, 5, 8, 9, 11, 18, 21, 24))
"""What the incidents of the recordings are drawn with: one of each family of programs."""

_LOOKED = {
    "resident": term("resident"),
    "anonymous": term("anonymous"),
    "address space": term("address space"),
    "charged": term("charged"),
    "cap": term("cap"),
    "mappings": term("mappings"),
    "threads": term("threads"),
    "open files": term("open files"),
    "terms": term("terms done"),
    "up": term("up"),
}
"""What a reader is told that `RoomBench.look` has looked at."""


def open_room(
    key: str = "",
    student: str = LEARNER,
    speed: float = 1.0,
    new: bool = False,
    runtime: Runtime | None = None,
) -> RoomBench:
    """Return the incident that is under way, or a new one, whose clock starts now.

    With a `key` of 16 letters or more it is the one that is drawn with it for `student`: who gives
    the same two has the same program. `new` leaves the one that is under way, and draws another.
    `speed` times its rate its service runs faster. Raises `GradingError`.
    """
    saves = os.environ.get("LAB_SAVE_RECORDINGS") == "1"
    if not key and (saves or os.environ.get("LAB_SOURCE") == "recorded"):
        key, student = RECORDED_KEY, _choose_recorded(new)
        print(
            say(
                "This is one of the {count} incidents that there are recordings of: who uses them "
                "has one of these.",
                count=len(RECORDED_STUDENTS),
            )
        )
    return RoomBench(IncidentRoom(open_incident(key, student, new), runtime, speed))


def _choose_recorded(new: bool) -> str:
    """Return whose incident it is: the recorded one that is under way, or any other one."""
    current = find_current()
    is_recorded = current is not None and current.has_key(RECORDED_KEY)
    under_way = current.student if current is not None and is_recorded else ""
    if under_way and not new:
        return under_way
    return secrets.choice([each for each in RECORDED_STUDENTS if each != under_way])


class RoomBench:
    """A learner's work in the incident `room`; what the methods show, they also keep there."""

    def __init__(self, room: IncidentRoom) -> None:
        self.room = room
        self._panel: ServicePanel | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether it is an incident of which there are recordings."""
        incident = self.room.incident
        return incident.has_key(RECORDED_KEY) and incident.student in RECORDED_STUDENTS

    def _name_recording(self, what: str) -> str:
        return f"11_{what}_{self.room.incident.student.removeprefix('workbook ')}"

    def show_page(self) -> None:
        """Display the pager's message, how the program is run, and what the clock says."""
        terms, entries = self.room.terms, self.room.timeline.entries
        print(say("PAGE  {pager}", pager=say(self.room.lab.pager)))
        print(
            say(
                "It is run at {rate:g} terms a second, with {limit} of memory and no swap.",
                rate=terms.rate,
                limit=format_size(terms.limit_bytes),
            )
        )
        clock = word_clock(self.room.incident.elapsed_s())
        print(say("The clock since the page: {clock}.", clock=clock))
        print(say("What you do is kept in {folder}.", folder=self.room.incident.folder))
        if len(entries) > 1:
            print(
                say(
                    "The timeline has {count} entries already: you go on where you were.",
                    count=len(entries),
                )
            )

    def show_program(self) -> None:
        """Display the program as it is in its file, with line numbers, and a link that opens it."""
        path = self.room.incident.source_file
        show_source(path, os.path.relpath(path))

    def start_service(self) -> None:
        """Put the program that is in the file into service, and say where it runs."""
        service = self.room.start_service()
        print(say(service.cap))
        if service.tracer is None:
            print(say("Nothing counts its heap here ({reason}).", reason=service.untraced))
        elif service.tracer.trace.source == "preload":
            print(say(COUNTED_FROM_INSIDE))

    def show_clock(self) -> None:
        """Display the service against its cap, live: the clock since the page runs above it."""
        self._end_clock()
        self._panel = ServicePanel(self._read_sample, self.room.terms.limit_bytes)
        self._panel.show()

    def _read_sample(self) -> ServiceSample:
        service = self.room.service
        elapsed_s = self.room.incident.elapsed_s()
        if service is None or service.end is not None:
            return ServiceSample(elapsed_s, 0.0, 0, None)
        rss_bytes = read_rss_bytes(service.pid) or 0
        return ServiceSample(elapsed_s, service.up_s, rss_bytes, None)

    def note(self, text: str) -> None:
        """Keep a note in the timeline."""
        entry = self.room.note(text)
        print(f"{word_clock(entry.elapsed_s)}  {entry.text}")

    def run(self, command: str) -> None:
        """Run a command of a shell, {pid} and {container} filled in, and print what it says."""
        print(self.room.run(command), end="")

    def look(self) -> dict[str, int | float]:
        """Display what the kernel counts of the service now, and return it."""
        seen = self.room.look()
        rows = [(_LOOKED.get(name, name), _word(name, value)) for name, value in seen.items()]
        columns = (term("what"), term("now"))
        show_table(term("The service, by the kernel's account"), columns, rows)
        return seen

    def trace(self, seconds: float = 6) -> None:
        """Follow the heap of the service for so long, live, and print the verdict.

        Where nothing counts it, it is the recording, if that is of this incident; else
        `GradingError` is raised.
        """
        self.room.notice()
        name = self._name_recording("trace")
        found = try_or_replay(name, self._find_heap)[0] if self.is_recorded else None
        if found is None:
            self._find_heap()
        source: Source[HeapSnapshot]
        source = found.snapshots if found else lambda: self.room.follow_heap(seconds)
        panel = StacksPanel(source, term("The service: live bytes by call stack"))
        panel.show()
        panel.wait()
        if found is not None:
            verdict = self.room.judge(found)
        else:
            trace, verdict = self.room.judge_heap()
            if self.is_recorded:
                keep_recording(name, trace)
        print(say(verdict.sentence))

    def _find_heap(self) -> HeapTrace | None:
        """Return None where the service's heap is counted; raises `LabError` where not."""
        service = self.room.service
        if service is None:
            raise GradingError(
                term("the service does not run"), term("start it: room.start_service()")
            )
        if service.tracer is None and not self.is_recorded:
            raise GradingError(
                term(
                    "nothing counts the heap of the service here ({untraced})",
                    untraced=service.untraced,
                ),
                term("use room.look(), room.rehearse(), and what /proc tells"),
            )
        if service.tracer is None:
            raise TracerError(service.untraced)
        return None

    def rehearse(self, terms: int = TERMS, rounds: int = ROUNDS) -> Rehearsal:
        """Run the program ahead of time, and display what it held after so many terms."""

        name = self._name_recording("rehearsal")

        def measure(run: Callable[[], Rehearsal]) -> Rehearsal:
            return run_or_replay(name, run) if self.is_recorded else run()

        seen = self.room.rehearse(terms, rounds, measure)
        show_table(term("Who takes memory"), *tabulate_sites(seen))
        show_figure(*plot_rehearsal(seen, self.room.terms.limit_bytes))
        if seen.ended_early:
            print(say("It ended before its last round: {why}", why=seen.ended_early))
        return seen

    def show_questions(self) -> None:
        """Display the lab's questions; the answers go to answers.json, and into the timeline."""
        QuestionForm(self.room.lab, self.room.incident.folder).show()

    def edit(self, function: str = "") -> None:
        """Display a function to be edited, and a button that builds it and compares.

        Without a name it is the one that you have answered with. What the button has built stands
        in the program's file from then on.
        """
        self.room.notice()
        name = function or str(self.room.incident.read_answers().get("function") or "").strip()
        if not name:
            print(
                say(
                    "Name the function first: in the questions above, or here, as in "
                    "room.edit(NAME)."
                )
            )
            return
        try:
            text = read_function(self.room.incident.read_source(), name)
        except AppError as error:
            tell("{reason}.", reason=error.sentence)
            return
        app = self.room.build("now", self.room.incident.read_source())
        FixEditor(app, name, text, self._adopt, f"fix_{self.room.incident.name}").show()

    def _adopt(self, built: AppFiles) -> Comparison:
        self.room.incident.source_file.write_text(built.source.read_text())
        return self.room.prove()

    def ship(self) -> None:
        """Put what was changed into service, and say so; or that nothing was changed."""
        if not self.room.incident.is_changed:
            print(
                say("Nothing to ship: the program is as it came. If nothing leaks, that is right.")
            )
            return
        print(say(self.room.ship().cap))

    def prove(self) -> None:
        """Compare the program as it came with the one in the file, and display the verdict."""
        if not self.room.incident.is_changed:
            print(
                say("Nothing to compare: the program is as it came. What was seen ahead of time is")
            )
            print(say("what shows that it comes to an end, if it does."))
            return
        comparison = self.room.prove()
        print(say(comparison.sentence))
        show_comparison(comparison)

    def check(self, hint: int = 0) -> None:
        """Have it judged as `./lab check incident` does it, and display the report.

        `hint`, 1 to 3, adds a hint for what failed first. What was not answered at all is not
        judged. Raises `GradingError` where it can't be judged here.
        """
        incident = self.room.incident
        if not any(each not in (None, "") for each in incident.read_answers().values()):
            print(say("Nothing is answered yet, so there is nothing to judge."))
            return
        progress = Progress(self.room.lab)
        words = incident.judge_words
        report = judge_outside(self.room.lab, incident.folder, hint, progress.tell, words)
        self.room.keep_report(report)
        progress.replace(*render_report(self.room.lab, report))

    def compare_clock(self) -> None:
        """Display the time to the kill that was answered beside what came, as far as it has."""
        answer = self.room.incident.read_answers().get("oom_seconds")
        if answer in (None, ""):
            said = term("nothing yet")
        else:
            never = answer == NEVER
            said = term("never") if never else term("killed after {seconds} s", seconds=answer)
        kills = self.room.timeline.find("kill")
        terms = self.room.service.count_terms() if self.room.service else 0
        at_rate = terms / self.room.terms.rate
        came = (
            kills[0].text
            if kills
            else term(
                "It runs. It has done {terms:,} terms, {seconds:,.0f} s at its rate.",
                terms=terms,
                seconds=at_rate,
            )
        )
        columns = (term("what you predicted"), term("what came"))
        show_table(term("The time to the kill"), columns, [(said, came)])

    def write_post_mortem(self) -> None:
        """Write the post-mortem, and display it, with links to both of its files."""
        self._end_clock()
        markdown, page = self.room.write_post_mortem()
        title, parts = compose(self.room.see())
        left = self.room.list_open()
        display(
            {
                "text/html": render_parts(title, parts),
                "text/plain": "\n".join([title, *left]),
            },
            raw=True,
        )
        print(say("Written: {page} and {text}.", page=_name(page), text=_name(markdown)))
        print(say("Still open: {count}.", count=len(left)) if left else say("Nothing is open."))

    def close(self) -> None:
        """End the service, and what it ran in; what you have written stays for another day."""
        self._end_clock()
        was_worked_on = self.room.is_worked_on
        self.room.close()
        if was_worked_on:
            print(
                say(
                    "Kept in {folder}: open_room() goes on with it.",
                    folder=self.room.incident.folder,
                )
            )
        else:
            print(say("Nothing was written or changed, so nothing is kept of this incident."))
            print(say("Run the cells from the top for another."))

    def _end_clock(self) -> None:
        if self._panel is not None:
            with suppress(LabError):
                self._panel.stop()
            self._panel = None


def _name(path: Path) -> str:
    return os.path.relpath(path)


def _word(name: str, value: int | float) -> str:
    if name in ("resident", "anonymous", "address space", "charged", "cap"):
        return format_size(value) if value else say("not known")
    return f"{value:,} s" if name == "up" else f"{value:,}"
