"""The index that a page's search reads: a script, because a page from a file may load no data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from bs4 import Tag
from bs4.element import NavigableString

_HEADING = re.compile("^h[1-6]$")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True)
class Section:
    """What stands between one heading of a page and the next, outputs left out."""

    page: str
    anchor: str
    heading: str
    text: str


def list_sections(page: str, content: Tag) -> list[Section]:
    """Return the sections of a page, in order; `page` is where it is in its edition."""
    sections: list[tuple[str, str, list[str]]] = []
    for part in content.descendants:
        if isinstance(part, Tag) and _HEADING.match(part.name):
            sections.append((str(part["id"]), part.get_text(" ", strip=True), []))
        elif isinstance(part, NavigableString) and sections and _is_told(part):
            sections[-1][2].append(str(part))
    return [
        Section(page, anchor, heading, _BLANKS.sub(" ", "".join(parts)).strip())
        for anchor, heading, parts in sections
    ]


def write_index(sections: list[Section], titles: dict[str, str]) -> str:
    """Return the script that gives a page's search the sections and the titles of their pages."""
    rows = [
        [section.page, titles[section.page], section.anchor, section.heading, section.text]
        for section in sections
    ]
    return f"window.labSections = {json.dumps(rows, ensure_ascii=False)};\n"


def _is_told(text: NavigableString) -> bool:
    """Whether a text is the author's: no heading, which is told apart, and no cell's output."""
    return not any(
        _HEADING.match(above.name) or "jp-OutputArea" in above.get_attribute_list("class")
        for above in text.parents
        if isinstance(above, Tag)
    )
