"""The notebook's side of the memory tracer: page faults and memory calls of one process.

    with MemoryTracer(pid, symbolizer) as tracer:
        ...
        trace = tracer.stop()

What counts as one fault is what the kernel counts as one in the process's minor or major faults
(getrusage, /proc/PID/stat). It maps more than one page at some: for a huge page one fault stands
for 512, and for a file the pages in memory around the one that was touched come with it. What gets
its pages without a touch (MAP_POPULATE, mlock, a read by another process) is in the kernel's count
and not here. The faults of a child are not its parent's: trace the child.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lablib.records import (
    MEMORY_CALLS,
    Frame,
    MemoryCall,
    MemoryTrace,
    PageFault,
    Target,
)
from lablib.tracing.client import SOURCE, Symbolizer, ask, connect, open_session, read_command
from lablib.tracing.decoder import StackDecoder, decode_missed, drop_functions
from lablib.tracing.protocol import CALL_FIELDS, FAULT_FIELDS, FAULT_FLAGS

_ALL_FLAGS = sum(FAULT_FLAGS.values())
_KEY_WORDS = 2
_CALL_FUNCTIONS = {*MEMORY_CALLS, "mmap64", "brk_call", "sbrk"}

Words = NDArray[np.uint64]


class MemoryTracer(AbstractContextManager["MemoryTracer"]):
    """A memory tracing session on one live process; a context manager that detaches."""

    def __init__(self, pid: int, symbolizer: Symbolizer, max_faults: int | None = None) -> None:
        """Attach to process `pid`; its page faults and memory calls are recorded from now on.

        `max_faults` is the room for faults that differ in page, sort or stack; beyond it they are
        counted as missed. Raises `TargetError` when the process is gone or not yours, `TracerError`
        when the service does not run, can't attach, or the kernel can't tell of faults.
        """
        self.target = Target(pid, read_command(pid))
        self._connection = connect()
        wanted = {} if max_faults is None else {"max_faults": max_faults}
        try:
            self._description = open_session(
                self._connection, "trace_memory", pid, symbolizer, **wanted
            )
        except BaseException:
            self._connection.close()
            raise
        self._decoder = MemoryDecoder(self._description, symbolizer)

    def __exit__(self, *_: object) -> None:
        """Detach; the target runs on."""
        self._connection.close()

    def read(self) -> MemoryTrace:
        """Return what has happened so far. Works after the target's end."""
        return self._read("read")

    def stop(self) -> MemoryTrace:
        """Stop recording, and return all that has happened until then; then detach."""
        return self._read("stop")

    def _read(self, operation: str) -> MemoryTrace:
        header, payload = ask(self._connection, operation=operation)
        faults, calls = self._decoder.decode(header, payload)
        return MemoryTrace(
            source=SOURCE,
            kernel=os.uname().release,
            target=self.target,
            seconds=(header["now_ns"] - self._description["opened_ns"]) / 1e9,
            faults=faults,
            calls=calls,
            missed_by_reason=decode_missed(header["counters"]),
            stack_floor=self._description["stack_floor"],
            stack_start=self._description["stack_start"],
        )


class MemoryDecoder:
    """Makes records of what one memory session has recorded."""

    def __init__(self, description: Mapping[str, Any], symbolizer: Symbolizer) -> None:
        """Decode what the session of this description sends."""
        self._stacks = StackDecoder(description, symbolizer)
        self._opened_ns = int(description["opened_ns"])
        self._first_break = int(description["first_break"])

    def decode(
        self, header: Mapping[str, Any], payload: bytes
    ) -> tuple[tuple[PageFault, ...], tuple[MemoryCall, ...]]:
        """Return the faults, by the time of the first of each, and the calls by their time."""
        ends = np.cumsum(header["sizes"]).tolist()
        ids, rows, faults, calls = (
            np.frombuffer(payload[start:end], np.uint64)
            for start, end in zip([0, *ends], ends, strict=False)
        )
        stacks = dict(zip(ids.tolist(), rows.reshape(-1, self._stacks.words), strict=True))
        return self._decode_faults(faults, stacks), self._decode_calls(calls, stacks)

    def _decode_faults(self, words: Words, stacks: Mapping[int, Words]) -> tuple[PageFault, ...]:
        frames_by_stack: dict[tuple[int, bool], tuple[Frame, ...]] = {}
        faults = []
        for page_and_flags, stack_id, count, first_ns in _read_rows(words, len(FAULT_FIELDS)):
            flags = {name: bool(page_and_flags & bit) for name, bit in FAULT_FLAGS.items()}
            key = (stack_id, flags["by_kernel"])
            if key not in frames_by_stack:
                frames, _ = self._stacks.resolve(stacks[stack_id])
                is_call = flags["by_kernel"]
                frames_by_stack[key] = frames if is_call else _begin_at_instruction(frames)
            faults.append(
                PageFault(
                    page_address=page_and_flags & ~_ALL_FLAGS,
                    count=count,
                    first_elapsed_s=self._elapsed_s(first_ns),
                    frames=frames_by_stack[key],
                    **flags,
                )
            )
        return tuple(sorted(faults, key=lambda fault: (fault.first_elapsed_s, fault.page_address)))

    def _decode_calls(self, words: Words, stacks: Mapping[int, Words]) -> tuple[MemoryCall, ...]:
        calls = []
        for row in sorted(_read_rows(words, len(CALL_FIELDS))):
            time_ns, thread, name, address, length_bytes, result, stack_id = row
            result = result - (1 << 64) if result >> 63 else result
            if MEMORY_CALLS[name] == "brk":
                length_bytes = result - (length_bytes or self._first_break)
            frames, _ = self._stacks.resolve(stacks[stack_id])
            calls.append(
                MemoryCall(
                    elapsed_s=self._elapsed_s(time_ns),
                    thread=thread,
                    name=MEMORY_CALLS[name],
                    address=address,
                    length_bytes=length_bytes,
                    result=result,
                    frames=drop_functions(_CALL_FUNCTIONS, frames),
                )
            )
        return tuple(calls)

    def _elapsed_s(self, time_ns: int) -> float:
        return (time_ns - self._opened_ns) / 1e9


def _read_rows(words: Words, width: int) -> list[list[int]]:
    """The rows of a table, of which all keys are packed before all values."""
    keys_end = len(words) // width * _KEY_WORDS
    keys = words[:keys_end].reshape(-1, _KEY_WORDS)
    values = words[keys_end:].reshape(-1, width - _KEY_WORDS)
    found: list[list[int]] = np.hstack([keys, values]).tolist()
    return found


def _begin_at_instruction(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The frames of a touch: the first address was told as if the instruction was behind us.

    It was one higher, so that what comes before it is found; functions inlined there share it.
    """
    depth = next((number for number, frame in enumerate(frames) if not frame.inlined), len(frames))
    touched = (dataclasses.replace(frame, offset=frame.offset - 1) for frame in frames[: depth + 1])
    return (*touched, *frames[depth + 1 :])
