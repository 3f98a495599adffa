"""The scripts of this package's tables in the browser, and the part that they have in common."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def read_script(name: str) -> str:
    """Return the module that a widget sends to the browser: elements.js, then the script `name`.

    A widget's module is one text, and can import no other one of ours.
    """
    return "\n".join((_FOLDER / part).read_text(encoding="utf-8") for part in ("elements.js", name))
