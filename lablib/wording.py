"""Words for numbers and names, the same in every report."""

from __future__ import annotations

import errno
import re
import shlex
import textwrap
from collections.abc import Sequence

from lablib.language import Term, say, term

_OS_REASONS = {
    errno.EACCES: term("Permission denied"),
    errno.EAGAIN: term("Resource temporarily unavailable"),
    errno.EEXIST: term("File exists"),
    errno.EISDIR: term("Is a directory"),
    errno.ENOENT: term("No such file or directory"),
    errno.ENOMEM: term("Cannot allocate memory"),
    errno.ENOSPC: term("No space left on device"),
    errno.ENOTDIR: term("Not a directory"),
    errno.EPERM: term("Operation not permitted"),
    errno.EROFS: term("Read-only file system"),
    errno.ESRCH: term("No such process"),
}
"""What the C library says of the errors that a learner meets."""


def os_reason(error: OSError) -> str:
    """Return why a call to the system failed, as the C library words it, for `say`."""
    return _OS_REASONS.get(error.errno or 0, error.strerror or str(error))


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 block", "1,234 blocks", "2 boxes"."""
    plural = noun + ("es" if noun.endswith("x") else "s")
    return _with_measure(f"{number:,}", noun if number == 1 else plural, noun)


def _with_measure(digits: str, words: str, noun: str) -> str:
    """Return a number with its words; `say` finds those of another language by the noun."""
    return Term(f"{{number}} {noun}", {"number": digits}, f"{digits} {words}".rstrip())


def make_printable(text: str) -> str:
    """Return a text without control characters.

    Names come out of a stranger's files: nothing in them may steer the terminal.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def wrap_command(words: Sequence[str], columns: int = 88) -> str:
    """Return a command as a shell takes it, in lines that end in a backslash but for the last."""
    lines = textwrap.wrap(
        shlex.join(words), columns, break_long_words=False, break_on_hyphens=False
    )
    return " \\\n    ".join(lines)


def amount_of(number: float, unit: str) -> str:
    """Return a number with its unit, which is given in the plural: "1 page", "512 pages", "2.5 s".

    Bytes, also "bytes / s", get the next binary unit beside them: "8,192 bytes / s (8 KiB / s)".
    """
    number = int(number) if number == int(number) else float(number)
    digits = _digits_of(number)
    words = _with_measure(digits, _singular_of(unit) if digits == "1" else unit, unit)
    if re.match(r"bytes\b", unit) and abs(number) >= 1024:
        size = f"{format_size(number)}{unit.removeprefix('bytes')}"
        return term("{amount} ({size})", amount=words, size=size)
    return words


def name_unit(unit: str) -> str:
    """Return a unit of `amount_of` by itself, for the reader."""
    return say(f"{{number}} {unit}", number="").strip()


def _digits_of(number: float) -> str:
    """Return a number as people write it: whole, or with two decimals, or two digits if tiny."""
    if isinstance(number, int):
        return f"{number:,}"
    rounded = f"{number:,.2f}" if abs(number) >= 0.1 else f"{number:.2g}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded and "e" not in rounded else rounded


def _singular_of(unit: str) -> str:
    return re.sub(r"(ss)es\b|(\w\w)s\b", r"\1\2", unit, count=1)


def format_size(size_bytes: float) -> str:
    """Return bytes in the largest binary unit that leaves at least 1: "16 bytes", "132 KiB".

    At most one digit follows the point, and none where it would be a zero.
    """
    if abs(size_bytes) < 1024:
        return count_of(round(size_bytes), "byte")
    units = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    fits = (n for n in range(1, len(units)) if abs(size_bytes) / 1024**n < 1023.95)
    power = next(fits, len(units))
    return f"{size_bytes / 1024**power:,.1f}".removesuffix(".0") + f" {units[power - 1]}"
