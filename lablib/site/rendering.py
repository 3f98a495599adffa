"""A notebook or a Markdown file as the content of a page, with links that lead within the site."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from traitlets.config import Config

from lablib.site.sources import Links, slug

# A widget needs its kernel: what it leaves for a page without one is shown instead.
_SHOWN = ["text/html", "image/svg+xml", "image/png", "text/markdown", "text/plain"]
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
_REPR = re.compile(r"\w+\(.*=", re.DOTALL)
_HEADING = re.compile("^h[1-6]$")


def read_markdown(path: Path) -> NotebookNode:
    """Return a Markdown file as a notebook of one cell."""
    cell = nbformat.v4.new_markdown_cell(path.read_text())
    notebook: NotebookNode = nbformat.v4.new_notebook(cells=[cell])
    return notebook


def render_content(notebook: NotebookNode, links: Links) -> Tag:
    """Return what a page shows of a notebook: each heading has an id, each link leads somewhere.

    A link to a file that is no page of the site becomes plain text.
    """
    exported, _ = _exporter().from_notebook_node(_describe_widgets(notebook))
    content = BeautifulSoup(exported, "html.parser").select_one("main")
    assert content is not None
    _level_headings(content)
    _name_headings(content)
    _lead_links(content, links)
    _mend_tables(content)
    _box_what_is_wide(content)
    return content


def _describe_widgets(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook in which a widget that leaves only its repr leaves what it had instead."""
    described = copy.deepcopy(notebook)
    saved = described.metadata.get("widgets", {}).get(_WIDGET_STATE, {}).get("state", {})
    for cell in described.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            model = data.get(_WIDGET_VIEW, {}).get("model_id")
            if model in saved and _REPR.match(data.get("text/plain", "")):
                data["text/plain"] = "\n".join(_describe_widget(saved, model))
    return described


def _describe_widget(saved: dict[str, NotebookNode], model: str) -> Iterator[str]:
    state = saved[model]["state"]
    if state.get("description"):
        value = f": {state['value']}" if state.get("value") is not None else ""
        yield f"{state['description']}{value}"
    for child in state.get("children", []):
        yield from _describe_widget(saved, child.removeprefix("IPY_MODEL_"))


def read_title(content: Tag) -> str:
    """Return a page's title: its first heading."""
    heading = content.find("h1")
    assert isinstance(heading, Tag)
    return heading.get_text(" ", strip=True)


@functools.cache
def _exporter() -> HTMLExporter:
    return HTMLExporter(
        template_name="lab",
        config=Config({"NbConvertBase": {"display_data_priority": _SHOWN}}),
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )


def _level_headings(content: Tag) -> None:
    """Leave no level out on the way down: a glossary may well have terms right below its title."""
    above: list[str] = []
    for heading in content.find_all(_HEADING):
        while above and above[-1] >= heading.name:
            above.pop()
        above.append(heading.name)
        heading.name = f"h{len(above)}"


def _name_headings(content: Tag) -> None:
    taken: set[str] = set()
    for heading in content.find_all(_HEADING):
        name = stem = slug(heading.get_text()) or "section"
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        heading["id"] = name


def _lead_links(content: Tag, links: Links) -> None:
    for link in content.find_all("a", href=True):
        target = links.lead(str(link["href"]))
        if target is None:
            link.unwrap()
        else:
            link["href"] = target
    for picture in content.find_all("img", src=True):
        picture["src"] = links.show(str(picture["src"]))


def _mend_tables(content: Tag) -> None:
    """Make a cell of a table's head that says nothing a cell like others."""
    for cell in content.find_all("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"
            del cell["scope"]


def _box_what_is_wide(content: Tag) -> None:
    """Put what may be wider than the page in a box that scrolls by itself, by keyboard too."""
    for wide in content.find_all(["pre", "table"]):
        wide.wrap(Tag(name="div", attrs={"class": "wide", "tabindex": "0"}))
