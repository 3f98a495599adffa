"""A build of a program, and the command that makes it do a number of terms."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from lablib.apps import build_app, list_apps
from lablib.errors import AppError, ToolMissingError
from lablib.language import term
from lablib.records import AppFiles

TERMS = "{terms}"
"""Stands for the number of terms in a command."""


@dataclass(frozen=True)
class Build:
    """A build: its name in a sentence, and its command's words, `TERMS` among them."""

    name: str
    words: tuple[str, ...]

    def make_command(self, terms: int) -> tuple[str, ...]:
        """Return the command that does `terms` terms."""
        return tuple(word.replace(TERMS, str(terms)) for word in self.words)


def make_build(text: str, arguments: str = "") -> Build:
    """Return the build that a text names: a leaky app, or a command with its arguments.

    `arguments` are added to the command. Where neither has `TERMS` in it, "--terms N" is added.
    Raises `AppError` or `ToolMissingError` where there is no such program.
    """
    if text in list_apps():
        return make_app_build(build_app(text), arguments)
    try:
        words = (*shlex.split(text), *shlex.split(arguments))
    except ValueError as error:
        command = f"{text} {arguments}".strip()
        raise AppError(
            term("{command} is no command ({error})", command=command, error=error)
        ) from None
    if not words:
        raise AppError(term("there is no command to compare"))
    if shutil.which(words[0]) is None:
        raise ToolMissingError(
            term("there is no program and no leaky app called {words!r}", words=words[0]),
            term("check its spelling, or give its path"),
        )
    return Build(Path(words[0]).name, _with_terms(words))


def make_app_build(app: AppFiles, arguments: str = "") -> Build:
    """Return the build of a leaky app, which does its terms as fast as it can."""
    words = (str(app.executable), "--rate", "0", *shlex.split(arguments))
    return Build(app.name, _with_terms(words))


def _with_terms(words: tuple[str, ...]) -> tuple[str, ...]:
    return words if any(TERMS in word for word in words) else (*words, "--terms", TERMS)
