"""The page about the leaky apps: tables of all programs by family, made from their truth.

python -m lablib.catalogue > leaky_apps/README.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lablib.apps import APPS_DIR, find_source, list_apps, read_truth

_INTRODUCTION = """\
# The leaky apps

Small programs, each with one behaviour and one story. Build one with `make -C leaky_apps
build/NAME`, or all of them with `make -C leaky_apps`. Each file opens with what it does and what to
try. All take the same options: `--rate` terms a second, `--terms` to stop after, `--wait` for
SIGUSR1 before the first, `--lifetime` in seconds, `--stay` after the last.

    make -C leaky_apps build/error_path
    leaky_apps/build/error_path --rate 50 & ./lab trace --pid $! --seconds 10; kill $!

Beside each source is the truth about it as JSON: whether it leaks, in which function and line, how
many bytes and blocks a term, to the byte. lablib/truth.py says what else is there. A test counts
all of it, under the tracer and in /proc.

A program that leaks without end stops at 256 MiB, shared memory and open files at their own caps.
What would outlive a program is removed when it ends; `./lab clean` removes what a crash left.

lablib/variants.py draws variants: the same defect with other names, numbers, rate and depth of
calls, from a key. They lie in build/variants.
"""
_TITLES = {
    "leaks": "What leaks",
    "lookalikes": "What only looks like it, or does not leak at all",
    "steered": "What does as it is told (notebooks 01 to 05)",
}


def write_catalogue() -> str:
    """Return the page as Markdown."""
    names: dict[str, list[str]] = {group: [] for group in _TITLES}
    for name in list_apps():
        names[_find_group(read_truth(name))].append(name)
    tables = [f"## {title}\n\n{_write_table(names[group])}" for group, title in _TITLES.items()]
    return "\n".join([_INTRODUCTION, *tables])


def _find_group(truth: Mapping[str, Any]) -> str:
    if truth.get("is_steered"):
        return "steered"
    return "leaks" if truth["is_leak"] else "lookalikes"


def _write_table(names: Iterable[str]) -> str:
    rows = []
    for name in names:
        truth, source = read_truth(name), find_source(name).relative_to(APPS_DIR)
        rows.append((truth.get("family", "steered"), f"[{name}]({source})", truth["summary"]))
    lines = ["| family | program | what it does |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in sorted(rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(write_catalogue(), end="")
