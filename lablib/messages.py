"""What there is to translate: the texts of notebooks, glossary and code, and their catalogues.

    python -m lablib.messages

brings every catalogue up to date. A text that is new is empty there, one that has changed is marked
fuzzy with its old translation, and what is no longer used moves to the end as obsolete.
tests/unit/test_translations.py holds that none of that is left.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from lablib.language import LOCALES, TRANSLATIONS_DIR
from lablib.localising import GLOSSARY, split_sections
from lablib.presenter.notes import list_texts

PACKAGE = Path(__file__).parent
CHECKOUT = PACKAGE.parent
NOTEBOOKS_DIR = CHECKOUT / "notebooks"
PRESENTING_PAGE = CHECKOUT / "instructor" / "presenting.md"
INCIDENT_LAB = CHECKOUT / "labs" / "incident"
"""The one lab that is a notebook's: what it says is translated with it."""

OWN = "lablib"
"""The catalogue of lablib's own texts."""
PRESENTING = "presenting"
"""The presenter's page, and the catalogue of what it has the presenter say."""

_HEADER = "# Texts of the Memory Leak Lab. How they are kept: docs/contributors.md."
_MAGIC = re.compile(r"^(\s*)[!%].*", re.MULTILINE)
_NO_READER = {"print", "run", "Popen", "check_output", "split", "open", "glob", "join"}
_LOOK_UP = {"say", "tell", "term", "letter"}
_COUNT = {"amount_of", "count_of"}


@dataclass(frozen=True)
class Message:
    """A text to translate, and where it stands: a notebook's cell, or a file of lablib."""

    text: str
    place: str


def list_notebook_messages(name: str, notebook: dict[str, Any]) -> list[Message]:
    """Return the texts of a notebook: each markdown cell, and what its code says to a reader.

    The place is the notebook's name, the cell's id, and for a text in code its number in the cell.
    """
    messages = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            messages.append(Message(source, f"{name}.ipynb {cell['id']}"))
        elif cell["cell_type"] == "code":
            texts = dict.fromkeys(find_texts(source))
            places = (f"{name}.ipynb {cell['id']}/{number}" for number in range(len(texts)))
            messages += map(Message, texts, places)
    return messages


def list_glossary_messages(text: str) -> list[Message]:
    """Return the sections of the glossary: its title, and each term with its definition."""
    return [Message(section, f"{GLOSSARY}.md") for section in split_sections(text)]


def list_presenting_messages(page: Path = PRESENTING_PAGE) -> list[Message]:
    """Return what the presenter says, slide by slide."""
    said = list_texts(page.read_text(encoding="utf-8"))
    return [Message(text, f"{page.name} {number}") for text, number in said.items()]


def find_texts(source: str) -> Iterator[str]:
    """Yield the literals of a code cell that may be for a reader: of two words at least.

    What `print` is handed stays as it is, and so does an f-string: sentences are for `tell` and
    `say`.
    """
    for literal in _walk_literals(parse_cell(source)):
        if " " in literal and re.search("[A-Za-z]{2,}", literal):
            yield literal


def parse_cell(source: str) -> ast.Module:
    """Return the syntax tree of a cell; a line for the shell or for IPython is a `pass` there."""
    return ast.parse(_MAGIC.sub(r"\1pass", source))


def _walk_literals(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr) or _name_called(node) in _NO_READER:
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from _walk_literals(child)


def _name_called(node: ast.AST) -> str:
    """Return the last name of what a call calls, "" where there is none, or no call."""
    called = node.func if isinstance(node, ast.Call) else None
    name = getattr(called, "id", getattr(called, "attr", ""))
    return name if isinstance(name, str) else ""


def list_lab_messages(folder: Path = INCIDENT_LAB) -> list[Message]:
    """Return what the lab of the incident room says: its title, pagers, questions and hints."""
    messages = []
    for path in (folder / "lab.json", *sorted(folder.glob("families/*.json"))):
        data = json.loads(path.read_text(encoding="utf-8"))
        texts = [data[name] for name in ("title", "pager") if name in data]
        for question in data.get("questions", ()):
            texts.append(question["text"])
            texts += [*question.get("choices", {}).values(), *question.get("feedback", {}).values()]
        texts += [text for hints in data.get("hints", {}).values() for text in hints]
        place = path.relative_to(folder.parents[1]).as_posix()
        messages += [Message(text, place) for text in texts]
    return messages


