"""Save a heap trace to a file and load it again: gzip'ed JSON, the records as they are."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

from lablib.errors import RecordingError
from lablib.records import Frame, HeapSnapshot, HeapTrace, StackUsage, Target, TraceEvents

FORMAT = "memory-leak-lab heap trace 1"


def save_trace(trace: HeapTrace, path: Path) -> Path:
    """Write a trace to `path` and return it; raises `RecordingError` if that can't be done."""
    frames: dict[Frame, int] = {}
    snapshots = [_encode_snapshot(snapshot, frames) for snapshot in trace.snapshots]
    document = {
        "format": FORMAT,
        "source": trace.source,
        "kernel": trace.kernel,
        "target": dataclasses.asdict(trace.target),
        "frames": [dataclasses.astuple(frame) for frame in frames],
        "snapshots": snapshots,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps(document).encode(), mtime=0))
    except OSError as error:
        raise RecordingError(
            f"the session could not be saved to {path} ({error.strerror})",
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
    events = vars(snapshot.events)
    return {
        **{name: value for name, value in vars(snapshot).items() if name != "stacks"},
        "events": {**events, "missed_by_reason": dict(snapshot.events.missed_by_reason)},
        "stacks": [
            {**vars(s), "frames": [frames.setdefault(frame, len(frames)) for frame in s.frames]}
            for s in snapshot.stacks
        ],
    }


def _decode_snapshot(record: dict[str, Any], frames: list[Frame]) -> HeapSnapshot:
    stacks = tuple(
        StackUsage(**{**stack, "frames": tuple(frames[number] for number in stack["frames"])})
        for stack in record["stacks"]
    )
    return HeapSnapshot(**{**record, "stacks": stacks, "events": TraceEvents(**record["events"])})
