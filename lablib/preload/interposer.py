"""What a program is started with so that it counts its heap itself: an environment, and a segment.

with Interposer() as interposer, HeldProgram(command, environment=interposer.environment()):
    ...
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager

from lablib.preload.building import build_interposer
from lablib.preload.segment import Segment
from lablib.records import TraceOptions

MAX_STACKS = 16 * 1024
MAX_BLOCKS = 4 * 1024 * 1024

_DEFAULT_OPTIONS = TraceOptions()


class Interposer(AbstractContextManager["Interposer"]):
    """The interposer for one program that is about to be started.

    It is a context manager: the program may outlive it, and then counts for nobody.
    """

    def __init__(self, options: TraceOptions = _DEFAULT_OPTIONS) -> None:
        """Compile it if need be, and make the segment, as large as the options say.

        Raises `ToolMissingError` without a compiler, `AppError`, and `TracerError`.
        """
        self.library = build_interposer()
        self.segment = Segment(options.max_stacks or MAX_STACKS, options.max_blocks or MAX_BLOCKS)
        self._descriptor = os.open(self.library, os.O_RDONLY | os.O_CLOEXEC)

    def __exit__(self, *_: object) -> None:
        """Let go of the segment."""
        self.close()

    def close(self) -> None:
        """Let go of the segment; safe more than once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self.segment.close()

    def settings(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return the variables that the program needs; other preloaded libraries stay.

        Both name open files of this process: a path of theirs might have a space in it.
        """
        files = f"/proc/{os.getpid()}/fd"
        others = environment.get("LD_PRELOAD", "")
        library = f"{files}/{self._descriptor}"
        return {
            "LD_PRELOAD": f"{library}:{others}" if others else library,
            "LAB_PRELOAD": f"{files}/{self.segment.descriptor}",
        }

    def environment(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return an environment with these settings in it."""
        return {**environment, **self.settings(environment)}
