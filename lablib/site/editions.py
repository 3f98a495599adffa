"""The languages of the site, and what the frame of a page says in each."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from lablib.language import LOCALES, read_translations, term
from lablib.localising import Notebook, write_pages

CHINESE = "zh"


@dataclass(frozen=True)
class Frame:
    """The words around a page's content; `{...}` is filled in when a page is made."""

    site: str
    skip: str
    pages: str
    workbook: str
    more: str
    search: str
    hint: str
    found: str
    nothing: str
    before: str
    after: str
    ran: str
    not_run: str


@dataclass(frozen=True)
class Edition:
    """The workbook in one language: `code` is its folder in the site, `tag` is HTML's `lang`.

    `notebooks` is the folder that holds its notebooks and glossary.
    """

    code: str
    tag: str
    name: str
    notebooks: Path
    frame: Frame


ENGLISH = Frame(
    site=term("The Memory Leak Lab"),
    skip=term("To the content"),
    pages=term("Pages"),
    workbook=term("The workbook"),
    more=term("The labs and the handbook"),
    search=term("Search"),
    hint=term("words of a page, in any order"),
    found=term("Places found: {count}"),
    nothing=term("Nothing has these words."),
    before=term("Before"),
    after=term("Next"),
    ran=term(
        "This page can be read, but not run. Its cells ran on {date} under Linux {kernel}. What "
        "says that it is recorded was measured earlier, when the recording was made. Buttons, "
        "sliders and live charts work in the workbook itself: ./lab"
    ),
    not_run=term(
        "This page can be read, but not run. Its cells were not run when the site was built, "
        "so they have no outputs. In the workbook itself you run them: ./lab"
    ),
)


def make_editions(checkout: Path, made: Path) -> list[Edition]:
    """Return the workbook in each of its languages, English first.

    The notebooks and the glossary of another language are made anew from the English ones and
    their catalogues, in the folder `made`: those that a learner has in the notebooks' own folder
    may have been changed.
    """
    english = checkout / "notebooks"
    chinese = made / CHINESE
    chinese.mkdir(parents=True)
    write_pages(english, chinese, LOCALES[CHINESE], _write)
    return [
        Edition("en", "en", "English", english, ENGLISH),
        Edition(CHINESE, "zh-Hans", "简体中文", chinese, _say_frame(LOCALES[CHINESE])),
    ]


def _write(path: Path, notebook: Notebook) -> None:
    path.write_text(json.dumps(notebook, ensure_ascii=False))


def _say_frame(locale: str) -> Frame:
    said = read_translations(locale)
    words = {field.name: getattr(ENGLISH, field.name) for field in fields(Frame)}
    return Frame(**{name: said.get(text, text) for name, text in words.items()})
