"""Whether everybody can read a notebook: each rule gives the places where it is broken.

The rules read the page that nbconvert exports: it has the same headings, pictures, links and tables
as JupyterLab shows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbformat import NotebookNode

MIN_ALT_LETTERS = 15
# What nbconvert writes where there is no alt text.
NO_ALT = "No description has been provided for this image"
CONTROL_MODELS = re.compile(
    r"(Slider|Button|Buttons|Text|Textarea|Password|Checkbox|Dropdown|Select|SelectMultiple"
    r"|Combobox|DatePicker|TimePicker|ColorPicker|FileUpload|Play)Model$"
)
_COLOURS = (
    "red|green|blue|orange|yellow|purple|violet|pink|brown|gr[ae]y|black|white|vermill?ion|cyan"
)
_MARKS = (
    "line|curve|bar|area|dot|point|marker|block|box|region|strip|band|square|cell|part|segment"
    "|colou?r"
)
_SECOND_SIGNS = "dashed|dotted|dash-dotted|solid|hatched|striped|crossed|round|square|triangular"
_COLOUR_WORDS = re.compile(
    rf"\b(?P<sign>({_SECOND_SIGNS}),? )?({_COLOURS})\s+({_MARKS})s?\b"
    rf"|\b({_MARKS})s?\s+(is|are|in|drawn in|shown in)\s+({_COLOURS})\b",
    re.IGNORECASE,
)


def find_problems(notebook: NotebookNode) -> list[str]:
    """Return what shuts people out of an executed notebook, one sentence each."""
    exported, _ = HTMLExporter(template_name="lab").from_notebook_node(notebook)
    page = BeautifulSoup(exported, "html.parser").select_one("main")
    return [*find_page_problems(page), *find_widget_problems(notebook)]


def find_page_problems(page: Tag) -> list[str]:
    """Return what shuts people out of the content of a page, one sentence each."""
    return [
        *find_heading_problems(page),
        *find_picture_problems(page),
        *find_link_problems(page),
        *find_table_problems(page),
        *find_colour_problems(page),
        *find_control_problems(page),
    ]


def find_heading_problems(page: Tag) -> Iterator[str]:
    """One h1, at the top; no level is skipped on the way down."""
    levels = [int(heading.name[1]) for heading in page.find_all(re.compile("^h[1-6]$"))]
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"headings: one h1 is wanted, at the top; the levels are {levels}"
    for above, below in itertools.pairwise(levels):
        if below > above + 1:
            yield f"headings: an h{below} follows an h{above}"


def find_picture_problems(page: Tag) -> Iterator[str]:
    """Each picture says in words what it shows."""
    for picture in page.find_all(["img", "svg"]):
        title = picture.find("title")
        words = picture.get("alt") or picture.get("aria-label") or (title.text if title else "")
        if words in ("", NO_ALT):
            yield f"pictures: no alt text: {str(picture)[:60]}"
        elif len(words) < MIN_ALT_LETTERS:
            yield f"pictures: the alt text says nothing: {words}"


def find_link_problems(page: Tag) -> Iterator[str]:
    """Each link says where it leads, also when it is read alone."""
    for link in page.find_all("a", href=True):
        picture = link.find("img", alt=True)
        words = link.get_text(strip=True) or (picture["alt"] if picture else "")
        if words.lower() in ("", "here", "click here", "this", "link"):
            yield f"links: says nothing about {link['href']}: {words}"


def find_table_problems(page: Tag) -> Iterator[str]:
    """Each table names its columns or rows."""
    for table in page.find_all("table"):
        if not table.find("th"):
            yield f"tables: no header: {table.get_text(' ', strip=True)[:60]}"


def find_colour_problems(page: Tag) -> Iterator[str]:
    """Nothing is named by its colour alone: "the dashed red line" will do, not "the red line"."""
    told = page.select(".jp-RenderedMarkdown, .jp-OutputArea-output")
    words = [part.get_text(" ") for part in told]
    words += [picture.get("alt", "") for picture in page.find_all("img")]
    for match in _COLOUR_WORDS.finditer(" ; ".join(words)):
        if not match["sign"]:
            yield f"colours: told by its colour alone: {match[0]}"


def find_control_problems(page: Tag) -> Iterator[str]:
    """Each control that is written in HTML has words of its own, or a label's."""
    for control in page.select(".jp-OutputArea-output :is(button, input, select, textarea)"):
        label = page.find("label", attrs={"for": control["id"]}) if control.get("id") else None
        named = [control.get("aria-label"), control.get("title"), control.get_text(strip=True)]
        if not (any(named) or label or control.find_parent("label")):
            yield f"controls: no label: {str(control)[:60]}"


def find_widget_problems(notebook: NotebookNode) -> Iterator[str]:
    """Each widget that takes something from the reader has a description."""
    saved = notebook.metadata.get("widgets", {}).get(
        "application/vnd.jupyter.widget-state+json", {}
    )
    for model in saved.get("state", {}).values():
        state = model["state"]
        is_control = CONTROL_MODELS.search(model["model_name"])
        options = state.get("_options_labels", [])
        # One radio button by itself is told by its option, as a checkbox is by its label.
        own = options if model["model_name"] == "RadioButtonsModel" and len(options) == 1 else []
        named = [state.get("description"), state.get("tooltip"), *own]
        if is_control and not any(name and name.strip() for name in named):
            yield f"controls: no description: {model['model_name']}"
