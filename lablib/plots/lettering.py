"""The words on figures: in the reader's language where matplotlib has a font with its letters."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.font_manager import fontManager

from lablib.language import Term, reader_locale, say

FONT_FILES = (
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
)
"""Where Debian and Ubuntu put fonts with Chinese letters."""

FONT_PACKAGE = "fonts-wqy-microhei"
"""What ./lab installs where the language is Chinese."""


def letter(text: str, /, **fields: Any) -> str:
    """Return a text for a figure as `say` does; in English where there is no font for it."""
    if choose_font():
        return say(text, **fields)
    return str(Term(text, fields)) if fields else str(text)


def choose_font() -> bool:
    """Have matplotlib draw the reader's letters, before a figure is made; return whether it can."""
    return not reader_locale() or _use_chinese_font()


@lru_cache(maxsize=1)
def _use_chinese_font() -> bool:
    """Have matplotlib take letters that its own font lacks from a Chinese one, if there is one.

    Returns whether there is; where there is none a printed sentence says so, once.
    """
    for path in FONT_FILES:
        if Path(path).exists():
            known = {entry.fname for entry in fontManager.ttflist}
            if path not in known:  # installed after matplotlib made its list
                fontManager.addfont(path)
            name = next(entry.name for entry in fontManager.ttflist if entry.fname == path)
            matplotlib.rcParams["font.family"] = ["DejaVu Sans", name]
            # It has no bold letters, and matplotlib says so each time.
            logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
            return True
    print(
        say(
            "The words on figures stay English: there is no font for others. Install one, and"
            " restart the kernel: sudo apt-get install {package}",
            package=FONT_PACKAGE,
        )
    )
    return False
