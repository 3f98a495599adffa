"""A page of parts, as Markdown and as HTML that loads nothing.

Whatever a learner or a program has written is text in it: it is escaped in both forms.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lablib.document import make_document
from lablib.wording import make_printable


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Some sentences; an open one says what is still to be written."""

    text: str
    is_open: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows under headings; the first cell of each row is its heading."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Lines as they are, in a language such as "diff" or "c"."""

    language: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A figure as a PNG file of a name, and what it shows in words."""

    file_name: str
    png: bytes
    words: str


Part = Heading | Paragraph | Bullets | Table | Code | Picture

_STYLE = """\
pre { overflow: auto; border: 1px solid #767676; padding: .6rem; }
img { max-width: 100%; height: auto; }
.open { font-style: italic; border-left: .4rem dashed #5c5c00; padding-left: .6rem; }"""
_LEFT = ' style="text-align: left"'
"""In a notebook, whose own style has numbers in all tables, texts stand at the right otherwise."""

_SHORT = ' style="text-align: left; white-space: nowrap"'
_SHORT_LETTERS = 8

_MARKDOWN_LETTERS = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_LINE_STARTS = re.compile(r"^(\s*)([-+=]|\d+[.)])(\s|[-=])", re.MULTILINE)


def to_html(title: str, parts: Sequence[Part]) -> str:
    """Return the parts as a page of HTML that stands alone."""
    body = "\n".join(_part_to_html(part) for part in parts)
    return make_document(title, body, _STYLE)


def render_parts(title: str, parts: Sequence[Part]) -> str:
    """Return the parts as HTML to stand in another page, with the title as a heading of theirs."""
    return "\n".join([f"<h2>{_escape(title)}</h2>", *map(_part_to_html, parts)])


def to_markdown(title: str, parts: Sequence[Part]) -> str:
    """Return the parts as Markdown; pictures are files beside it."""
    return "\n\n".join([f"# {_plain(title)}", *map(_part_to_markdown, parts)]) + "\n"


def _part_to_html(part: Part) -> str:
    if isinstance(part, Heading):
        return f"<h2>{_escape(part.text)}</h2>"
    if isinstance(part, Paragraph):
        mark = ' class="open"' if part.is_open else ""
        return f"<p{mark}>{_escape(part.text)}</p>"
    if isinstance(part, Bullets):
        return f"<ul>{''.join(f'<li>{_escape(text)}</li>' for text in part.texts)}</ul>"
    if isinstance(part, Code):
        return f'<pre tabindex="0"><code>{_escape_lines(part.text)}</code></pre>'
    if isinstance(part, Picture):
        encoded = base64.b64encode(part.png).decode()
        words = _escape(part.words)
        return (
            f'<figure><img alt="{words}" src="data:image/png;base64,{encoded}">'
            f'<figcaption aria-hidden="true">{words}</figcaption></figure>'
        )
    head = "".join(f'<th scope="col"{_LEFT}>{_escape(column)}</th>' for column in part.columns)
    rows = "".join(_row_to_html(row) for row in part.rows)
    return (
        f"<table><caption>{_escape(part.caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row_to_html(row: tuple[str, ...]) -> str:
    first, *others = row
    cells = "".join(f"<td{_style(text)}>{_escape(text)}</td>" for text in others)
    return f'<tr><th scope="row"{_style(first)}>{_escape(first)}</th>{cells}</tr>'


def _style(text: str) -> str:
    """Chinese may be broken anywhere: a word of two characters stays in one line."""
    return _SHORT if len(text) <= _SHORT_LETTERS else _LEFT


def _part_to_markdown(part: Part) -> str:
    if isinstance(part, Heading):
        return f"## {_plain(part.text)}"
    if isinstance(part, Paragraph):
        return f"*{_plain(part.text)}*" if part.is_open else _plain(part.text)
    if isinstance(part, Bullets):
        return "\n".join(f"- {_plain(text)}" for text in part.texts)
    if isinstance(part, Code):
        return _fence(part)
    if isinstance(part, Picture):
        return f"![{_plain(part.words)}]({part.file_name})"
    lines = [part.columns, tuple("---" for _ in part.columns), *part.rows]
    table = "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)
    return f"**{_plain(part.caption)}**\n\n{table}"


def _fence(part: Code) -> str:
    """Return a block of code behind a fence that is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", part.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{part.language}\n{_printable_lines(part.text)}\n{fence}"


def _cell(text: str) -> str:
    return text if text == "---" else _plain(text)


def _plain(text: str) -> str:
    """Return a text in one line in which nothing is Markdown or HTML."""
    flat = " ".join(make_printable(line) for line in text.split())
    return _LINE_STARTS.sub(r"\1\\\2\3", _MARKDOWN_LETTERS.sub(r"\\\1", flat))


def _escape(text: str) -> str:
    return html.escape(make_printable(" ".join(text.split())), quote=True)


def _escape_lines(text: str) -> str:
    return html.escape(_printable_lines(text))


def _printable_lines(text: str) -> str:
    return "\n".join(make_printable(line.expandtabs(8)) for line in text.splitlines())
