"""A class that is out for points and for harm, among students who are not: its folder, made."""

from __future__ import annotations

import os
import re
from pathlib import Path

import submissions
from submissions import INSTRUCTOR, Case

from lablib.grading.labs import ANSWERS

LAB = "fib_leak"
PROGRAMS = Path(__file__).with_name("programs") / "hostile"
FIRST_LINE = re.compile(r'/\* hostile: (.+); expects: "(.*)" \*/\n')

STRANGE = '=cmd("x",1)\n<script>alert(2)<b>'
HONEST = ("anna", "zoë", STRANGE, "-rf *")
"""Students who have handed in the solution; they can't help their names."""

SECRET = "what-nobody-may-read-4711"


def list_programs() -> dict[str, str]:
    """Return what is expected of each hostile program, by its name: words of the sentence."""
    found = {}
    for path in sorted(PROGRAMS.glob("*.c")):
        match = FIRST_LINE.match(path.read_text())
        assert match, path
        found[path.stem] = match[2].replace('\\"', '"')
    return found


def hand_in(folder: Path, source: bytes, answers: str = "{}") -> None:
    """Put a program into a student's folder."""
    folder.mkdir(parents=True)
    (folder / f"{LAB}.c").write_bytes(source)
    (folder / "answers.json").write_text(answers)


def make_class(folder: Path, programs: list[str]) -> dict[str, str]:
    """Fill a folder with the submissions of a class; return the sentence's words by student.

    Of the honest ones the words are "".
    """
    for number, student in enumerate(HONEST):
        case = Case(
            LAB, *(INSTRUCTOR / LAB / each for each in ("solution.patch", ANSWERS)), student
        )
        place = folder / student / (LAB if number % 2 else "")
        place.mkdir(parents=True)
        submissions.hand_in(case, place)
    known = list_programs()
    for name in programs:
        hand_in(folder / name, (PROGRAMS / f"{name}.c").read_bytes())
    return {
        **dict.fromkeys(HONEST, ""),
        **{name: known[name] for name in programs},
        **_hand_in_oddities(folder),
    }


def _hand_in_oddities(folder: Path) -> dict[str, str]:
    """What is no plain file of a program's size, and answers that are none."""
    solution = (folder / HONEST[0] / f"{LAB}.c").read_bytes()
    secret = folder.parent / "secret.c"
    secret.write_bytes(solution + f"/* {SECRET} */".encode())
    early = (PROGRAMS / "early_report.c").read_bytes()
    for name in ("link", "pipe", "linked_lab"):
        (folder / name).mkdir()
    (folder / "link" / f"{LAB}.c").symlink_to(secret)
    os.mkfifo(folder / "pipe" / f"{LAB}.c")
    (folder / "linked").symlink_to(folder / "anna")
    (folder / "linked_lab" / LAB).symlink_to(folder / "anna")
    hand_in(folder / "enormous", solution + b" " * (300 << 10))
    hand_in(folder / "no_text", bytes(range(256)) * 16)
    hand_in(folder / "deep_answers", early, "[" * 200_000)
    (folder / "deep_answers" / f"{LAB}.c").chmod(0o4755)
    (folder / "read me.txt").write_text("nobody's")
    return {
        "link": "can't be read",
        "pipe": "not a plain file",
        "linked": "is a link",
        "linked_lab": "is a link",
        "enormous": "larger than",
        "no_text": "does not build",
        "deep_answers": "line 1 of the output",
    }
