"""The notebook's side of a standstill: the target's threads stopped, its memory to be read."""

from __future__ import annotations

import os
import socket
from contextlib import AbstractContextManager

from lablib.errors import TargetError
from lablib.language import term
from lablib.tracing.holder import split_threads
from lablib.tracing.protocol import (
    MAX_REPLY_BYTES,
    read_error,
    receive,
    receive_descriptor,
    send,
)


class Standstill(AbstractContextManager["Standstill"]):
    """The target of a session, standing still; a context manager that lets it go on.

    `threads` are its threads with their registers, `memory` a descriptor of /proc/PID/mem for
    reading, `began_ns` a time (monotonic) after the last allocation before the standstill and not
    after the first one behind it. `seconds` is how long it took, once it is over.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Have the service hold the target of this session; raises `TargetError`."""
        self._connection = connection
        self._is_over = False
        self.seconds = 0.0
        send(connection, {"operation": "hold"})
        answer = receive(connection, MAX_REPLY_BYTES, MAX_REPLY_BYTES)
        if answer is None:
            raise TargetError(term("the tracer service ended the session"))
        header, registers = answer
        if "refusal" in header:
            raise read_error(header["refusal"])
        self.memory = receive_descriptor(connection)
        self.began_ns = int(header["now_ns"])
        self.threads = split_threads(header["threads"], registers)

    def __exit__(self, *_: object) -> None:
        """Let the target go on, however it went."""
        if not self._is_over:
            self._resume()

    def end(self) -> None:
        """Let the target go on; raises `TargetError` where it did not stand still up to now."""
        if not self._resume():
            raise TargetError(
                term("the process did not stand still long enough for its memory to be read"),
                term("try again when this machine has less to do"),
            )

    def _resume(self) -> bool:
        self._is_over = True
        os.close(self.memory)
        send(self._connection, {"operation": "resume"})
        answer = receive(self._connection, MAX_REPLY_BYTES)
        held_s = answer[0].get("held_s") if answer else None
        self.seconds = held_s or 0.0
        return held_s is not None
