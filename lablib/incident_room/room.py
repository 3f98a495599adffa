"""The room: the incident's clock, its service, and all that is done about it, kept on the disk."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from lablib.analysis import judge_trace
from lablib.apps import APPS_DIR
from lablib.comparison import Build, judge_runs, run_builds
from lablib.comparison.builds import TERMS as TERMS_WORD
from lablib.errors import GradingError, RecordingError
from lablib.grading.labs import ANSWERS, Service
from lablib.incident_room.builds import Builds
from lablib.incident_room.incidents import Incident
from lablib.incident_room.kept import Kept
from lablib.incident_room.page import Picture, to_html, to_markdown
from lablib.incident_room.postmortem import compose
from lablib.incident_room.rehearsal import ROUNDS, TERMS, rehearse
from lablib.incident_room.seen import Seen, list_open, word_changes
from lablib.incident_room.service import Service as RunningService
from lablib.incident_room.shell import run_command
from lablib.incident_room.sights import follow_heap, look_at, word_end, word_look, word_rehearsal
from lablib.incident_room.timeline import Timeline
from lablib.language import say, term
from lablib.recording import save_bytes
from lablib.records import (
    AppFiles,
    Comparison,
    GradeReport,
    HeapSnapshot,
    HeapTrace,
    ProcessVerdict,
    Rehearsal,
    ServiceEnd,
    TimelineEntry,
)
from lablib.study import Runtime, choose_runtime

PROOF_TERMS = 240
CHECKOUT = APPS_DIR.parent


class IncidentRoom(AbstractContextManager["IncidentRoom"]):
    """An incident and all that is done about it; a context manager that ends its service.

    What was done stays in the incident's folder, so that another kernel can go on with it. An
    incident about which nothing was written or changed leaves nothing.
    """

    def __init__(
        self, incident: Incident, runtime: Runtime | None = None, speed: float = 1.0
    ) -> None:
        """Open the room; nothing runs yet. `speed` times its rate the service runs faster.

        Without a `runtime` it is Docker where that can be had (`choose_runtime`).
        """
        self.incident, self.lab, self.speed = incident, incident.lab, speed
        assert self.lab.service is not None, "the lab says how its program is run"
        self.terms: Service = self.lab.service
        self._runtime = runtime
        self.timeline = Timeline(incident.folder / "timeline.jsonl", incident.paged_s)
        self.kept = Kept(incident)
        self._builds = Builds(incident)
        self.service: RunningService | None = None
        if not self.timeline.entries:
            self.timeline.add("page", lambda: say(self.lab.pager))
        elif self.timeline.find("service", "note"):
            self.timeline.add(
                "service",
                lambda: say("The room was opened again: nothing is in service, the clock ran on."),
            )

    def __exit__(self, *_: object) -> None:
        """End the service."""
        self.close()

    @property
    def name(self) -> str:
        """The name of its container."""
        return f"incident-{self.incident.name}"

    # What runs

    def start_service(self) -> RunningService:
        """Start the program that is in the learner's file, at the rate of its service and capped.

        One that runs is ended first. Raises `LabError`, also for a program that doesn't compile.
        """
        return self._start("service", lambda: say("The service was started"))

    def ship(self) -> RunningService:
        """Build what the learner has changed, and put it into service; raises `LabError`.

        Raises `GradingError` where nothing was changed.
        """
        if not self.incident.is_changed:
            raise GradingError(
                term("there is nothing to ship: the program is as it came"),
                term(
                    "change {file}, or say in a note why you don't", file=self.incident.source_file
                ),
            )
        return self._start(
            "fix",
            lambda: say("A fix was put into service ({changes})", changes=self._count_changes()),
        )

    def _start(self, kind: str, begin: Callable[[], str]) -> RunningService:
        self.notice()
        app = self.build("now", self.incident.read_source())
        self._end_service()
        self.service = service = RunningService(
            self._choose_runtime(),
            app,
            self.terms,
            self.name,
            self.speed,
            self.kept.keep_sample,
            self._keep_end,
        )
        self.timeline.add(
            kind,
            lambda: say(
                "{begin}: {rate:g} terms a second{faster}. {cap}",
                begin=begin(),
                rate=self.terms.rate,
                faster=say(", {speed:g} times as fast as in service", speed=self.speed)
                if self.speed != 1
                else "",
                cap=service.cap,
            ),
            runtime=service.runtime,
            is_capped=service.is_capped,
        )
        return service

    def build(self, name: str, source: str) -> AppFiles:
        """Compile a source of the incident's, and return the program; raises `LabError`."""
        return self._builds.build(name, source)

    def run(self, command: str) -> str:
        """Run a command of a shell, and return what it printed; it goes into the timeline.

        In it {pid} stands for the service's process, and {container} for its container. It runs in
        the lab's folder. Raises `AppError` where it takes too long or prints too much, and
        `GradingError` where it is about the service and none runs.
        """
        self.notice()
        said, exit_code = run_command(self._fill_in(command), CHECKOUT)
        last = said.strip().splitlines()[-1:]
        self.timeline.add(
            "command",
            lambda: f"$ {command}: {last[0].strip() if last else say('nothing')}",
            exit_code=exit_code,
        )
        return said

    # What is seen

    def look(self) -> dict[str, int | float]:
        """Return what the kernel counts of the service now; it goes into the timeline.

        In bytes: "resident", "anonymous", "address space", "charged" to its cgroup (0 where that is
        not known) and the "cap". As numbers: "mappings", "threads", "open files" and "terms", and
        "up" in seconds. Raises `GradingError` where nothing runs.
        """
        self.notice()
        seen = look_at(self._running())
        self.timeline.add("look", lambda: word_look(seen), **seen)
        return seen

    def follow_heap(self, seconds: float, interval_s: float = 0.5) -> Iterator[HeapSnapshot]:
        """Yield the heap of the service every `interval_s`, for so long; then look for lost blocks.

        It is counted from the service's first term on. Raises `GradingError` where nothing counts.
        """
        service = self._running()
        if service.tracer is None:
            raise GradingError(
                term(
                    "nothing counts the heap of the service ({untraced})", untraced=service.untraced
                ),
                term("use room.rehearse(), and what /proc tells"),
            )
        yield from follow_heap(service.tracer, seconds, interval_s)

    def judge_heap(self) -> tuple[HeapTrace, ProcessVerdict]:
        """Return all that was seen of the service's heap, and what it says; for the timeline too.

        Raises `GradingError` where nothing counts.
        """
        tracer = self._running().tracer
        if tracer is None or not tracer.trace.snapshots:
            raise GradingError(term("the heap was not followed yet"), term("room.trace(6) does"))
        return tracer.trace, self.judge(tracer.trace)

    def judge(self, trace: HeapTrace) -> ProcessVerdict:
        """Return the verdict on a trace; it goes into the timeline."""
        verdict = judge_trace(trace)
        self.timeline.add(
            "look",
            lambda: say(
                "The trace ({source}): {sentence}",
                source=trace.source,
                sentence=judge_trace(trace).sentence,
            ),
            verdict=verdict.kind,
        )
        return verdict

    def trace(self, seconds: float = 6, interval_s: float = 0.5) -> ProcessVerdict:
        """Follow the service's heap for so long, and return the verdict; raises `GradingError`."""
        self.notice()
        for _ in self.follow_heap(seconds, interval_s):
            pass
        return self.judge_heap()[1]

    def rehearse(
        self,
        terms: int = TERMS,
        rounds: int = ROUNDS,
        measure: Callable[[Callable[[], Rehearsal]], Rehearsal] = lambda run: run(),
    ) -> Rehearsal:
        """Run the program as it came ahead of time, and keep what was seen; raises `LabError`.

        It is looked at after `terms` terms, twice as many, and so on. `measure` may give a
        recording instead of running it.
        """
        self.notice()
        app = self.build("before", self.lab.read_source())
        rehearsal = measure(lambda: rehearse(app, terms, rounds))
        self.kept.keep_rehearsal(rehearsal)
        self.timeline.add("look", lambda: word_rehearsal(rehearsal, terms), source=rehearsal.source)
        return rehearsal

    # What is said and done

    def note(self, text: str) -> TimelineEntry:
        """Keep a note in the timeline, with the clock's time; raises `RecordingError`."""
        self.notice()
        return self.timeline.add("note", text)

    def answer(self, **answers: float | str | None) -> None:
        """Write answers to questions of the lab into answers.json; raises `GradingError`."""
        known = {question.name for question in self.lab.questions}
        unknown = sorted(set(answers) - known)
        if unknown:
            raise GradingError(
                term("there is no question {names}", names=", ".join(unknown)),
                term("choose: {choices}", choices=", ".join(sorted(known))),
            )
        text = json.dumps({**self.incident.read_answers(), **answers}, indent=2)
        save_bytes((text + "\n").encode(), self.incident.folder / ANSWERS)
        self.notice()

    def prove(self, terms: int = PROOF_TERMS) -> Comparison:
        """Return whether the learner's program does the same work and keeps nothing of it.

        Both run traced, with `terms` terms and with twice as many: `lablib.comparison`. Raises
        `GradingError` where nothing was changed, and `LabError` where it can't be compared.
        """
        self.notice()
        if not self.incident.is_changed:
            raise GradingError(
                term("there is nothing to compare: the program is as it came"),
                term("if nothing leaks, room.rehearse() is what shows it"),
            )
        before, after = (
            Build(name, _words_of(self.build(folder, source)))
            for name, folder, source in (
                (term("the program as it came"), "before", self.lab.read_source()),
                (term("the program with the fix"), "after", self.incident.read_source()),
            )
        )
        comparison = judge_runs(*run_builds(before, after, terms))
        self.kept.keep_comparison(comparison)
        self.timeline.add("proof", comparison.sentence, verdict=comparison.kind)
        return comparison

    def keep_report(self, report: GradeReport) -> None:
        """Keep what the judge has found: `./lab check incident`, of the learner's folder."""
        self.notice()
        self.kept.keep_report(report)
        failed = next((each for each in report.findings if each.state == "failed"), None)
        self.timeline.add(
            "check",
            lambda: say(
                "The check gave {points:g} of {possible:g} points.{first}",
                points=report.points,
                possible=report.possible,
                first=say(" First: {sentence}", sentence=failed.sentence) if failed else "",
            ),
            has_passed=report.has_passed,
        )

    # What comes of it

    def see(self) -> Seen:
        """Return all that a post-mortem is made of, as it is now."""
        self.notice()
        return Seen(
            self.lab,
            self.incident.paged_s,
            self.incident.read_source(),
            self.incident.read_answers(),
            tuple(self.timeline.entries),
            tuple(self.kept.samples),
            self.kept.rehearsal,
            self.kept.comparison,
            self.kept.report,
        )

    def list_open(self) -> list[str]:
        """Return what is still to be done, a sentence each."""
        return list_open(self.see())

    def write_post_mortem(self) -> tuple[Path, Path]:
        """Write the post-mortem, and return it as Markdown and as a page of HTML.

        The page loads nothing; the pictures of the Markdown lie beside it. Raises `RecordingError`.
        """
        title, parts = compose(self.see())
        markdown = self.incident.post_mortem
        page = markdown.with_suffix(".html")
        save_bytes(to_markdown(title, parts).encode(), markdown)
        save_bytes(to_html(title, parts).encode(), page)
        for part in parts:
            if isinstance(part, Picture):
                save_bytes(part.png, markdown.with_name(part.file_name))
        return markdown, page

    def notice(self) -> None:
        """Put into the timeline which answers and which lines were changed since the last time."""
        answers, is_changed = self.kept.notice(
            self.incident.read_answers(), self.incident.read_source()
        )
        for name, answer in answers.items():
            self.timeline.add("answer", f"{name}: {answer}")
        if is_changed:
            self.timeline.add(
                "change",
                lambda: say(
                    "{file} was changed: {changes}.",
                    file=self.lab.source,
                    changes=self._count_changes(),
                ),
            )

    def close(self) -> None:
        """End the service, and remove what was built; safe more than once.

        The incident's folder goes as well if nothing was written and nothing changed in it.
        """
        if self.service is not None and self.service.end is None and self.is_worked_on:
            self.timeline.add(
                "service", lambda: say("The room was closed, and the service with it.")
            )
        self._end_service()
        self._builds.remove()
        if self.incident.folder.exists() and not self.is_worked_on:
            self.incident.remove()

    @property
    def is_worked_on(self) -> bool:
        """Whether anything was answered, noted or changed."""
        answered = any(each not in (None, "") for each in self.incident.read_answers().values())
        return answered or bool(self.timeline.find("note")) or self.incident.is_changed

    def _end_service(self) -> None:
        if self.service is not None:
            self.service.close()
            self.service = None

    def _running(self) -> RunningService:
        if self.service is None:
            raise GradingError(
                term("the service does not run"), term("start it: room.start_service()")
            )
        return self.service

    def _choose_runtime(self) -> Runtime:
        if self._runtime is None:
            self._runtime = choose_runtime()
        return self._runtime

    def _fill_in(self, command: str) -> str:
        if not any(word in command for word in ("{pid}", "{container}")):
            return command
        service = self._running()
        if not service.is_running:  # its number may be another's by now
            raise GradingError(
                term("the service has ended"), term("start it: room.start_service()")
            )
        for name, value in (("pid", str(service.pid)), ("container", self.name)):
            command = command.replace(f"{{{name}}}", shlex.quote(value))
        return command

    def _count_changes(self) -> str:
        return word_changes(self.lab.read_source(), self.incident.read_source())

    def _keep_end(self, end: ServiceEnd) -> None:
        with suppress(RecordingError):
            self.timeline.add(
                "kill" if end.is_oom_killed else "service",
                lambda: word_end(end),
                terms=end.terms,
                service_s=end.service_s,
                up_s=end.up_s,
            )


def _words_of(app: AppFiles) -> tuple[str, ...]:
    return (str(app.executable), "--rate", "0", "--terms", TERMS_WORD)