def list_own_messages(package: Path = PACKAGE, notebooks: Path = NOTEBOOKS_DIR) -> list[Message]:
    """Return the texts of lablib's code, and the single words that notebooks hand to it."""
    messages = []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(package.parent).as_posix()
        messages += [Message(text, place) for text in find_looked_up(tree)]
    for path in sorted(notebooks.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                tree = parse_cell("".join(cell["source"]))
                messages += [Message(text, path.name) for text in find_words(tree)]
    return messages


def find_looked_up(tree: ast.AST) -> Iterator[str]:
    """Yield the literals that code hands to those of `_LOOK_UP`, and nouns or units to `_COUNT`."""
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lablib")
        for alias in node.names
    }
    for node in ast.walk(tree):
        called = _name_called(node)
        if isinstance(node, ast.Call) and called in (_LOOK_UP | _COUNT) & imported:
            place = 1 if called in _COUNT else 0
            for text in _read_choices(node.args[place]) if len(node.args) > place else ():
                yield f"{{number}} {text}" if called in _COUNT else text


def _read_choices(node: ast.expr) -> Iterator[str]:
    """Yield the literals that an argument may be: one, or those of a conditional expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _read_choices(node.body)
        yield from _read_choices(node.orelse)


def find_words(tree: ast.AST) -> Iterator[str]:
    """Yield units and one-word choices of predictions, and one-word columns and marks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name_called(node) == "predict":
            named = {word.arg: word.value for word in node.keywords}
            units = node.args[1:2] + ([named["unit"]] if "unit" in named else [])
            yield from (f"{{number}} {text}" for unit in units for text in _read_words(unit))
            choices = named.get("choices")
            words = choices.elts if isinstance(choices, ast.List) else []
            yield from (text for word in words for text in _read_words(word) if " " not in text)
        elif isinstance(node, ast.Call) and _name_called(node) == "show_table":
            for columns in node.args[1:2]:
                words = columns.elts if isinstance(columns, ast.Tuple) else []
                yield from (text for word in words for text in _read_words(word) if " " not in text)
        elif isinstance(node, ast.Call) and _name_called(node) == "mark":
            yield from (text for text in _read_words(node.args[0]) if " " not in text)


def _read_words(node: ast.expr) -> Iterator[str]:
    yield from (text for text in _read_choices(node) if re.search("[a-z]{3,}", text))


def make_template(messages: Iterable[Message]) -> Catalog:
    """Return an empty catalogue of messages; one that stands in several places is there once."""
    template = Catalog(project="memory-leak-lab")
    for message in messages:
        template.add(message.text, auto_comments=[message.place])
    return template


def list_templates(notebooks: Path = NOTEBOOKS_DIR) -> dict[str, Catalog]:
    """Return an empty catalogue by name: of notebooks, glossary, slides' notes and lablib."""
    glossary = (notebooks / f"{GLOSSARY}.md").read_text(encoding="utf-8")
    templates = {
        OWN: make_template([*list_own_messages(notebooks=notebooks), *list_lab_messages()]),
        GLOSSARY: make_template(list_glossary_messages(glossary)),
        PRESENTING: make_template(list_presenting_messages()),
    }
    for path in sorted(notebooks.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        templates[path.stem] = make_template(list_notebook_messages(path.stem, notebook))
    return templates


def update_catalogue(path: Path, template: Catalog, locale: str) -> Catalog:
    """Return the catalogue of a file with the messages of a template; it is written back."""
    catalogue = Catalog(locale=locale, project="memory-leak-lab")
    if path.exists():
        with path.open("rb") as file:
            catalogue = read_po(file, locale=locale)
    catalogue.update(template, update_creation_date=False)
    catalogue.header_comment = _HEADER
    catalogue.version, catalogue.fuzzy = "1", False
    catalogue.last_translator, catalogue.language_team = "", ""
    catalogue.msgid_bugs_address = ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue, width=0)
    return catalogue


def main() -> None:
    """Update all catalogues, and say what is left to do in each."""
    for locale in sorted(set(LOCALES.values()) - {""}):
        for name, template in list_templates().items():
            path = TRANSLATIONS_DIR / locale / f"{name}.po"
            catalogue = update_catalogue(path, template, locale)
            messages = [message for message in catalogue if message.id]
            empty = sum(1 for message in messages if not message.string)
            fuzzy = sum(1 for message in messages if message.fuzzy and message.string)
            print(
                f"{locale}/{path.name}: {len(messages)} messages, {empty} empty, {fuzzy} fuzzy,"
                f" {len(catalogue.obsolete)} obsolete"
            )


if __name__ == "__main__":
    main()
