"""English that a Chinese page has left: runs of words that its reader would have to read.

What stays English in Chinese too is left out first: what is set as code, paths and addresses,
source text, what a command has printed, and the names and terms of `KEPT`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bs4 import BeautifulSoup
from nbformat import NotebookNode

MIN_WORDS = 3
"""Fewer words in a row are a term, a name, or a column's heading."""

SOURCES = ("leaky_apps", "labs", "lablib/preload", "instructor")
"""Where the programs are whose lines a notebook shows."""

CODE = "script, style, code, pre, kbd, samp"
WIDGET_TEXTS = ("description", "placeholder", "tooltip", "value", "_options_labels")
_WORD = r"[A-Za-z]+(?:['\u2019-][A-Za-z]+)*"
_RUN = re.compile(rf"(?<![\w./-]){_WORD}(?:[,;:]? {_WORD}){{{MIN_WORDS - 1},}}(?![\w(/]|\.\w)")
_CODE_SPAN = re.compile(r"`[^`\n]+`|https?://\S+|(?<!\w)[~.]{0,2}/[\w./*{}-]+")
_NUMBERED = re.compile(r"^\s*(?:\d+|→|>)*\s*")

KEPT = (
    # What commands print: their own words.
    r"==\d+==.*",  # valgrind's tools
    r"[\w<>./-]+:\d+:\d+: (?:warning|error|note): .*",  # a compiler
    r" *r +b +swpd +free.*",  # vmstat's columns
    r".*\b(?:us|sy|id|wa|st) (?:sy|id|wa|st)\b.*",
    r" *total +used +free.*",  # free's
    r"\[\d\d:\d\d:\d\d\] Top \d+ stacks with outstanding allocations:",  # bcc's memleak
    r"\s*\d+ bytes in \d+ allocations from stack",
    r".*[:：] ?malloc: Cannot allocate memory",  # strerror's
    r"docker run .*",
    r"\w+ 拒绝了 \w+：.*",  # a program that is steered, in its own words
    r"This is JupyterLab [\d.]+\.",
)
"""Lines that stay English, by patterns of the whole line."""


def find_english(texts: Iterable[str], source_lines: frozenset[str] = frozenset()) -> list[str]:
    """Return each run of three or more English words in texts of a Chinese page, once, in order.

    A line that stands in a program's source, with or without its number, is code.
    """
    found: dict[str, None] = {}
    for line in (line for text in texts for line in text.splitlines()):
        if _NUMBERED.sub("", line).strip() in source_lines or _is_kept(line):
            continue
        found.update((run[0], None) for run in _RUN.finditer(_CODE_SPAN.sub("`", line)))
    return list(found)


def list_source_lines(checkout: Path) -> frozenset[str]:
    """Return the lines of the programs that notebooks show, without the space around them."""
    sources = (path for folder in SOURCES for path in (checkout / folder).rglob("*.[ch]"))
    return frozenset(
        line.strip() for path in sources for line in path.read_text(encoding="utf-8").splitlines()
    )


def _is_kept(line: str) -> bool:
    return any(re.fullmatch(pattern, line.rstrip()) for pattern in KEPT)


def read_page(notebook: NotebookNode) -> Iterator[str]:
    """Give the texts that the outputs and the widgets of an executed notebook show its reader.

    The words for a picture are among them: a screen reader says them.
    """
    for output in (out for cell in notebook.cells for out in cell.get("outputs", [])):
        data = output.get("data", {})
        if "text" in output:
            yield output["text"]
        elif "text/html" in data:
            yield read_html(data["text/html"])
        else:
            yield data.get("text/plain", "")
    state = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json")
    for model in (state or {"state": {}})["state"].values():
        for name in WIDGET_TEXTS:
            said = model["state"].get(name)
            for text in said if isinstance(said, list) else [said]:
                if isinstance(text, str):
                    yield read_html(text)


def read_html(page: str) -> str:
    """Return the text of a piece of HTML, each code in it as "`", a line for each block."""
    soup = BeautifulSoup(page, "html.parser")
    for part in soup.select(CODE):
        part.replace_with("`")
    for picture in soup.select("[alt], [aria-label], [title]"):
        words = (picture.get(name, "") for name in ("alt", "aria-label", "title"))
        picture.insert_after("\n".join(["", *words, ""]))
    for block in soup.select("p, li, td, th, caption, div, br, option, label, button, h1, h2, h3"):
        block.append("\n")
    return soup.get_text()
