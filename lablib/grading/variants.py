"""Variants of labs: a program and questions for each student, drawn from the course's key.

    lab = draw_lab(load_lab("error_path"), key, "ada")

A lab.json says what may differ:

    "parameters": {"SIDE": [160, 200, 240]}     the number of `#define SIDE` in the sources
    "names": {"begin_job": ["begin_job", ...]}  an identifier, in the sources and in all texts
    "sources": ["queue.c", "pool.c"]            programs of which one is handed out; beside each
                                                is a JSON of its own: parameters, names, expected
    "expected": {"computed": "SIDE * SIDE"}     a number that follows from the parameters

The first of each is what lies in labs/. The letters of choices are shuffled too. All follows from
the key, the lab and the student alone, so that the instructor can make each variant again.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lablib.drawing import draw
from lablib.grading.labs import Lab, list_sources, make_lab, read_lab_data
from lablib.grading.rendering import Rendering

__all__ = ["Rendering", "draw_lab", "draw_rendering"]

T = TypeVar("T")


def draw_lab(lab: Lab, key: bytes, student: str, source: str = "") -> Lab:
    """Return a student's variant of a lab that is not one itself.

    Which of several programs it is of is drawn too, where no `source` says so.
    """
    data = draw_data(lab.folder, key, student, source)
    return make_lab(lab.folder, data, draw_rendering(lab.name, data, key, student))


def draw_data(folder: Path, key: bytes, student: str, source: str = "") -> dict[str, Any]:
    """Return the lab.json of a lab's folder, with the program that is a student's, or `source`."""
    sources = list_sources(folder)
    if sources and not source:
        source = draw(key, f"{folder.name}/source/{_normalize(student)}", sources)
    return read_lab_data(folder, source)


def draw_rendering(name: str, data: Mapping[str, Any], key: bytes, student: str) -> Rendering:
    """Return what a student's variant of a lab changes in it; `data` is its lab.json."""
    student = _normalize(student)

    def choose(what: str, choices: Sequence[T]) -> T:
        return draw(key, f"{name}/{what}/{student}", choices)

    numbers, names = (
        {each: choose(each, choices) for each, choices in data.get(what, {}).items()}
        for what in ("parameters", "names")
    )
    letters = {}
    for question in data.get("questions", ()):
        if not question.get("choices"):
            continue
        given = list(question["choices"])
        order = choose(f"letters of {question['name']}", list(itertools.permutations(given)))
        letters[question["name"]] = dict(zip(given, order, strict=True))
    return Rendering(
        numbers,
        names={old: new for old, new in names.items() if new != old},
        letters=letters,
        source=next(iter(data.get("sources", ())), ""),
    )


def _normalize(student: str) -> str:
    """One name can be written in two ways where it has accents: not every system uses the same."""
    return unicodedata.normalize("NFC", student)
