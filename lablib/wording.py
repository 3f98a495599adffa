"""Words for numbers and names, the same in every report."""

from __future__ import annotations

import re


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 block", "1,234 blocks", "2 boxes"."""
    plural = noun + ("es" if noun.endswith("x") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def make_printable(text: str) -> str:
    """Return a text without control characters.

    Names come out of a stranger's files: nothing in them may steer the terminal.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def amount_of(number: float, unit: str) -> str:
    """Return a number with its unit, which is given in the plural: "1 page", "512 pages", "2.5 s".

    Bytes, also "bytes / s", get the next binary unit beside them: "8,192 bytes / s (8 KiB / s)".
    """
    number = int(number) if number == int(number) else float(number)
    digits = _digits_of(number)
    words = f"{digits} {_singular_of(unit) if digits == '1' else unit}".rstrip()
    if re.match(r"bytes\b", unit) and abs(number) >= _BINARY_STEP:
        return f"{words} ({_in_binary_unit(number)}{unit.removeprefix('bytes')})"
    return words


_BINARY_STEP = 1024
_BINARY_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def _digits_of(number: float) -> str:
    """Return a number as people write it: whole, or with two decimals, or two digits if tiny."""
    if isinstance(number, int):
        return f"{number:,}"
    rounded = f"{number:,.2f}" if abs(number) >= 0.1 else f"{number:.2g}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded and "e" not in rounded else rounded


def _singular_of(unit: str) -> str:
    return re.sub(r"(ss)es\b|(\w\w)s\b", r"\1\2", unit, count=1)


def _in_binary_unit(size_bytes: float) -> str:
    size = size_bytes / _BINARY_STEP
    steps = 0
    while abs(size) >= _BINARY_STEP and steps + 1 < len(_BINARY_UNITS):
        size /= _BINARY_STEP
        steps += 1
    return f"{size:,.1f} {_BINARY_UNITS[steps]}".replace(".0 ", " ")
