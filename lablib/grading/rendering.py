"""What a variant of a lab changes in its files: numbers, names, and the letters of choices."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lablib.truth import compute

COMPUTED = "computed"
VARIATION = ("parameters", "names", "sources")
"""What of a lab.json says how variants differ; a rendered one has none of it."""


@dataclass(frozen=True)
class Rendering:
    """One variant: `numbers` by macro, new `names` by old, new `letters` by question and old.

    `source` is the file that is handed out as the lab's program, "" for the one of that name.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    letters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    source: str = ""

    @classmethod
    def of_first(cls, data: Mapping[str, Any]) -> Rendering:
        """Return what a lab is where nothing was drawn: the first of each, as it lies in labs/."""
        numbers = {macro: values[0] for macro, values in data.get("parameters", {}).items()}
        return cls(numbers, source=next(iter(data.get("sources", ())), ""))

    def apply(self, text: str) -> str:
        """Return a text of the lab with the numbers in its #define lines, and the new names.

        Only whole identifiers are renamed, all at once: two may even change places.
        """
        if self.numbers:
            macros = "|".join(map(re.escape, self.numbers))
            places = re.compile(rf"^([ \t]*#[ \t]*define[ \t]+({macros})[ \t]+)\S+", re.MULTILINE)
            text = places.sub(lambda found: f"{found[1]}{self.numbers[found[2]]}", text)
        if self.names:
            words = re.compile(rf"\b({'|'.join(map(re.escape, self.names))})\b")
            text = words.sub(lambda found: self.names[found[1]], text)
        return text

    def apply_to_data(self, data: Any) -> Any:
        """Return JSON data with each text rendered, and each {"computed": ...} as its number.

        Raises `ValueError` for an expression that is not arithmetic with the lab's parameters.
        """
        if isinstance(data, str):
            return self.apply(data)
        if isinstance(data, list):
            return [self.apply_to_data(each) for each in data]
        if not isinstance(data, dict):
            return data
        if set(data) == {COMPUTED}:
            return compute(data[COMPUTED], self.numbers)
        return {key: self.apply_to_data(value) for key, value in data.items()}

    def apply_to_lab(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a lab.json of this variant alone: resolved, and with the letters in their order.

        Raises what `apply_to_data` raises.
        """
        plain = {key: value for key, value in data.items() if key not in VARIATION}
        rendered: dict[str, Any] = self.apply_to_data(plain)
        for question in rendered.get("questions", ()):
            self._exchange_letters(question)
        return rendered

    def apply_to_file(self, path: Path) -> bytes:
        """Return the content of a file of the lab, rendered; one that is not text as it is."""
        if path.suffix in (".json", ".ipynb"):
            data = self.apply_to_data(json.loads(path.read_text()))
            indent = 1 if path.suffix == ".ipynb" else 2  # as nbformat writes them
            return (json.dumps(data, indent=indent, ensure_ascii=False) + "\n").encode()
        content = path.read_bytes()
        try:
            return self.apply(content.decode()).encode()
        except UnicodeDecodeError:
            return content

    def _exchange_letters(self, question: dict[str, Any]) -> None:
        letters = self.letters.get(question["name"])
        if not letters:
            return
        for part in ("choices", "feedback"):
            moved = {letters[old]: text for old, text in question.get(part, {}).items()}
            question[part] = dict(sorted(moved.items()))
        question["expected"] = letters[question["expected"]]
