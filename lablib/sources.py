"""Where a trace comes from: eBPF where it can be had, else a program that counts its own heap.

`LAB_SOURCE` in the environment asks for one of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from lablib.apps import Instrument
from lablib.errors import PrivilegeError, ToolMissingError, TracerError
from lablib.language import term
from lablib.preload import session
from lablib.preload.interposer import Interposer
from lablib.preload.session import PreloadSession
from lablib.records import TraceOptions
from lablib.tracing import client
from lablib.tracing.client import Symbolizer, Tracer
from lablib.tracing.control import start_service

EBPF, PRELOAD, RECORDED = client.SOURCE, session.SOURCE, "recorded"

_NO_TRACER = (TracerError, ToolMissingError, PrivilegeError)
_DEFAULT_OPTIONS = TraceOptions()


@dataclass(frozen=True)
class Source:
    """The source of a trace that is about to begin, and why it is not eBPF.

    `name` is "ebpf" or "preload"; "recorded" where LAB_SOURCE asks for recordings.
    """

    name: str
    reason: str = ""

    def make_instrument(self, options: TraceOptions = _DEFAULT_OPTIONS) -> Interposer | None:
        """Return what the program has to be started with; None: nothing.

        Raises `ToolMissingError`, `AppError` or `TracerError`.
        """
        return Interposer(options) if self.name == PRELOAD else None


def choose_source(wanted: str = "auto") -> Source:
    """Return the source that is `wanted`; for "auto" the tracer service's, else the preload source.

    For "auto" LAB_SOURCE is asked first. The tracer service runs then, if it is the source. Raises
    what `start_service` raises where it was asked for.
    """
    if wanted == "auto":
        wanted = os.environ.get("LAB_SOURCE", "auto")
    if wanted == RECORDED:
        return Source(RECORDED, term("LAB_SOURCE asks for it"))
    if wanted == PRELOAD:
        return Source(PRELOAD, term("it was asked for"))
    try:
        start_service()
    except _NO_TRACER as error:
        if wanted == EBPF:
            raise
        return Source(PRELOAD, error.sentence)
    return Source(EBPF)


def open_tracer(
    pid: int,
    symbolizer: Symbolizer,
    options: TraceOptions = _DEFAULT_OPTIONS,
    instrument: Instrument | None = None,
) -> Tracer:
    """Return a tracer of process `pid`: by the instrument that it was started with, else by eBPF.

    Raises `TargetError` or `TracerError`.
    """
    if not isinstance(instrument, Interposer):
        return Tracer(pid, symbolizer, options)
    inside = PreloadSession(instrument, pid, symbolizer, options)
    return Tracer(pid, symbolizer, options, inside)
