"""Variants: the same defect in a program with other names, numbers, depth and rate.

    variant = draw_variant("error_path", key)
    app = build_variant(variant)

What a variant is follows from the app's name and the key alone, on every machine and in every
version of Python: each choice is an HMAC-SHA-256 of what is chosen, keyed with the key. So an
instructor can draw any variant again, and two keys rarely give the same one.

A variant is the program's own source, under another name, compiled behind a header of #defines; no
text is replaced. Its truth is computed from the same choices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lablib.apps import APPS_DIR, BUILD_DIR, find_source, read_raw_truth, run_make
from lablib.drawing import draw
from lablib.records import AppFiles
from lablib.truth import resolve_truth

VARIANTS_DIR = BUILD_DIR / "variants"
DEPTHS = range(7)
"""How many calls may lie between the program's loop and its work, beside those of the source."""
RATE_FACTORS = (1, 1.25, 1.5, 2)
"""How many times faster than the app a variant may be shown: never slower, evidence takes time."""
HEADER = "variant.h"

_ID_DIGITS = 12


@dataclass(frozen=True)
class Variant:
    """What was drawn for one app and one key.

    `name` is that of the program and of its source. `numbers` are the settings by macro, `names`
    the new names by those in the source, `rate` is in terms a second. `truth` is like that of an
    app, exact for these choices.
    """

    app_name: str
    name: str
    numbers: Mapping[str, int]
    names: Mapping[str, str]
    depth: int
    rate: float
    truth: Mapping[str, Any]

    @property
    def header(self) -> str:
        """The C header that makes the app's source this variant."""
        chosen = {"LEAKY_DEPTH": self.depth, **self.numbers, **self.names}
        return "".join(f"#define {name} {value}\n" for name, value in sorted(chosen.items()))

    @property
    def identity(self) -> str:
        """Twelve hexadecimal digits that no variant of other contents has."""
        contents = f"{self.app_name}\n{self.name}\n{self.header}"
        return hashlib.sha256(contents.encode()).hexdigest()[:_ID_DIGITS]


def draw_variant(app_name: str, key: bytes) -> Variant:
    """Return the variant of an app that belongs to a key; the same for the same two, for ever.

    Raises `AppError` for an unknown app.
    """
    raw = read_raw_truth(app_name)

    numbers, renamed = (
        {
            name: draw(key, f"{app_name}/{name}", choices)
            for name, choices in raw.get(what, {}).items()
        }
        for what in ("parameters", "names")
    )
    truth = resolve_truth(raw, numbers, renamed)
    truth["rate"] = raw["rate"] * draw(key, f"{app_name}/rate", RATE_FACTORS)
    return Variant(
        app_name,
        name=renamed.get(app_name, app_name),
        numbers=numbers,
        names={old: new for old, new in renamed.items() if old != app_name},
        depth=draw(key, f"{app_name}/depth", DEPTHS),
        rate=truth["rate"],
        truth=truth,
    )


def write_variant(variant: Variant, folder: Path) -> Path:
    """Put a variant's source and its header into a folder; return the source.

    It is compiled with `-include variant.h`, and with leaky.h and its like on the include path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    original = find_source(variant.app_name)
    source = folder / f"{variant.name}{original.suffix}"
    for path, text in ((source, original.read_text()), (folder / HEADER, variant.header)):
        if not path.exists() or path.read_text() != text:  # else make need not do it again
            path.write_text(text)
    return source


def build_variant(variant: Variant) -> AppFiles:
    """Compile a variant, if that has not been done, and return it like an app.

    Raises `AppError` for a failed build, `ToolMissingError` without a compiler.
    """
    folder = VARIANTS_DIR / variant.identity
    source = write_variant(variant, folder)
    app = AppFiles(variant.name, folder / variant.name, source, variant.truth)
    relative = folder.relative_to(APPS_DIR)
    run_make(
        app,
        f"BUILD={relative}",
        f"FOLDERS={relative}",
        f"DEFINES=-include {relative / HEADER}",
    )
    return app
