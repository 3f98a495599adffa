"""The field's tools on the lab's programs: run as their manuals say, parsed, and judged.

    matrix = run_matrix()
    matrix.find("memcheck", "fib_leak").outcome

catalogue.py   the tools and the programs, two tables
matrix.py      all of them together
trial.py       one run within limits: a group of its own, a cap, a lifetime
judging.py     what a tool says against what is true of the program
valgrind.py, heaptrack.py, sanitizers.py, glibc.py   what starts the program, or is built into it
ebpf.py, totals.py, lab.py                           what looks at it from outside (attached.py)
"""

from lablib.tools.catalogue import EXHIBITS, TOOLS, Exhibit, Tool
from lablib.tools.judging import judge_report
from lablib.tools.matrix import PLAIN, run_matrix, run_plain, run_tool
from lablib.tools.trial import NoReportError

__all__ = [
    "EXHIBITS",
    "PLAIN",
    "TOOLS",
    "Exhibit",
    "NoReportError",
    "Tool",
    "judge_report",
    "run_matrix",
    "run_plain",
    "run_tool",
]
