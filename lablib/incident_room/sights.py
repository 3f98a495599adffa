"""What can be seen of a service that runs: by the kernel's account, and by the tracer's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from lablib.errors import GradingError
from lablib.incident_room.rehearsal import try_scan
from lablib.incident_room.service import Service
from lablib.language import say, term
from lablib.records import HeapSnapshot, Rehearsal, ServiceEnd
from lablib.resources import read_resources
from lablib.tracing.client import Tracer
from lablib.wording import count_of, format_size


def look_at(service: Service) -> dict[str, int | float]:
    """Return what the kernel counts of a service now; `IncidentRoom.look` says what.

    Raises `GradingError` where it has ended.
    """
    resources = read_resources(service.pid)
    try:
        mappings = Path(f"/proc/{service.pid}/maps").read_bytes().count(b"\n")
    except OSError:
        resources = None
    if resources is None:
        raise GradingError(term("the service has ended"), term("start it: room.start_service()"))
    rss_bytes = resources.rss_anon_bytes + resources.rss_file_bytes
    return {
        "resident": rss_bytes + resources.rss_shared_bytes,
        "anonymous": resources.rss_anon_bytes,
        "address space": resources.vm_size_bytes,
        "charged": service.read_charged() or 0,
        "cap": service.limit_bytes,
        "mappings": mappings,
        "threads": resources.threads,
        "open files": resources.open_files or 0,
        "terms": service.count_terms(),
        "up": round(service.up_s, 1),
    }


def word_look(seen: dict[str, int | float]) -> str:
    """Return the sentence on what `look_at` has seen."""
    return say(
        "After {terms:,} terms it holds {size} in {mappings}.",
        terms=seen["terms"],
        size=format_size(seen["resident"]),
        mappings=count_of(int(seen["mappings"]), "mapping"),
    )


def word_end(end: ServiceEnd) -> str:
    """Return the sentence on how a service has ended."""
    if end.is_oom_killed:
        return say(
            "The kernel killed the service for want of memory, after {terms:,} terms: "
            "{seconds:,.0f} s at the rate of the service.",
            terms=end.terms,
            seconds=end.service_s,
        )
    return say(
        "The service ended, with exit code {code}: {line}",
        code=end.exit_code,
        line=end.last_line,
    )


def follow_heap(tracer: Tracer, seconds: float, interval_s: float) -> Iterator[HeapSnapshot]:
    """Yield a heap every `interval_s`, for so long; then look for lost blocks."""
    yield (shot := tracer.snapshot())  # the first one takes long: all symbols are new
    end_s = time.monotonic() + seconds
    while True:
        if time.monotonic() >= end_s or not shot.is_running:
            break
        time.sleep(min(interval_s, max(0.01, end_s - time.monotonic())))
        yield (shot := tracer.snapshot())
    if shot.is_running:
        try_scan(tracer)


def word_rehearsal(rehearsal: Rehearsal, terms: int) -> str:
    """Return the sentence on what was seen ahead of time, looked at every so many terms."""
    seen = rehearsal.rounds
    sentence = (
        say(
            "Ahead of time: {first} after {terms:,} terms, {last} after {last_terms:,}.",
            first=format_size(seen[0].rss_bytes),
            terms=seen[0].terms,
            last=format_size(seen[-1].rss_bytes),
            last_terms=seen[-1].terms,
        )
        if seen
        else say("Ahead of time it did not come to {terms:,} terms.", terms=terms)
    )
    if rehearsal.ended_early:
        sentence += say(" It ended early: {why}", why=rehearsal.ended_early)
    return sentence
