"""A benchmark's tables, for a terminal and for a Markdown page."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from rich.table import Table


@dataclass(frozen=True)
class Sheet:
    """A table as plain text: the first column is words, the others are figures."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Target:
    """A promise and what was measured; `is_at_least` says which side of the limit is good."""

    name: str
    value: float
    limit: float
    unit: str
    is_at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the value is on the good side of the limit."""
        return self.value >= self.limit if self.is_at_least else self.value <= self.limit


def describe_machine() -> str:
    """Return where and when this runs: kernel release, architecture, processors, date."""
    return (
        f"Linux {platform.release()} on {platform.machine()}, {os.cpu_count()} processors, "
        f"{date.today().isoformat()}"
    )


def make_targets_sheet(targets: Sequence[Target]) -> Sheet:
    """Return the sheet that says of each target whether it is met."""
    rows = tuple(_make_target_row(target) for target in targets)
    return Sheet("Targets", ("target", "measured", "limit", "met"), rows)


def _make_target_row(target: Target) -> tuple[str, ...]:
    sign = ">=" if target.is_at_least else "<="
    unit = f" {target.unit}" if target.unit else ""
    return (
        target.name,
        f"{target.value:,.2f}{unit}",
        f"{sign} {target.limit:g}{unit}",
        "yes" if target.is_met else "NO",
    )


def render_sheet(sheet: Sheet) -> Table:
    """Return a sheet for the terminal."""
    table = Table(title=sheet.title, title_justify="left", title_style="bold", box=None)
    for number, heading in enumerate(sheet.headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in sheet.rows:
        table.add_row(*row)
    return table


def format_markdown(title: str, introduction: str, sheets: Sequence[Sheet]) -> str:
    """Return a page with a title, a paragraph, the machine, and the sheets."""
    parts = [f"# {title}", introduction, describe_machine() + "."]
    for sheet in sheets:
        lines = [sheet.headings, ("---",) + ("---:",) * (len(sheet.headings) - 1), *sheet.rows]
        parts += [f"## {sheet.title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts) + "\n"
