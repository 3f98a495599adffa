"""Save a heap trace to a file and load it again: gzip'ed JSON, the records as they are."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

from lablib.errors import RecordingError
from lablib.records import Frame, HeapSnapshot, HeapTrace, StackUsage, Target, TraceEvents

FORMAT = "memory-leak-lab heap trace 2"


def save_trace(trace: HeapTrace, path: Path) -> Path:
    """Write a trace to `path` and return it; raises `RecordingError` if that can't be done."""
    frames: dict[Frame, int] = {}
    snapshots = [_encode_snapshot(snapshot, frames) for snapshot in trace.snapshots]
    document = {
        "format": FORMAT,
        "source": trace.source,
        "kernel": trace.kernel,
        "target": dataclasses.asdict(trace.target),
        "sample_bytes": trace.sample_bytes,
        "frames": [dataclasses.astuple(frame) for frame in frames],
        "snapshots": snapshots,
    }
    return save_bytes(gzip.compress(json.dumps(document).encode(), mtime=0), path)


def save_bytes(data: bytes, path: Path) -> Path:
    """Write a file and return its path; raises `RecordingError` if that can't be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise RecordingError(
            f"{path} could not be written ({error.strerror})",
            "free some space or choose another folder",
        ) from None
    return path


def load_trace(path: Path) -> HeapTrace:
    """Return the trace that `save_trace` wrote; raises `RecordingError` for any other file."""
    try:
        document = json.loads(gzip.decompress(path.read_bytes()))
        if document["format"] != FORMAT:
            raise KeyError("format")
        frames = [Frame(*values) for values in document["frames"]]
        return HeapTrace(
            source=document["source"],
            kernel=document["kernel"],
            target=Target(**document["target"]),
            sample_bytes=document["sample_bytes"],
            snapshots=tuple(_decode_snapshot(record, frames) for record in document["snapshots"]),
        )
    except OSError as error:
        reason = error.strerror or "it is not a saved session"
        raise RecordingError(f"{path} can't be read ({reason})") from None
    except (ValueError, KeyError, TypeError, IndexError, EOFError):
        raise RecordingError(
            f"{path} is not a session that this lab saved", "make one with: ./lab trace --save FILE"
        ) from None


def _encode_snapshot(snapshot: HeapSnapshot, frames: dict[Frame, int]) -> dict[str, Any]:
    """A snapshot as JSON; each frame is written once, and stacks name it by its number."""

    def encode(usages: tuple[StackUsage, ...]) -> list[dict[str, Any]]:
        return [
            {**vars(u), "frames": [frames.setdefault(frame, len(frames)) for frame in u.frames]}
            for u in usages
        ]

    events = vars(snapshot.events)
    return {
        **vars(snapshot),
        "events": {**events, "missed_by_reason": dict(snapshot.events.missed_by_reason)},
        "stacks": encode(snapshot.stacks),
        "mappings": encode(snapshot.mappings),
    }


def _decode_snapshot(record: dict[str, Any], frames: list[Frame]) -> HeapSnapshot:
    def decode(usages: list[dict[str, Any]]) -> tuple[StackUsage, ...]:
        return tuple(
            StackUsage(**{**usage, "frames": tuple(frames[number] for number in usage["frames"])})
            for usage in usages
        )

    return HeapSnapshot(
        **{
            **record,
            "stacks": decode(record["stacks"]),
            "mappings": decode(record["mappings"]),
            "events": TraceEvents(**record["events"]),
        }
    )
