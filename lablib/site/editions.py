"""The languages of the site, and what the frame of a page says in each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
    site="The Memory Leak Lab",
    skip="To the content",
    pages="Pages",
    workbook="The workbook",
    more="The labs and the handbook",
    search="Search",
    hint="words of a page, in any order",
    found="Places found: {count}",
    nothing="Nothing has these words.",
    before="Before",
    after="Next",
    ran="This page can be read, but not run. Its cells ran on {date} under Linux {kernel}. What "
    "says that it is recorded was measured earlier, when the recording was made. Buttons, sliders "
    "and live charts work in the workbook itself: ./lab",
    not_run="This page can be read, but not run. Its cells were not run when the site was built, "
    "so they have no outputs. In the workbook itself you run them: ./lab",
)


def list_editions(checkout: Path) -> list[Edition]:
    """Return the languages that the checkout's notebooks are there in, English first."""
    return [Edition("en", "en", "English", checkout / "notebooks", ENGLISH)]
