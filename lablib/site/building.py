"""Build the site: each edition's pages, their search, and what they share, into a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from bs4 import Tag
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from lablib.errors import LabError
from lablib.site.editions import Edition
from lablib.site.rendering import read_markdown, read_title, render_content
from lablib.site.running import RAN, run_for_site
from lablib.site.searching import Section, list_sections, write_index
from lablib.site.sources import Links, Source, list_handbook, list_workbook

MARK = "memory-leak-lab-site"
"""A file in each built site: a folder without it, and with something in it, is not overwritten."""

# Its colours are told apart from the page by more than 4.5 to 1, as WCAG's level AA wants it.
_CODE_STYLE = "xcode"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Site:
    """A site that was built: its folder, its first page, and how many pages it has."""

    folder: Path
    first_page: Path
    pages: int


@dataclass(frozen=True)
class _Page:
    """A page before it has its frame: `place` is from the site's folder."""

    edition: Edition
    source: Source
    content: Tag
    title: str
    note: str
    is_workbook: bool

    @property
    def place(self) -> str:
        return f"{self.edition.code}/{self.source.page}"


def build_site(
    checkout: Path,
    folder: Path,
    editions: Sequence[Edition],
    runs: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Site:
    """Write the site of these editions to `folder`, in place of one that is there, and return it.

    The first edition has the labs and the handbook too. With `runs`, notebooks are run for their
    outputs, unless that was done before (`run_for_site`); without, their cells have none, and their
    pages say so. `tell` is told what is worked on. Raises `LabError` where a notebook fails, and
    where the folder holds something else.
    """
    _clear(folder)
    pages = []
    pictures: dict[str, Path] = {}
    places = _list_places(checkout, editions)
    for edition in editions:
        for source, is_workbook in _list_sources(checkout, edition, edition is editions[0]):
            tell(f"{edition.name}: {source.name}")
            notebook = _read(source, checkout, edition, runs)
            links = Links(
                source.name,
                f"{edition.code}/{source.page}",
                {**places[editions[0].code], **places[edition.code]},
                checkout,
                pictures,
            )
            content = render_content(notebook, links)
            note = _note(notebook, edition) if source.is_notebook else ""
            pages.append(_Page(edition, source, content, read_title(content), note, is_workbook))
    tell("the pages")
    _write_pages(folder, pages, editions)
    for place, picture in pictures.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder / place)
    return Site(folder, folder / "index.html", len(pages))


def _clear(folder: Path) -> None:
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARK).exists():
            raise LabError(f"{folder} holds something else than a site", "give another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).write_text("made by ./lab site; the next one takes its place\n")


def _list_sources(
    checkout: Path, edition: Edition, has_handbook: bool
) -> list[tuple[Source, bool]]:
    handbook = list_handbook(checkout) if has_handbook else []
    workbook = list_workbook(edition.notebooks)
    return [(source, True) for source in workbook] + [(source, False) for source in handbook]


def _list_places(checkout: Path, editions: Sequence[Edition]) -> dict[str, dict[str, str]]:
    return {
        edition.code: {
            source.name: f"{edition.code}/{source.page}"
            for source, _ in _list_sources(checkout, edition, edition is editions[0])
        }
        for edition in editions
    }


def _read(source: Source, checkout: Path, edition: Edition, runs: bool) -> NotebookNode:
    if not source.is_notebook:
        return read_markdown(source.path)
    if not runs:
        notebook: NotebookNode = nbformat.read(source.path, as_version=4)
        return notebook
    kept = checkout / ".lab" / "site" / edition.code / source.path.name
    return run_for_site(source.path, kept, checkout, edition.code)


def _note(notebook: NotebookNode, edition: Edition) -> str:
    ran = notebook.metadata.get(RAN)
    if ran is None:
        return edition.frame.not_run
    return edition.frame.ran.format(date=ran["date"], kernel=ran["kernel"])


def _write_pages(folder: Path, pages: list[_Page], editions: Sequence[Edition]) -> None:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined
    )
    frame = environment.get_template("page.html")
    by_place = {page.place: page for page in pages}
    for edition in editions:
        own = [page for page in pages if page.edition is edition]
        sections: list[Section] = []
        for number, page in enumerate(own):
            sections += list_sections(page.source.page, page.content)
            path = folder / page.place
            path.parent.mkdir(parents=True, exist_ok=True)
            up = "../" * page.place.count("/")
            others = [
                (other, f"{up}{place}")
                for other in editions
                if other is not edition
                and (place := f"{other.code}/{page.source.page}") in by_place
            ]
            text = frame.render(
                edition=edition,
                words=edition.frame,
                page=page,
                content=page.content.decode_contents(),
                up=up,
                workbook=[each for each in pages if each.is_workbook and each.edition is edition],
                more=[each for each in pages if not each.is_workbook],
                others=others,
                before=own[number - 1] if number else None,
                after=own[number + 1] if number + 1 < len(own) else None,
            )
            path.write_text(text)
        titles = {page.source.page: page.title for page in own}
        (folder / edition.code / "search.js").write_text(write_index(sections, titles))
    _write_start(folder, pages, editions, environment)
    for name in ("site.css", "site.js"):
        shutil.copy(_HERE / name, folder / name)
    styles = HtmlFormatter(style=_CODE_STYLE).get_style_defs(".highlight")
    (folder / "code.css").write_text(f"{styles}\n")


def _write_start(
    folder: Path, pages: list[_Page], editions: Sequence[Edition], environment: Environment
) -> None:
    start = environment.get_template("start.html")
    books = [(edition, [page for page in pages if page.edition is edition]) for edition in editions]
    (folder / "index.html").write_text(start.render(books=books))
