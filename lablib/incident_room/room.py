"""The room: the incident's clock, its service, and all that is done about it, kept on the disk."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TypeVar

from lablib.analysis import judge_trace
from lablib.apps import APPS_DIR
from lablib.comparison import Build, compare_builds
from lablib.comparison.builds import TERMS as TERMS_WORD
from lablib.editing import INCIDENTS_BUILD_DIR, build_source
from lablib.errors import AppError, GradingError, LabError, RecordingError
from lablib.grading.labs import ANSWERS, Service
from lablib.grading.page import describe_report, read_report
from lablib.incident_room.incidents import Incident
from lablib.incident_room.page import Picture, to_html, to_markdown
from lablib.incident_room.postmortem import Seen, compose, list_open
from lablib.incident_room.rehearsal import ROUNDS, TERMS, rehearse, try_scan
from lablib.incident_room.service import Service as RunningService
from lablib.incident_room.timeline import Timeline
from lablib.recording import load_recording, save_bytes, save_recording
from lablib.records import (
    AppFiles,
    Comparison,
    GradeReport,
    HeapSnapshot,
    HeapTrace,
    ProcessVerdict,
    Rehearsal,
    ServiceEnd,
    ServiceSample,
    TimelineEntry,
)
from lablib.resources import read_resources
from lablib.study import Runtime, choose_runtime
from lablib.wording import count_of, format_size

PROOF_TERMS = 240
COMMAND_TIMEOUT_S = 300.0
CHECKOUT = APPS_DIR.parent

Kept = TypeVar("Kept")
_REHEARSAL, _PROOF = "rehearsal.json.gz", "proof.json.gz"


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
        folder = incident.folder
        self.timeline = Timeline(folder / "timeline.jsonl", incident.paged_s)
        self.samples = _read_samples(folder / "samples.jsonl")
        self.service: RunningService | None = None
        self.rehearsal: Rehearsal | None = _load(folder / _REHEARSAL, Rehearsal)
        self.comparison: Comparison | None = _load(folder / _PROOF, Comparison)
        self.report: GradeReport | None = _read_report(folder / "report.json")
        self._turn = threading.Lock()
        if not self.timeline.entries:
            self.timeline.add("page", self.lab.pager)
        elif self.timeline.find("service", "note"):
            self.timeline.add("service", "The room was opened again; the clock has run on.")
        self._noticed = self._read_noticed()

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
        return self._start("service", "The service was started")

    def ship(self) -> RunningService:
        """Build what the learner has changed, and put it into service; raises `LabError`.

        Raises `GradingError` where nothing was changed.
        """
        if not self.incident.is_changed:
            raise GradingError(
                "there is nothing to ship: the program is as it came",
                f"change {self.incident.source_file}, or say in a note why you don't",
            )
        return self._start("fix", f"A fix was put into service ({self._count_changes()})")

    def _start(self, kind: str, text: str) -> RunningService:
        self.notice()
        app = self.build("now", self.incident.read_source())
        self._end_service()
        self.service = RunningService(
            self._choose_runtime(),
            app,
            self.terms,
            self.name,
            self.speed,
            self._keep_sample,
            self._keep_end,
        )
        faster = f", {self.speed:g} times as fast as in service" if self.speed != 1 else ""
        self.timeline.add(
            kind,
            f"{text}: {self.terms.rate:g} terms a second{faster}. {self.service.cap}",
            runtime=self.service.runtime,
            is_capped=self.service.is_capped,
        )
        return self.service

    def build(self, name: str, source: str) -> AppFiles:
        """Compile a source of the incident's, and return the program; raises `LabError`."""
        folder = INCIDENTS_BUILD_DIR / f"{self.incident.name}-{os.getpid()}" / name
        return build_source("incident", source, folder)[0]

    def run(self, command: str) -> str:
        """Run a command of a shell, and return what it printed; it goes into the timeline.

        In it {pid} stands for the service's process, and {container} for its container. It runs in
        the lab's folder. Raises `AppError` where it takes too long.
        """
        self.notice()
        words = self._fill_in(command)
        try:
            done = subprocess.run(
                words,
                shell=True,
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AppError(f"{command} took longer than {COMMAND_TIMEOUT_S:.0f} s") from None
        said = done.stdout.decode(errors="replace")
        last = (said.strip().splitlines() or ["nothing"])[-1].strip()
        self.timeline.add("command", f"$ {command}: {last}", exit_code=done.returncode)
        return said

    # What is seen

    def look(self) -> dict[str, int | float]:
        """Return what the kernel counts of the service now; it goes into the timeline.

        In bytes: "resident", "anonymous", "address space", "charged" to its cgroup (0 where that is
        not known) and the "cap". As numbers: "mappings", "threads", "open files" and "terms", and
        "up" in seconds. Raises `GradingError` where nothing runs.
        """
        self.notice()
        service = self._running()
        resources = read_resources(service.pid)
        if resources is None:
            raise GradingError("the service has ended", "start it: room.start_service()")
        mappings = Path(f"/proc/{service.pid}/maps").read_bytes().count(b"\n")
        rss_bytes = resources.rss_anon_bytes + resources.rss_file_bytes
        seen: dict[str, int | float] = {
            "resident": rss_bytes + resources.rss_shared_bytes,
            "anonymous": resources.rss_anon_bytes,
            "address space": resources.vm_size_bytes,
            "charged": service.read_charged() or 0,
            "cap": self.terms.limit_bytes,
            "mappings": mappings,
            "threads": resources.threads,
            "open files": resources.open_files or 0,
            "terms": service.count_terms(),
            "up": round(service.up_s, 1),
        }
        self.timeline.add(
            "look",
            f"After {seen['terms']:,} terms it holds {format_size(seen['resident'])} in "
            f"{count_of(mappings, 'mapping')}.",
            **seen,
        )
        return seen

    def follow_heap(self, seconds: float, interval_s: float = 0.5) -> Iterator[HeapSnapshot]:
        """Yield the heap of the service every `interval_s`, for so long; then look for lost blocks.

        It is counted from the service's first term on. Raises `GradingError` where nothing counts.
        """
        tracer = self._running().tracer
        if tracer is None:
            raise GradingError(
                f"nothing counts the heap of the service ({self._running().untraced})",
                "use room.rehearse(), and what /proc tells",
            )
        yield (shot := tracer.snapshot())  # the first one takes long: all symbols are new
        end_s = time.monotonic() + seconds
        while True:
            if time.monotonic() >= end_s or not shot.is_running:
                break
            time.sleep(min(interval_s, max(0.01, end_s - time.monotonic())))
            yield (shot := tracer.snapshot())
        if shot.is_running:
            try_scan(tracer)

    def judge_heap(self) -> tuple[HeapTrace, ProcessVerdict]:
        """Return all that was seen of the service's heap, and what it says; for the timeline too.

        Raises `GradingError` where nothing counts.
        """
        tracer = self._running().tracer
        if tracer is None or not tracer.trace.snapshots:
            raise GradingError("the heap was not followed yet", "room.trace(6) does")
        verdict = judge_trace(tracer.trace)
        self.keep_verdict(tracer.trace, verdict)
        return tracer.trace, verdict

    def keep_verdict(self, trace: HeapTrace, verdict: ProcessVerdict) -> None:
        """Put a verdict on a trace into the timeline."""
        self.timeline.add(
            "look", f"The trace ({trace.source}): {verdict.sentence}", verdict=verdict.kind
        )

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
        self.rehearsal = measure(lambda: rehearse(app, terms, rounds))
        save_recording(self.rehearsal, self.incident.folder / _REHEARSAL)
        seen = self.rehearsal.rounds
        early = (
            f" It ended early: {self.rehearsal.ended_early}" if self.rehearsal.ended_early else ""
        )
        self.timeline.add(
            "look",
            f"Ahead of time: {format_size(seen[0].rss_bytes)} after {seen[0].terms:,} terms, "
            f"{format_size(seen[-1].rss_bytes)} after {seen[-1].terms:,}.{early}"
            if seen
            else f"Ahead of time it did not come to {terms:,} terms.{early}",
            source=self.rehearsal.source,
        )
        return self.rehearsal

    # What is said and done

    def note(self, text: str) -> TimelineEntry:
        """Keep a note in the timeline, with the clock's time."""
        self.notice()
        return self.timeline.add("note", text)

    def answer(self, **answers: float | str | None) -> None:
        """Write answers to questions of the lab into answers.json; raises `GradingError`."""
        known = {question.name for question in self.lab.questions}
        unknown = sorted(set(answers) - known)
        if unknown:
            raise GradingError(
                f"there is no question {', '.join(unknown)}", f"choose: {', '.join(sorted(known))}"
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
                "there is nothing to compare: the program is as it came",
                "if nothing leaks, room.rehearse() is what shows it",
            )
        sources = {"before": self.lab.read_source(), "after": self.incident.read_source()}
        before, after = (
            Build(f"the program {word}", _words_of(self.build(name, sources[name])))
            for name, word in (("before", "as it came"), ("after", "with the fix"))
        )
        self.comparison = compare_builds(before, after, terms)
        save_recording(self.comparison, self.incident.folder / _PROOF)
        self.timeline.add("proof", self.comparison.sentence, verdict=self.comparison.kind)
        return self.comparison

    def keep_report(self, report: GradeReport) -> None:
        """Keep what the judge has found: `./lab check incident`, of the learner's folder."""
        self.notice()
        self.report = report
        text = json.dumps(describe_report(report), indent=2)
        save_bytes((text + "\n").encode(), self.incident.folder / "report.json")
        failed = next((each for each in report.findings if each.state == "failed"), None)
        first = f" First: {failed.sentence}" if failed else ""
        self.timeline.add(
            "check",
            f"The check gave {report.points:g} of {report.possible:g} points.{first}",
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
            tuple(self.samples),
            self.rehearsal,
            self.comparison,
            self.report,
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
        noticed: dict[str, Any] = {
            "answers": self.incident.read_answers(),
            "source": self.incident.read_source(),
        }
        if noticed == self._noticed:
            return
        was, self._noticed = self._noticed, noticed
        save_bytes(json.dumps(noticed).encode(), self.incident.folder / "noticed.json")
        for name, answer in noticed["answers"].items():
            if answer not in (None, "") and answer != was["answers"].get(name):
                self.timeline.add("answer", f"{name}: {answer}")
        if noticed["source"] != was["source"]:
            changes = self._count_changes()
            self.timeline.add("change", f"{self.lab.source} was changed: {changes}.")

    def close(self) -> None:
        """End the service, and remove what was built; safe more than once.

        The incident's folder goes as well if nothing was written and nothing changed in it.
        """
        if self.service is not None and self.service.end is None and self.is_worked_on:
            self.timeline.add("service", "The room was closed, and the service with it.")
        self._end_service()
        build_dir = INCIDENTS_BUILD_DIR / f"{self.incident.name}-{os.getpid()}"
        shutil.rmtree(build_dir, ignore_errors=True)
        with suppress(OSError):
            INCIDENTS_BUILD_DIR.rmdir()
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
            raise GradingError("the service does not run", "start it: room.start_service()")
        return self.service

    def _choose_runtime(self) -> Runtime:
        if self._runtime is None:
            self._runtime = choose_runtime()
        return self._runtime

    def _fill_in(self, command: str) -> str:
        given = {}
        if self.service is not None:
            given = {"pid": str(self.service.pid), "container": self.name}
        for name, value in given.items():
            command = command.replace(f"{{{name}}}", shlex.quote(value))
        return command

    def _count_changes(self) -> str:
        before, after = (
            text.splitlines() for text in (self.lab.read_source(), self.incident.read_source())
        )
        lines = [*difflib.unified_diff(before, after, lineterm="", n=0)][2:]
        added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
        return f"{added} lines added, {removed} removed"

    def _keep_sample(self, up_s: float, rss_bytes: int, charged_bytes: int | None) -> None:
        sample = ServiceSample(self.incident.elapsed_s(), up_s, rss_bytes, charged_bytes)
        with self._turn, suppress(OSError):
            self.samples.append(sample)
            with (self.incident.folder / "samples.jsonl").open("a") as file:
                file.write(json.dumps(dataclasses.asdict(sample)) + "\n")

    def _keep_end(self, end: ServiceEnd) -> None:
        if end.is_oom_killed:
            text = (
                f"The kernel killed the service for want of memory, after {end.terms:,} terms: "
                f"{end.service_s:,.0f} s at the rate of the service."
            )
        else:
            text = f"The service ended, with exit code {end.exit_code}: {end.last_line}"
        with suppress(RecordingError):
            self.timeline.add(
                "kill" if end.is_oom_killed else "service",
                text,
                terms=end.terms,
                service_s=end.service_s,
                up_s=end.up_s,
            )

    def _read_noticed(self) -> dict[str, Any]:
        try:
            noticed = json.loads((self.incident.folder / "noticed.json").read_text())
            return {"answers": dict(noticed["answers"]), "source": str(noticed["source"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {"answers": {}, "source": self.lab.read_source()}


def _words_of(app: AppFiles) -> tuple[str, ...]:
    return (str(app.executable), "--rate", "0", "--terms", TERMS_WORD)


def _load(path: Path, kind: type[Kept]) -> Kept | None:
    """Return a record that was kept, None where there is none that can be read."""
    if not path.exists():
        return None
    try:
        value = load_recording(path).value
    except LabError:
        return None
    return value if isinstance(value, kind) else None


def _read_samples(path: Path) -> list[ServiceSample]:
    samples = []
    with suppress(OSError):
        for line in path.read_text().splitlines():
            with suppress(ValueError, TypeError):
                samples.append(ServiceSample(**json.loads(line)))
    return samples


def _read_report(path: Path) -> GradeReport | None:
    try:
        return read_report(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
