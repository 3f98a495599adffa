"""The reader's language: English as it is written, or what a catalogue has for it.

    say("{count} of {total} work", count=3, total=5)

LAB_LANG in the environment chooses: "en", or "zh" for Simplified Chinese; `./lab --lang` sets it.
The catalogues are gettext's, in lablib/translations: lablib.po for lablib's own texts, and one for
each notebook and the glossary. A text that none of them has is shown in English. In English nothing
is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

TRANSLATIONS_DIR = Path(__file__).with_name("translations")

LOCALES = {"en": "", "zh": "zh_CN", "zh_CN": "zh_CN"}
"""What LAB_LANG may say, and the folder of `TRANSLATIONS_DIR` that it means; "" is English."""


def reader_locale() -> str:
    """Return the locale that LAB_LANG asks for, "" for English and for what is not known."""
    return LOCALES.get(os.environ.get("LAB_LANG", ""), "")


def say(text: str, /, **fields: Any) -> str:
    """Return a text for the reader, in the reader's language, with its `{fields}` filled in.

    `text` is the English one, as it stands in the catalogue. Without fields nothing is filled in,
    so braces may stand in it. A field or a text made by `term` is said in the same language.
    """
    english = None
    if isinstance(text, Term):
        english, fields, text = str.__str__(text), dict(text.fields), text.template
    locale = reader_locale()
    translated = read_translations(locale).get(text) if locale else None
    if translated is None:
        return english or (text.format(**fields) if fields else text)
    said = {
        name: say(value) if isinstance(value, Term) else value for name, value in fields.items()
    }
    return translated.format(**said) if said else translated


def term(text: str, /, **fields: Any) -> Term:
    """Return an English text that programs may compare, and that `say` shows to the reader."""
    return Term(text, fields)


def list_texts(texts: Iterable[str]) -> dict[str, str]:
    """Return by the English what a page says in the reader's language, its fields not filled in.

    It is empty in English: the page's own texts stay.
    """
    locale = reader_locale()
    known = read_translations(locale) if locale else {}
    return {str(text): known[text] for text in texts if text in known}


class Term(str):
    """An English text, as any other to a program, that knows how `say` finds its translation."""

    template: str
    fields: Mapping[str, Any]

    def __new__(
        cls, template: str, fields: Mapping[str, Any] | None = None, text: str | None = None
    ) -> Term:
        """Make the English text by filling in the fields, unless it is another, as in a plural."""
        if text is None:
            text = template.format(**fields) if fields else template
        made = super().__new__(cls, text)
        made.template, made.fields = template, fields or {}
        return made


@lru_cache(maxsize=4)
def read_translations(locale: str) -> Mapping[str, str]:
    """Return all texts of a locale by their English ones; where two differ, lablib's own counts."""
    folder = TRANSLATIONS_DIR / locale
    paths = sorted(folder.glob("*.po"), key=lambda path: path.name == "lablib.po")
    return {text: said for path in paths for text, said in read_catalogue(path).items()}


def read_catalogue(path: Path) -> dict[str, str]:
    """Return the texts of a .po file by their English ones; without doubtful and empty ones."""
    from babel.messages.pofile import read_po

    with path.open("rb") as file:
        catalogue = read_po(file)
    return {
        str(message.id): str(message.string)
        for message in catalogue
        if message.id and message.string and not message.fuzzy
    }
