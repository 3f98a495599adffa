"""Records as JSON values and back again, by the types of their fields.

    {"kind": "ProcessSizes", "fields": {"elapsed_s": 0.2, "rss_bytes": 4096, ...}}

A text for the reader that `term` has made stays one: its template and fields are written beside
the English. Whatever is no such thing is refused with a `ValueError`.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from lablib.language import Said, Term, pack_text, unpack_text
from lablib.records import (
    AddressSpace,
    CappedRun,
    CgroupMemory,
    Comparison,
    ContainerEnd,
    Frame,
    HeapMap,
    HeapSnapshot,
    HeapTrace,
    MemleakReport,
    MemoryPressure,
    MemoryTrace,
    PressureTrace,
    ProcessSizes,
    Rehearsal,
    RehearsalRound,
    ResidentPages,
    ServiceEnd,
    ServiceSample,
    SymbolCures,
    TimelineEntry,
    ToolMatrix,
    Vma,
    VmstatSample,
)

RECORDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(HeapTrace, HeapSnapshot, MemoryTrace, MemleakReport, SymbolCures, Comparison),
        *(ProcessSizes, AddressSpace, ResidentPages, HeapMap, VmstatSample),
        *(CgroupMemory, MemoryPressure, PressureTrace),
        *(CappedRun, ContainerEnd, ToolMatrix),
        *(Rehearsal, RehearsalRound, ServiceEnd, ServiceSample, TimelineEntry),
    )
}
"""What can be told apart in a file, by name; their fields hold other records by their types."""

_SHARED = (Frame, Vma)
"""Records that many others hold: each is written once, and named by its number."""

_PLAIN = (bool, int, float, str, type(None))
_CONTAINERS: dict[str, type] = {"list": list, "tuple": tuple}


class Encoder:
    """Turns values into what JSON can say; what they share is in `shared` then."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    @property
    def shared(self) -> list[Any]:
        """The records that are shared so far, in the order of their numbers."""
        return [[type(each).__name__, self._fields(each)] for each in self._numbers]

    def encode(self, value: Any) -> dict[str, Any]:
        """Return a value, with its kind: one of `RECORDS`, a list, tuple or dict of such, or plain.

        Raises `ValueError` for anything else.
        """
        kind = type(value).__name__
        if RECORDS.get(kind) is type(value):
            return {"kind": kind, "fields": self._fields(value)}
        if type(value) in _CONTAINERS.values():
            return {"kind": kind, "items": [self.encode(each) for each in value]}
        if type(value) is dict and all(type(key) is str for key in value):
            return {"kind": kind, "items": {key: self.encode(each) for key, each in value.items()}}
        if type(value) in (*_PLAIN, Term, Said):
            return {"kind": "plain", "value": self._encode_field(value)}
        raise ValueError(f"a {kind} can't be recorded")

    def _fields(self, record: Any) -> dict[str, Any]:
        return {
            field.name: self._encode_field(getattr(record, field.name))
            for field in dataclasses.fields(record)
        }

    def _encode_field(self, value: Any) -> Any:
        if isinstance(value, _SHARED):
            return self._numbers.setdefault(value, len(self._numbers))
        if dataclasses.is_dataclass(value):
            return self._fields(value)
        if isinstance(value, tuple):
            return [self._encode_field(each) for each in value]
        if isinstance(value, Mapping):
            return {key: self._encode_field(each) for key, each in value.items()}
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        if isinstance(value, str):
            return pack_text(value)
        if isinstance(value, _PLAIN):
            return value
        raise ValueError(f"a {type(value).__name__} can't be recorded")


class Decoder:
    """Turns what an `Encoder` has made back into values."""

    def __init__(self, shared: list[Any]) -> None:
        """Read what the values share."""
        kinds = {kind.__name__: kind for kind in _SHARED}
        self._shared: list[Any] = []
        for kind, fields in shared:
            self._shared.append(self._make(kinds[kind], fields))

    def decode(self, encoded: Any) -> Any:
        """Return the value; raises `ValueError`, `TypeError`, `KeyError` or `IndexError`."""
        kind = encoded["kind"]
        if kind in RECORDS:
            return self._make(RECORDS[kind], encoded["fields"])
        if kind in _CONTAINERS:
            return _CONTAINERS[kind](self.decode(each) for each in encoded["items"])
        if kind == "dict":
            return {key: self.decode(each) for key, each in encoded["items"].items()}
        if kind == "plain":
            value = encoded["value"]
            return value if isinstance(value, _PLAIN) else unpack_text(value)
        raise ValueError(f"nothing is known of the kind {kind}")

    def _make(self, record: type, fields: Any) -> Any:
        types_by_name = _read_types(record)
        return record(
            **{
                name: self._decode_field(types_by_name[name], value)
                for name, value in fields.items()
            }
        )

    def _decode_field(self, wanted: Any, value: Any) -> Any:
        origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
        if origin in (types.UnionType, typing.Union):
            if value is None and type(None) in arguments:
                return None
            (wanted,) = (each for each in arguments if each is not type(None))
            return self._decode_field(wanted, value)
        if origin is tuple:
            return tuple(self._decode_field(arguments[0], each) for each in value)
        if origin is Mapping:
            return {key: self._decode_field(arguments[1], each) for key, each in value.items()}
        if wanted in _SHARED:
            if value < 0:
                raise ValueError("a number that no shared record has")
            return self._shared[value]
        if dataclasses.is_dataclass(wanted):
            return self._make(typing.cast(type, wanted), value)
        if wanted is bytes:
            return base64.b64decode(value, validate=True)
        if type(value) is wanted or (wanted is float and type(value) is int):
            return value
        if wanted is str and type(value) is dict:
            return unpack_text(value)
        raise ValueError(f"{value!r} is no {wanted}")


@functools.cache
def _read_types(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record)
