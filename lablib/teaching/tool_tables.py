"""What there is to compare: the tools that are here, the programs, and what each tool asks for."""

from __future__ import annotations

import os
import shutil

from lablib.apps import read_truth
from lablib.language import term
from lablib.teaching.tables import show_table
from lablib.tools import EXHIBITS, TOOLS, Tool
from lablib.wording import amount_of, format_size

_PROGRAMS = {
    "valgrind": "valgrind",
    "heaptrack": "heaptrack",
    "gcc": "gcc",
    "libc-devtools": "mtrace",
    "bpfcc-tools": "memleak-bpfcc",
    "bpftrace": "bpftrace",
    "procps": "pmap",
}
"""A program of each package, by which one sees that it is installed."""


def show_tools() -> None:
    """Display the tools: what each looks at, and whether it is here or how it is got."""
    rows = [(tool.name, tool.looks_at, _find(tool)) for tool in TOOLS]
    columns = (term("tool"), term("it looks at"), term("here?"))
    show_table(term("The tools"), columns, rows)


def show_demands() -> None:
    """Display what each tool asks for: of the program, of the machine, of whoever uses it."""
    rows = [
        (
            tool.name,
            term("yes: {needs}", needs=tool.needs) if tool.needs else term("no"),
            term("yes") if tool.needs_root else term("no"),
            tool.attaches,
        )
        for tool in TOOLS
    ]
    columns = (
        term("tool"),
        term("the program changed?"),
        term("root's rights?"),
        term("can it attach?"),
    )
    show_table(term("What each asks for"), columns, rows)


def show_exhibits() -> None:
    """Display the programs of the matrix, and what is true of each."""
    rows = [(each.name, each.summary, _tell(each.name)) for each in EXHIBITS]
    columns = (term("program"), term("what it does"), term("what leaks in a term"))
    show_table(term("The programs"), columns, rows)


def _find(tool: Tool) -> str:
    program = _PROGRAMS.get(tool.package)
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if program is None or shutil.which(program, path=path):
        return term("yes")
    return term("no; sudo apt-get install {package}", package=tool.package)


def _tell(name: str) -> str:
    leaks = read_truth(name)["leaks"]
    if not leaks:
        return term("nothing")
    leak = leaks[0]
    if leak["what"] == "open_files":
        amount = amount_of(leak["blocks_per_term"], "files")
    else:
        amount = format_size(leak["bytes_per_term"])
    return term("{amount}, in {function}", amount=amount, function=leak["function"])
