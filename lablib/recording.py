"""Save records to a file and load them again: gzip'ed JSON, with the kernel and the day."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lablib.encoding import Decoder, Encoder
from lablib.errors import RecordingError
from lablib.language import term
from lablib.records import HeapTrace
from lablib.wording import os_reason

FORMAT = "memory-leak-lab recording 3"
"""With the version: a file of another one is refused."""


@dataclass(frozen=True)
class Recording:
    """What a file holds, on which kernel release it was made, and on which day (ISO 8601)."""

    value: Any
    kernel: str
    date: str


def save_recording(value: Any, path: Path, root: Path | None = None) -> Path:
    """Write a record to `path` and return it, or a list, tuple or dict of records and numbers.

    Files below the folder `root` are named from there, so that it doesn't tell where that was.
    Raises `RecordingError` if that can't be done.
    """
    encoder = Encoder()
    try:
        encoded = encoder.encode(value)
    except ValueError as error:
        raise RecordingError(str(error), term("save records only")) from None
    document = {
        "format": FORMAT,
        "kernel": os.uname().release,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "shared": encoder.shared,
        "value": encoded,
    }
    text = json.dumps(document)
    if root is not None:
        text = text.replace(json.dumps(f"{root}/")[1:-1], "")
    return save_bytes(gzip.compress(text.encode(), mtime=0), path)


def load_recording(path: Path) -> Recording:
    """Return what `save_recording` wrote; raises `RecordingError` for any other file."""
    try:
        document = json.loads(gzip.decompress(path.read_bytes()))
        if document["format"] != FORMAT:
            raise KeyError("format")
        value = Decoder(document["shared"]).decode(document["value"])
        return Recording(value, str(document["kernel"]), str(document["date"]))
    except OSError as error:
        reason = os_reason(error) if error.errno else term("it is not a saved session")
        raise RecordingError(
            term("{path} can't be read ({reason})", path=path, reason=reason)
        ) from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError):
        raise _make_refusal(path) from None


def mark_as_recorded(recording: Recording) -> Any:
    """Return what was recorded, each record's `source` saying that it is not live."""
    kernel, date = recording.kernel, recording.date
    source = term("recorded: Linux {kernel}, {date}", kernel=kernel, date=date)
    return _mark(recording.value, source)


def save_trace(trace: HeapTrace, path: Path) -> Path:
    """Write a heap trace to `path` and return it; raises `RecordingError` if that can't be done."""
    return save_recording(trace, path)


def load_trace(path: Path) -> HeapTrace:
    """Return the heap trace that is in a file; raises `RecordingError` for any other file."""
    value = load_recording(path).value
    if not isinstance(value, HeapTrace):
        raise _make_refusal(path)
    return value


def save_bytes(data: bytes, path: Path) -> Path:
    """Write a file and return its path; raises `RecordingError` if that can't be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise RecordingError(
            term("{path} could not be written ({reason})", path=path, reason=os_reason(error)),
            term("free some space or choose another folder"),
        ) from None
    return path


def _make_refusal(path: Path) -> RecordingError:
    return RecordingError(
        term("{path} is not a session that this lab saved", path=path),
        term("make one with: ./lab trace --save FILE"),
    )


def _mark(value: Any, source: str) -> Any:
    if isinstance(value, dict):
        return {key: _mark(each, source) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mark(each, source) for each in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and hasattr(value, "source"):
        marked: Any = dataclasses.replace(value, **{"source": source})
        return marked
    return value
