"""What the commands of the benchmarks share: `./lab bench NAME [--json] [--no-write]`.

Exit 0: every target is met; 1: one is not; 2: it could not be measured. The page NAME.md is written
beside the benchmark, unless --json or --no-write is given.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.pages import (
    Sheet,
    Target,
    describe_machine,
    format_markdown,
    make_targets_sheet,
    render_sheet,
)
from lablib.errors import LabError

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What was measured: as tables, as a document for `--json`, and against what was promised."""

    sheets: tuple[Sheet, ...]
    document: Mapping[str, Any]
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's `name`, and the title and the first paragraph of its page.

    `measure` is told what to say of its progress by; it raises `LabError` or `OSError` where
    nothing can be measured.
    """

    name: str
    title: str
    introduction: str
    measure: Callable[[Announce], Result]

    def run(self) -> int:
        """Measure, print, write the page; return the exit code."""
        parser = argparse.ArgumentParser(prog=f"./lab bench {self.name}", description=self.title)
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument(
            "--no-write", action="store_true", help=f"leave {self.name}.md as it is"
        )
        options = parser.parse_args()
        progress = Console(stderr=True, highlight=False, markup=False)
        try:
            result = self.measure(lambda what: progress.print(f"{self.name}: {what}", style="dim"))
        except (LabError, OSError) as error:
            print(f"lab: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("lab: stopped; what it had started has ended", file=sys.stderr)
            return 130
        if options.json:
            print(json.dumps(describe(result), indent=2))
        else:
            self.show(result, is_kept=not options.no_write)
        return 0 if all(target.is_met for target in result.targets) else 1

    def show(self, result: Result, is_kept: bool) -> None:
        """Print the tables, and write them to the page if it `is_kept`."""
        sheets = (*result.sheets, make_targets_sheet(result.targets))
        terminal = Console(highlight=False, markup=False)
        terminal.print(describe_machine())
        for sheet in sheets:
            terminal.print(render_sheet(sheet), "")
        if is_kept:
            page = Path(__file__).with_name(f"{self.name}.md")
            page.write_text(format_markdown(self.title, self.introduction, sheets))


def describe(result: Result) -> dict[str, Any]:
    """Return the document of `--json`: where and when, the figures, and the targets."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        **result.document,
        "targets": [{**dataclasses.asdict(each), "is_met": each.is_met} for each in result.targets],
    }
