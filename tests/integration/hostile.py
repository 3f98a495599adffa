"""A class that is out for points and for harm, among students who are not: its folder, made."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

LAB = "fib_leak"
SOLUTION = Path(__file__).parents[2] / "instructor" / LAB
PROGRAMS = Path(__file__).with_name("programs") / "hostile"
FIRST_LINE = re.compile(r'/\* hostile: (.+); expects: "(.*)" \*/\n')

HONEST = ("anna", "zoë", '=HYPERLINK("http://x","y"),\'a\'\n<script>alert(1)</script>', "-rf *")
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


def hand_in(folder: Path, source: str | bytes | Path) -> None:
    """Put a program into a student's folder, with right answers beside it."""
    folder.mkdir(parents=True)
    if isinstance(source, Path):
        source = source.read_bytes()
    (folder / f"{LAB}.c").write_bytes(source if isinstance(source, bytes) else source.encode())
    answers = json.loads((SOLUTION / "answers.json").read_text())
    (folder / "answers.json").write_text(json.dumps(answers))


def make_class(folder: Path, programs: list[str]) -> dict[str, str]:
    """Fill a folder with the submissions of a class; return the sentence's words by student.

    Of the honest ones the words are "".
    """
    expected = dict.fromkeys(HONEST, "")
    for number, student in enumerate(HONEST):
        hand_in(folder / student / (LAB if number % 2 else ""), SOLUTION / "solution.c")
    known = list_programs()
    for name in programs:
        hand_in(folder / name, PROGRAMS / f"{name}.c")
        expected[name] = known[name]
    return expected | _hand_in_oddities(folder)


def _hand_in_oddities(folder: Path) -> dict[str, str]:
    """What is no plain file of a program's size, and answers that are none."""
    solution = (SOLUTION / "solution.c").read_bytes()
    secret = folder.parent / "secret.c"
    secret.write_bytes(solution + f"/* {SECRET} */".encode())
    for name in ("link", "pipe", "directory", "nothing"):
        (folder / name).mkdir()
    (folder / "link" / f"{LAB}.c").symlink_to(secret)
    os.mkfifo(folder / "pipe" / f"{LAB}.c")
    (folder / "directory" / f"{LAB}.c").mkdir()
    (folder / "linked").symlink_to(folder / "anna")
    (folder / "linked_lab").mkdir()
    (folder / "linked_lab" / LAB).symlink_to(folder / "anna")
    hand_in(folder / "enormous", solution + b" " * (300 << 10))
    hand_in(folder / "bytes", bytes(range(256)) * 16)
    shutil.copytree(folder / "early_report", folder / "linked_answers")
    (folder / "linked_answers" / "answers.json").unlink()
    (folder / "linked_answers" / "answers.json").symlink_to("/etc/hostname")
    (folder / "deep_answers").mkdir()
    shutil.copy(folder / "early_report" / f"{LAB}.c", folder / "deep_answers")
    (folder / "deep_answers" / "answers.json").write_text("[" * 200000)
    (folder / "read me.txt").write_text("nobody's")
    return {
        "link": "can't be read",
        "pipe": "not a plain file",
        "directory": "not a plain file",
        "nothing": "can't be read",
        "linked": "is a link",
        "linked_lab": "is a link",
        "enormous": "larger than",
        "bytes": "does not build",
        "linked_answers": "line 1 of the output",
        "deep_answers": "line 1 of the output",
    }
