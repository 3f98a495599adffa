"""Which files become pages of the site, where in it they are, and where their links lead."""

from __future__ import annotations

import posixpath
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

HANDBOOK = ("learners", "installing", "tracing", "what-works-where")
"""The pages of docs/ that a reader of the workbook has use for."""

_PICTURES = {".png", ".svg", ".jpg"}


@dataclass(frozen=True)
class Source:
    """A file that becomes a page: its name in the checkout is that of the page, but for the end."""

    name: str
    path: Path

    @property
    def page(self) -> str:
        """Return the page's place in its edition: `docs/learners.html`, `labs/index.html`."""
        name = PurePosixPath(self.name)
        stem = "index" if name.stem == "README" else name.stem
        return str(name.with_name(f"{stem}.html"))

    @property
    def is_notebook(self) -> bool:
        """Whether the page is made from a notebook."""
        return self.path.suffix == ".ipynb"


def list_workbook(notebooks: Path) -> list[Source]:
    """Return the notebooks of a folder in their order, and the glossary, if they are there."""
    paths = sorted(notebooks.glob("[0-9][0-9]_*.ipynb")) + sorted(notebooks.glob("glossary.md"))
    return [Source(f"notebooks/{path.name}", path) for path in paths]


def list_handbook(checkout: Path) -> list[Source]:
    """Return the pages beside the workbook, which are there in English only; labs by number."""
    labs = sorted(checkout.glob("labs/*/README.md"), key=_read_number)
    docs = [checkout / "docs" / f"{stem}.md" for stem in HANDBOOK]
    paths = [*docs, checkout / "labs" / "README.md", *labs]
    return [Source(str(path.relative_to(checkout)), path) for path in paths]


def _read_number(lab: Path) -> int:
    found = re.match(r"# Lab (\d+)", lab.read_text())
    return int(found[1]) if found else sys.maxsize


@dataclass
class Links:
    """Leads the links of one page to other pages; pictures that it shows are noted for copying.

    `pages` has the page, from the site's folder, of each file of the checkout that has one.
    """

    source: str
    page: str
    pages: dict[str, str]
    checkout: Path
    pictures: dict[str, Path] = field(default_factory=dict)

    def lead(self, target: str) -> str | None:
        """Return where a link leads, or None where the site has no such page.

        What leads out of the site, by an address of its own, stays as it is.
        """
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            return target
        if not parts.path:
            return f"#{slug(parts.fragment)}"
        page = self.pages.get(self._name(parts.path))
        if page is None:
            return None
        return self._from_here(page) + (f"#{slug(parts.fragment)}" if parts.fragment else "")

    def show(self, target: str) -> str:
        """Return where a picture of the checkout is in the site; other addresses as they are."""
        name = self._name(urlsplit(target).path)
        path = self.checkout / name
        if urlsplit(target).scheme or path.suffix not in _PICTURES or not path.is_file():
            return target
        self.pictures[f"assets/{name}"] = path
        return self._from_here(f"assets/{name}")

    def _name(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.source), unquote(path)))

    def _from_here(self, page: str) -> str:
        return posixpath.relpath(page, posixpath.dirname(self.page))


def slug(heading: str) -> str:
    """Return the id of a heading: its letters and figures, small, with hyphens between words."""
    kept = "".join(letter for letter in unquote(heading) if letter.isalnum() or letter in " -_")
    return kept.strip().lower().replace(" ", "-")
