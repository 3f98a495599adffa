"""Where a tracepoint's fields lie in its record: as this kernel says, for each has its own.

From the events' `format` files in the tracefs:

    field:unsigned long anon_rss;	offset:24;	size:8;	signed:0;
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

EVENTS_DIRS = (Path("/sys/kernel/tracing/events"), Path("/sys/kernel/debug/tracing/events"))

_FIELD = re.compile(r"^\s*field:(?P<declaration>[^;]+);\s*offset:(?P<offset>\d+);", re.MULTILINE)
_NAME = re.compile(r"(\w+)(\[.*\])?$")


def find_event(event: str, folders: tuple[Path, ...] = EVENTS_DIRS) -> Path | None:
    """Return the folder of a tracepoint such as "oom:mark_victim", None if there is none."""
    places = (folder / event.replace(":", "/") for folder in folders)
    return next((place for place in places if place.is_dir()), None)


def parse_format(text: str) -> Mapping[str, int]:
    """Return the offset of each field of a tracepoint's record, by the field's name, in bytes."""
    offsets = {}
    for found in _FIELD.finditer(text):
        name = _NAME.search(found["declaration"].strip())
        if name is not None:
            offsets[name[1]] = int(found["offset"])
    return offsets


def read_offsets(event: str, folders: tuple[Path, ...] = EVENTS_DIRS) -> Mapping[str, int]:
    """Return the offsets of a tracepoint's fields; none where this kernel does not have it."""
    place = find_event(event, folders)
    return {} if place is None else parse_format((place / "format").read_text())
