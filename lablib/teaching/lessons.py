"""The notebooks that are in their folder: the number, title, minutes and question of each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from IPython.display import display

from lablib.language import say

NOTEBOOKS_DIR = Path(__file__).resolve().parents[2] / "notebooks"

_OPENING = re.compile(
    r"# (?P<number>\d\d) · (?P<title>.+?)\n.*?\*[^*\d]+(?P<minutes>\d+)[^*\d]+\*"
    r".*?\*\*[^*]+\*\*\s+(?P<question>.+?)\n\n",
    re.DOTALL,
)


@dataclass(frozen=True)
class Lesson:
    """A notebook by what its first cell says; `path` is its file."""

    number: str
    title: str
    minutes: int
    question: str
    path: Path


def read_lessons(folder: Path = NOTEBOOKS_DIR) -> list[Lesson]:
    """Return the lessons in a folder by number; a notebook that opens in another way is none.

    Their words are in the reader's language.
    """
    lessons = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
        opening = _OPENING.match(say("".join(first)))
        if opening:
            question = " ".join(opening["question"].split())
            lessons.append(
                Lesson(opening["number"], opening["title"], int(opening["minutes"]), question, path)
            )
    return lessons


def show_lessons() -> None:
    """Display a table of the lessons, with a link to each."""
    rows = [
        f"| [{lesson.number} · {lesson.title}]({lesson.path.name}) | {lesson.minutes}"
        f" | {lesson.question} |"
        for lesson in read_lessons()
    ]
    head = f"| {say('notebook')} | {say('minutes')} | {say('its question')} |"
    table = "\n".join([head, "|:---|---:|:---|", *rows])
    display({"text/markdown": table, "text/plain": table}, raw=True)
