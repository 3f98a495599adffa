"""What a submission does, found out as it is asked for, and only once."""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

from lablib.errors import GradingError
from lablib.grading.building import LEVELS, SANITIZED, Build, build, build_companions
from lablib.grading.exhausting import Exhaustion, exhaust
from lablib.grading.labs import Lab, Service
from lablib.grading.leftovers import Aftermath, run_and_look_back
from lablib.grading.limits import Limits, open_group
from lablib.grading.measuring import Glance, Measurement, measure, start_tracer, watch_from_afar
from lablib.grading.sandbox import Run, Sandboxed
from lablib.grading.submissions import Submission, lay_out
from lablib.language import term
from lablib.scratch import make_scratch_folder

EXHAUSTING = Limits(seconds=30, output_bytes=8 << 20)
"""What a program may take on its way to its OOM kill, beside memory."""

SANITIZER_MEMORY_MB = 512
"""A program under AddressSanitizer reserves terabytes: the sanitizer itself holds it to this."""


class Evidence(AbstractContextManager["Evidence"]):
    """A submission and the lab's own program, built and run in folders of their own as needed."""

    def __init__(self, lab: Lab, submission: Submission, limits: Limits) -> None:
        """Prepare to look at `submission`; nothing is built or run yet."""
        self.lab = lab
        self.submission = submission
        self.limits = limits
        self._resources = ExitStack()
        self._submitted = self._lay_out(submission.source)
        self._handed_out = self._lay_out(lab.read_source().encode())
        self.untraced = start_tracer()
        self._group = open_group()
        if self._group is not None:
            self._resources.enter_context(self._group)
        self._seed = secrets.randbits(32)
        self._linked: dict[Path, tuple[str, ...]] = {}
        self._builds: dict[tuple[Path, str], Build] = {}
        self._outputs: dict[int, str] = {}
        self._exhaustion: Exhaustion | None = None
        self._measurements: dict[tuple[str, int], Measurement] = {}
        self._handed_out_measurements: dict[int, Measurement] = {}

    def __exit__(self, *_: object) -> None:
        """Remove the folders, and the memory cgroup of the runs."""
        self._resources.close()

    def build(self, level: str) -> Build:
        """Return the submission, built at one of `LEVELS` or `SANITIZED`."""
        return self._build(self._submitted, level)

    def measure(self, level: str, terms: int) -> Measurement:
        """Return what was seen of the submission's run over so many terms."""
        key = level, terms
        if key not in self._measurements:
            command = self._command(self.build(level), terms)
            self._measurements[key] = measure(
                self._submitted, command, terms, self.limits, self._group, self.untraced
            )
        return self._measurements[key]

    def measure_handed_out(self, terms: int) -> Measurement:
        """Return what was seen of the program as it was handed out, over so many terms."""
        if terms not in self._handed_out_measurements:
            command = self._command(self._build(self._handed_out, LEVELS[-1]), terms)
            self._handed_out_measurements[terms] = measure(
                self._handed_out, command, terms, self.limits, untraced=self.untraced
            )
        return self._handed_out_measurements[terms]

    def watch_from_afar(self, level: str, terms: int) -> tuple[Run, list[Glance]]:
        """Return a run over so many terms that nobody traced, and what it had meanwhile."""
        command = self._command(self.build(level), terms)
        return watch_from_afar(self._submitted, command, self.limits, self._group)

    def look_back(self, level: str, terms: int, kill_at: int = 0) -> Aftermath:
        """Return a run over so many terms, and what it left; see `run_and_look_back`."""
        command = self._command(self.build(level), terms)
        return run_and_look_back(self._submitted, command, self.limits, self._group, kill_at)

    def run_sanitized(self, terms: int) -> Run:
        """Return a run of the submission under AddressSanitizer; its leaks are others' business."""
        options = f"detect_leaks=0:hard_rss_limit_mb={SANITIZER_MEMORY_MB}:abort_on_error=0"
        limits = replace(self.limits, memory_bytes=None)
        command = ["/usr/bin/env", f"ASAN_OPTIONS={options}"]
        command += self._command(self.build(SANITIZED), terms)
        return self._run(self._submitted, command, limits)

    def expect_output(self, terms: int) -> str:
        """Return what the program as it was handed out prints; raises `GradingError`."""
        if terms not in self._outputs:
            self._outputs[terms] = self._run_handed_out(terms)
        return self._outputs[terms]

    def exhaust_handed_out(self, service: Service) -> Exhaustion:
        """Return how the program as handed out fares under its limit; raises as `exhaust`."""
        if self._exhaustion is None:
            built = self._build(self._handed_out, LEVELS[-1])
            command = self._command(built, service.horizon)
            self._exhaustion = exhaust(
                self._handed_out, command, self._group, service.limit_bytes, EXHAUSTING
            )
        return self._exhaustion

    def _run_handed_out(self, terms: int) -> str:
        handed_out = self._build(self._handed_out, LEVELS[-1])
        run = self._run(self._handed_out, self._command(handed_out, terms), self.limits)
        if run.exit_code != 0 or run.ended_by != "itself":
            raise GradingError(
                term("the lab's own program does not run here: {said}", said=run.errors.strip())
            )
        return run.output

    def _build(self, folder: Path, level: str) -> Build:
        key = folder, level
        if key not in self._builds:
            linked = self._build_companions(folder)
            self._builds[key] = build(folder, self.lab.source, level, linked, self._group)
        return self._builds[key]

    def _build_companions(self, folder: Path) -> tuple[str, ...]:
        """The same seed for both programs, another for each submission: nobody can know it."""
        if folder not in self._linked:
            sources = tuple(companion.name for companion in self.lab.companions)
            wrapped = (*self.lab.failing, *self.lab.noted)
            self._linked[folder] = build_companions(folder, sources, wrapped, self._seed)
        return self._linked[folder]

    def _command(self, built: Build, terms: int) -> list[str]:
        return [built.path, *self.lab.options, "--terms", str(terms)]

    def _lay_out(self, source: bytes) -> Path:
        folder = self._resources.enter_context(make_scratch_folder("check"))
        lay_out(self.lab, source, folder)
        return folder

    def _run(self, folder: Path, command: list[str], limits: Limits) -> Run:
        with Sandboxed(folder, command, limits, self._group) as program:
            program.release()
            return program.finish()
