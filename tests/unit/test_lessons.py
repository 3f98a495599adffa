"""The list of lessons is what the notebooks say of themselves."""

import json

from lablib.teaching import lessons

OPENING = """# 07 · The machine

*About 45 minutes.*

**The question.** Why is nothing
`free`?

At the end of this notebook you can
"""


def write_notebook(path, opening):
    path.write_text(json.dumps({"cells": [{"source": opening.splitlines(keepends=True)}]}))


def test_a_lesson_is_read_from_its_opening(tmp_path):
    path = tmp_path / "07_the_machine.ipynb"
    write_notebook(path, OPENING)
    assert lessons.read_lessons(tmp_path) == [
        lessons.Lesson("07", "The machine", 45, "Why is nothing `free`?", path)
    ]


def test_what_is_no_lesson_is_left_out(tmp_path):
    write_notebook(tmp_path / "08_a_draft.ipynb", "# A draft\n")
    write_notebook(tmp_path / "Untitled.ipynb", OPENING)
    assert lessons.read_lessons(tmp_path) == []


def test_every_notebook_of_the_workbook_is_a_lesson():
    files = sorted(lessons.NOTEBOOKS_DIR.glob("*.ipynb"))
    assert [lesson.path for lesson in lessons.read_lessons()] == files


def test_the_list_has_a_link_to_each(monkeypatch):
    shown = []
    monkeypatch.setattr(lessons, "display", lambda data, raw: shown.append(data["text/markdown"]))
    lessons.show_lessons()
    assert "| [00 · Start here](00_start_here.ipynb) | 10 |" in shown[0]
