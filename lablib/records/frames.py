"""One frame of a call stack."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """One frame of a call stack, resolved as far as the binary allows.

    `offset` is the return address's distance in bytes from the start of `function`, as other
    tracers print it, or from the start of the file `module` when the function isn't known. `line`
    is the line of the call, not of the instruction behind it. An inlined function has no offset of
    its own: it gets the one of the function that it was inlined into.
    """

    function: str | None
    module: str
    offset: int
    file: str | None = None
    line: int | None = None
    inlined: bool = False

    def __str__(self) -> str:
        """`function+0x1f (file.c:14)`, or what is known of it."""
        name = f"{self.function or '[unknown]'}+{self.offset:#x}"
        where = f"{self.file}:{self.line}" if self.file and self.line else self.module
        return f"{name} ({where}{', inlined' if self.inlined else ''})"
