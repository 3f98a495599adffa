"""An output of a program in the sandbox, read as it comes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import IO

_CHUNK_BYTES = 1 << 16
_LOOK_AGAIN = 1.5


class Stream(threading.Thread):
    """Reads an output to its end, keeping the first so many bytes; more of it is too much.

    `on_too_long` is called then, and `look` with the first bytes and whenever there is half as much
    again.
    """

    def __init__(
        self,
        stream: IO[bytes],
        limit_bytes: int,
        on_too_long: Callable[[], object],
        look: Callable[[], object] | None,
    ) -> None:
        super().__init__(daemon=True)
        self._stream, self._limit_bytes, self._on_too_long = stream, limit_bytes, on_too_long
        self._look, self._look_at_bytes = look, 1.0
        self._kept = bytearray()
        self.is_too_long = False
        self.start()

    @property
    def text(self) -> str:
        """What it has kept, once it was read to its end."""
        return self._kept.decode(errors="replace")

    def run(self) -> None:
        """Read it; this is the thread's."""
        with self._stream:
            while chunk := os.read(self._stream.fileno(), _CHUNK_BYTES):
                self._kept += chunk[: self._limit_bytes - len(self._kept)]
                if self._look and len(self._kept) >= self._look_at_bytes:
                    self._look()
                    self._look_at_bytes = _LOOK_AGAIN * len(self._kept)
                if len(self._kept) >= self._limit_bytes and not self.is_too_long:
                    self.is_too_long = True
                    self._on_too_long()
