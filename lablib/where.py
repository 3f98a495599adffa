"""The page about what works where: a table of doctor runs on several machines.

./lab doctor --json > docs/machines/NAME.json       the first run of a machine, with a title in
                                                    docs/machines/titles.json
python -m lablib.where > docs/what-works-where.md   afterwards
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lablib.doctor import PURPOSES

MACHINES_DIR = Path(__file__).resolve().parents[1] / "docs" / "machines"
TITLES = "titles.json"

_INTRODUCTION = """\
# What works where

Each column is a run of `./lab doctor` on such a machine: every answer was tried there, not
inferred. Run it on yours; it says how to mend what doesn't work. Where the tracer can't run, the
notebooks show recordings, and say so. What has no column here has not been tried.
"""


def write_page(folder: Path = MACHINES_DIR) -> str:
    """Return the page as Markdown, from the runs that are saved in a folder."""
    titles: dict[str, str] = json.loads((folder / TITLES).read_text())
    runs = {title: _read_run(folder / f"{name}.json") for name, title in titles.items()}
    heads = ["", "for", *runs]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, purpose in PURPOSES.items():
        cells = [_describe(run.get(name)) for run in runs.values()]
        lines.append(f"| **{name}** | {' | '.join([purpose, *cells])} |")
    return f"{_INTRODUCTION}\n" + "\n".join(lines) + "\n"


def _read_run(path: Path) -> dict[str, dict[str, Any]]:
    return {found["name"]: found for found in json.loads(path.read_text())}


def _describe(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not tried"
    answer = "yes" if found["works"] else "**no**"
    return f"{answer}: {found['reason']}".replace("|", "\\|")


if __name__ == "__main__":
    print(write_page(), end="")
