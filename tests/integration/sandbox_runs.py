"""Runs programs in the sandbox as whoever runs this script, and prints how they ended, as JSON.

usage: sandbox_runs.py FOLDER (group | alone) PROGRAM ...

A program is a C file in FOLDER without its suffix; what ends by itself, or soon, is run twice.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path

from lablib.grading.building import build
from lablib.grading.limits import Limits, open_group
from lablib.grading.sandbox import Sandboxed
from lablib.tracing.groups import CappedGroup

SECONDS = 30.0
"""Long, because what a limit ends is to be seen ended by that, on a slow machine too."""


def run(source: Path, group: CappedGroup | None) -> list[dict]:
    """Build a program, run it, once more if that is quick, and return how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(source, Path(folder) / "program.c")
        built = build(Path(folder), "program.c", "-O0", group=group)
        limits = Limits(seconds=SECONDS, memory_bytes=None)
        found = []
        for _ in range(2):
            with Sandboxed(Path(folder), [built.path], limits, group) as program:
                program.release()
                found.append(dataclasses.asdict(program.finish()))
            if found[0]["ended_by"] == "memory":
                break
        return found


def main() -> None:
    """Run what is asked for, one after the other."""
    folder, how, *names = sys.argv[1:]
    group = open_group() if how == "group" else None
    try:
        runs = {name: run(Path(folder) / f"{name}.c", group) for name in names}
        print(json.dumps({"has_group": group is not None, "runs": runs}))
    finally:
        if group is not None:
            group.close()


if __name__ == "__main__":
    main()
