"""The reader's language: English as it is written, or what a catalogue has for it.

    say("{count} of {total} work", count=3, total=5)

LAB_LANG in the environment chooses: "en", or "zh" for Simplified Chinese; `./lab --lang` sets it.
The catalogues are gettext's, in lablib/translations: lablib.po for lablib's own texts, and one for
each notebook and the glossary. A text that none of them has is shown in English. In English nothing
is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

TRANSLATIONS_DIR = Path(__file__).with_name("translations")

LOCALES = {"en": "", "zh": "zh_CN", "zh_CN": "zh_CN"}
"""What LAB_LANG may say, and the folder of `TRANSLATIONS_DIR` that it means; "" is English."""


_chosen: ContextVar[str | None] = ContextVar("locale", default=None)


def reader_locale() -> str:
    """Return the locale that LAB_LANG asks for, "" for English and for what is not known."""
    chosen = _chosen.get()
    return LOCALES.get(os.environ.get("LAB_LANG", ""), "") if chosen is None else chosen


@contextmanager
def speak(locale: str) -> Iterator[None]:
    """Have the block speak a locale, "" for English, whatever LAB_LANG asks for."""
    token = _chosen.set(locale)
    try:
        yield
    finally:
        _chosen.reset(token)


def say_in_all(make: Callable[[], str]) -> Said:
    """Return what `make` says, in English and in every locale: for what is kept for any reader."""
    said = {}
    for locale in sorted({*LOCALES.values()}):
        with speak(locale):
            said[locale] = say(make())
    english = said.pop("")
    return Said(english, {locale: text for locale, text in said.items() if text != english})


def say(text: str, /, **fields: Any) -> str:
    """Return a text for the reader, in the reader's language, with its `{fields}` filled in.

    `text` is the English one, as it stands in the catalogue. Without fields nothing is filled in,
    so braces may stand in it. A field or a text made by `term` is said in the same language.
    """
    english, locale = None, reader_locale()
    if isinstance(text, Said):
        return text.others.get(locale, str.__str__(text))
    if isinstance(text, Term):
        english, fields, text = str.__str__(text), dict(text.fields), text.template
    translated = read_translations(locale).get(text) if locale else None
    if translated is None:
        return english or (text.format(**fields) if fields else text)
    said = {
        name: say(value) if isinstance(value, (Term, Said)) else value
        for name, value in fields.items()
    }
    return translated.format(**said) if said else translated


def tell(text: str, /, **fields: Any) -> None:
    """Print a text for the reader, as `say` has it: what a notebook's cell has found."""
    print(say(text, **fields))


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


class Said(str):
    """An English text that brings along what it is in `others`, by their locales."""

    others: Mapping[str, str]

    def __new__(cls, text: str, others: Mapping[str, str] | None = None) -> Said:
        """Make the English text; what `others` lacks is said in English."""
        made = super().__new__(cls, text)
        made.others = dict(others or {})
        return made


def pack_text(text: str) -> Any:
    """Return a text as JSON takes it: itself, or of a `Term` or a `Said` all that makes it.

    A field that is neither text nor number is packed as `str` shows it.
    """
    if isinstance(text, Term):
        fields = {name: _pack_field(value) for name, value in text.fields.items()}
        return {"text": str.__str__(text), "template": text.template, "fields": fields}
    if isinstance(text, Said):
        return {"text": str.__str__(text), "others": dict(text.others)}
    return text


def _pack_field(value: Any) -> Any:
    if isinstance(value, str):
        return pack_text(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def unpack_text(packed: Any) -> str:
    """Return the text that `pack_text` packed; raises `ValueError` for what is none."""
    if isinstance(packed, str):
        return packed
    try:
        text: Any = packed["text"]
        if "others" in packed:
            made: str = Said(text, packed["others"])
            strings = [text, *packed["others"].values()]
        else:
            fields = {name: _unpack_field(value) for name, value in packed["fields"].items()}
            made = Term(packed["template"], fields, text)
            made.template.format(**fields)
            strings = [text, made.template]
        if not all(isinstance(each, str) for each in strings):
            raise TypeError
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise ValueError(f"{packed!r} is no text") from None
    return made


def _unpack_field(packed: Any) -> Any:
    is_number = packed is None or isinstance(packed, (bool, int, float))
    return packed if is_number else unpack_text(packed)


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
