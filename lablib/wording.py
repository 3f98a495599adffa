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
