"""Drawing: a choice that follows from a key and what is chosen, on every machine and for ever."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def draw(key: bytes, what: str, choices: Sequence[T]) -> T:
    """Return one of `choices`: by the HMAC-SHA-256 of `what`, the UTF-8 of it, keyed with `key`.

    The same three give the same choice with every version of Python; without the key nobody can
    foretell it.
    """
    drawn = hmac.new(key, what.encode(), hashlib.sha256).digest()
    return choices[int.from_bytes(drawn, "big") % len(choices)]
