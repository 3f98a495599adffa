"""The workbook in another language: notebooks made from the English ones and their catalogues.

The glossary is made in the same way, section by section. Code cells stay as they are, to the byte;
only text cells become others. The texts in code are looked up when they are shown
(`lablib.language`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lablib.language import TRANSLATIONS_DIR, read_catalogue

FOLDERS = {"zh_CN": "zh"}
"""The folder, inside that of the notebooks, that has those of a locale."""

GLOSSARY = "glossary"
"""The glossary's file among the notebooks, and its catalogue, without their endings."""

Notebook = dict[str, Any]


def translate_notebook(
    notebook: Notebook, translations: Mapping[str, str], locale: str
) -> Notebook:
    """Return a notebook with its text cells in another language, and without outputs.

    A text that `translations` lacks stays English. The metadata name the locale, and hold a
    fingerprint of the cells as they were made.
    """
    cells = [_translate_cell(cell, translations) for cell in notebook["cells"]]
    made = {**notebook, "cells": cells}
    told = {"locale": locale, "made": fingerprint(made)}
    made["metadata"] = {**notebook["metadata"], "memory_leak_lab": told}
    return made


def _translate_cell(cell: dict[str, Any], translations: Mapping[str, str]) -> dict[str, Any]:
    if cell["cell_type"] != "markdown":
        return dict(cell)
    source = "".join(cell["source"])
    return {**cell, "source": translations.get(source, source).splitlines(keepends=True)}


def split_sections(text: str) -> list[str]:
    """Return the parts of a Markdown text, each but the first with its heading of third level."""
    return re.split(r"\n+(?=### )", text.rstrip())


def translate_sections(text: str, translations: Mapping[str, str]) -> str:
    """Return a Markdown text in another language; a section without translation stays English."""
    sections = [translations.get(section, section) for section in split_sections(text)]
    return "\n\n".join(sections) + "\n"


def write_pages(
    notebooks: Path, folder: Path, locale: str, put: Callable[[Path, Notebook], None]
) -> None:
    """Make the notebooks and the glossary of a locale for a folder; `put` writes a notebook."""
    for source in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        english = json.loads(source.read_text(encoding="utf-8"))
        made = translate_notebook(english, _read_catalogue(source.stem, locale), locale)
        put(folder / source.name, made)
    glossary = (notebooks / f"{GLOSSARY}.md").read_text(encoding="utf-8")
    translated = translate_sections(glossary, _read_catalogue(GLOSSARY, locale))
    (folder / f"{GLOSSARY}.md").write_text(translated, encoding="utf-8")


def _read_catalogue(name: str, locale: str) -> Mapping[str, str]:
    path = TRANSLATIONS_DIR / locale / f"{name}.po"
    return read_catalogue(path) if path.exists() else {}


def fingerprint(notebook: Notebook) -> str:
    """Return a digest of what stands in a notebook's cells, with the outputs of a run."""
    cells = [
        (cell["cell_type"], "".join(cell["source"]), cell.get("outputs", []))
        for cell in notebook["cells"]
    ]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def make_workbook(notebooks: Path, locale: str) -> tuple[Path, list[Path]]:
    """Make the notebooks of a locale, and return their folder and the learner's copies set aside.

    A notebook that is there stays as it is, with whatever the learner did in it, until the English
    one or its translation has changed. Then there is a new one; the old one is kept beside it under
    a name that begins with "my_" if it was run or edited.
    """
    folder = notebooks / FOLDERS[locale]
    folder.mkdir(exist_ok=True)
    set_aside: list[Path] = []

    def put(path: Path, made: Notebook) -> None:
        kept = _put(path, made)
        set_aside.extend([kept] if kept is not None else [])

    write_pages(notebooks, folder, locale, put)
    return folder, set_aside


def _put(path: Path, made: Notebook) -> Path | None:
    """Write a notebook if it is new; return where what the learner had there is kept, if it is."""
    kept = None
    if path.exists():
        present = _read(path)
        was_made = present.get("metadata", {}).get("memory_leak_lab", {}).get("made")
        if was_made == made["metadata"]["memory_leak_lab"]["made"]:
            return None
        if not present.get("cells") or was_made != fingerprint(present):
            kept = _find_free(path)
            path.rename(kept)
    text = json.dumps(made, ensure_ascii=False, indent=1) + "\n"
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return kept


def _read(path: Path) -> Notebook:
    """Return a notebook's JSON; what is none counts as the learner's own."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _find_free(path: Path) -> Path:
    number = 1
    while (copy := path.with_name(f"my_{path.stem}{f'_{number}' * (number > 1)}.ipynb")).exists():
        number += 1
    return copy
