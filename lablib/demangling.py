"""The names of C++ functions as their source has them."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

_MANGLED = "_Z"


@functools.lru_cache(maxsize=4096)
def demangle(symbol: str) -> str:
    """Return "Room::open" for "_ZN4Room4openEm": without parameters, with those of templates.

    What is not a mangled name comes back as it is; so does all of it on a machine without C++'s
    own library, which knows how to.
    """
    demangler = _load_demangler() if symbol.startswith(_MANGLED) else None
    full = demangler(symbol) if demangler else None
    return _without_parameters(full) if full else symbol


@functools.cache
def _load_demangler() -> Callable[[str], str | None] | None:
    try:
        library, libc = ctypes.CDLL("libstdc++.so.6"), ctypes.CDLL(None)
    except OSError:
        return None
    function = library["__cxa_demangle"]
    function.restype = ctypes.c_void_p
    free = libc["free"]
    free.argtypes = [ctypes.c_void_p]

    def run(symbol: str) -> str | None:
        text = function(symbol.encode(), None, None, ctypes.byref(ctypes.c_int()))
        if not text:
            return None
        try:
            return ctypes.string_at(text).decode(errors="replace")
        finally:
            free(text)

    return run


def _without_parameters(full: str) -> str:
    """Cut the last pair of parentheses and what follows it: "f(int (*)(char)) const" is "f"."""
    depth = 0
    for position in range(full.rfind(")"), -1, -1):
        depth += {")": 1, "(": -1}.get(full[position], 0)
        if depth == 0:
            return full[:position] or full
    return full
