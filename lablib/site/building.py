"""Build the site: each edition's pages, their search, and what they share, into a folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from bs4 import Tag
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from lablib.errors import LabError
from lablib.site.checking import check_links
from lablib.site.editions import Edition
from lablib.site.rendering import read_markdown, read_title, render_content
from lablib.site.running import RAN, Job, run_notebooks
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
    outputs, unless that was done before (`run_notebooks`); without, their cells have none, and
    their pages say so. `tell` is told what was done. Raises `LabError` where a notebook fails,
    where a link would lead nowhere, and where the folder holds something else; what was in the
    folder stays there then.
    """
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise LabError(f"{folder} holds something else than a site", "give another folder")
    if runs:
        _run_all(checkout, editions, tell)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        draft = Path(place) / folder.name
        pages = _write_site(checkout, draft, editions, runs)
        check_links(draft)
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    return Site(folder, folder / "index.html", pages)


def _run_all(checkout: Path, editions: Sequence[Edition], tell: Callable[[str], None]) -> None:
    jobs = [
        Job(source.path, _kept_file(checkout, edition, source), edition.code)
        for edition in editions
        for source in list_workbook(edition.notebooks)
        if source.is_notebook
    ]
    run_notebooks(
        jobs, checkout, lambda job, left: tell(f"{job.path.stem} ({job.language}), {left} left")
    )


def _kept_file(checkout: Path, edition: Edition, source: Source) -> Path:
    return checkout / ".lab" / "site" / edition.code / source.path.name


def _write_site(checkout: Path, folder: Path, editions: Sequence[Edition], runs: bool) -> int:
    """Write all files of the site, and return how many pages it has beside the first."""
    folder.mkdir()
    (folder / MARK).write_text("made by ./lab site; the next one takes its place\n")
    pages = []
    pictures: dict[str, Path] = {}
    places = _list_places(checkout, editions)
    for edition in editions:
        known = {**places[editions[0].code], **places[edition.code]}
        for source, is_workbook in _list_sources(checkout, edition, edition is editions[0]):
            notebook = _read(source, checkout, edition, runs)
            place = f"{edition.code}/{source.page}"
            content = render_content(notebook, Links(source.name, place, known, checkout, pictures))
            note = _note(notebook, edition) if source.is_notebook else ""
            pages.append(_Page(edition, source, content, read_title(content), note, is_workbook))
    _write_pages(folder, pages, editions)
    for place, picture in pictures.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder / place)
    return len(pages)


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
    path = _kept_file(checkout, edition, source) if runs else source.path
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    return notebook


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
