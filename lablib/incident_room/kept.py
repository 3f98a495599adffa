"""What an incident's folder keeps beside the timeline: samples, what was measured, the report.

All of it is read again by the next kernel. What can't be read is as if it had not been kept.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from contextlib import suppress
from typing import Any, TypeVar

from lablib.errors import LabError
from lablib.grading.page import describe_report, read_report
from lablib.incident_room.incidents import Incident
from lablib.incident_room.timeline import end_line
from lablib.recording import load_recording, save_bytes, save_recording
from lablib.records import Comparison, GradeReport, Rehearsal, ServiceSample

Record = TypeVar("Record")
_REHEARSAL, _PROOF, _REPORT = "rehearsal.json.gz", "proof.json.gz", "report.json"
_SAMPLES, _NOTICED = "samples.jsonl", "noticed.json"


class Kept:
    """The records of an incident; what was not made yet is None or empty."""

    def __init__(self, incident: Incident) -> None:
        """Read what is there."""
        self._incident, self._folder = incident, incident.folder
        self._turn = threading.Lock()
        self.samples = self._read_samples()
        end_line(self._folder / _SAMPLES)
        self.rehearsal: Rehearsal | None = self._load(_REHEARSAL, Rehearsal)
        self.comparison: Comparison | None = self._load(_PROOF, Comparison)
        self.report: GradeReport | None = self._read_report()
        self._noticed = self._read_noticed()

    def keep_sample(self, up_s: float, rss_bytes: int, charged_bytes: int | None) -> None:
        """Keep what the service held; a thread may call it. A disk that is full is no error."""
        sample = ServiceSample(self._incident.elapsed_s(), up_s, rss_bytes, charged_bytes)
        with self._turn, suppress(OSError):
            self.samples.append(sample)
            with (self._folder / _SAMPLES).open("a") as file:
                file.write(json.dumps(dataclasses.asdict(sample)) + "\n")

    def keep_rehearsal(self, rehearsal: Rehearsal) -> None:
        """Keep what was seen ahead of time; raises `RecordingError`."""
        self.rehearsal = rehearsal
        save_recording(rehearsal, self._folder / _REHEARSAL)

    def keep_comparison(self, comparison: Comparison) -> None:
        """Keep what was found of both builds; raises `RecordingError`."""
        self.comparison = comparison
        save_recording(comparison, self._folder / _PROOF)

    def keep_report(self, report: GradeReport) -> None:
        """Keep what the judge has found; raises `RecordingError`."""
        self.report = report
        text = json.dumps(describe_report(report), indent=2)
        save_bytes((text + "\n").encode(), self._folder / _REPORT)

    def notice(self, answers: dict[str, Any], source: str) -> tuple[dict[str, Any], bool]:
        """Return which answers are new since the last time, and whether the program is another."""
        noticed: dict[str, Any] = {"answers": answers, "source": source}
        was = self._noticed
        if noticed == was:
            return {}, False
        self._noticed = noticed
        save_bytes(json.dumps(noticed).encode(), self._folder / _NOTICED)
        new = {
            name: answer
            for name, answer in answers.items()
            if answer not in (None, "") and answer != was["answers"].get(name)
        }
        return new, source != was["source"]

    def _read_samples(self) -> list[ServiceSample]:
        samples = []
        with suppress(OSError):
            for line in (self._folder / _SAMPLES).read_text(errors="replace").splitlines():
                with suppress(ValueError, TypeError):
                    samples.append(ServiceSample(**json.loads(line)))
        return samples

    def _load(self, name: str, kind: type[Record]) -> Record | None:
        with suppress(LabError):
            value = load_recording(self._folder / name).value
            return value if isinstance(value, kind) else None
        return None

    def _read_report(self) -> GradeReport | None:
        try:
            return read_report(json.loads((self._folder / _REPORT).read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _read_noticed(self) -> dict[str, Any]:
        try:
            noticed = json.loads((self._folder / _NOTICED).read_text())
            return {"answers": dict(noticed["answers"]), "source": str(noticed["source"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {"answers": {}, "source": self._incident.lab.read_source()}
