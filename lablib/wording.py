"""Words for numbers and names, the same in every report."""

from __future__ import annotations


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 block", "1,234 blocks", "2 boxes"."""
    plural = noun + ("es" if noun.endswith("x") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def make_printable(text: str) -> str:
    """Return a text without control characters.

    Names come out of a stranger's files: nothing in them may steer the terminal.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def format_size(size_bytes: int) -> str:
    """Return bytes in the largest binary unit that leaves at least 1: "16 bytes", "132 KiB".

    At most one digit follows the point, and none where it would be a zero.
    """
    if abs(size_bytes) < 1024:
        return count_of(size_bytes, "byte")
    units = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = next(n for n in range(1, len(units) + 1) if abs(size_bytes) / 1024**n < 1023.95)
    return f"{size_bytes / 1024**power:,.1f}".removesuffix(".0") + f" {units[power - 1]}"
