"""Is it a leak? Pure functions from records to verdicts, each with its evidence.

Growth alone is not a leak, and a list of live blocks is not one either. What is asked of each call
stack, over the snapshots and the scans of the window:

    are blocks lost?         nothing points at them any longer, and they are never freed
    does it grow?            by its rises where it only rises, else by its drift
    does it still grow?      the last part of the window has its share, and no long silence ends it
    does it ever free?       the share of its blocks that were freed, and how many of the old live

    leaking     blocks are lost; or, where no scan could look: it grows and frees nothing
    growing     grows, and the program still points at what it holds, or frees a part of it
    plateau     holds what it holds, and neither grows nor frees
    churn       allocates and frees, and holds no more at the end than before
    clean       holds nothing
    undecided   not enough evidence yet, and how many seconds more it takes

A process is judged by its stacks and by what the kernel counts for it (open files, threads, shared
memory); it may also be "retention": its live bytes fell, and its resident set did not. A machine is
judged by what vmstat says.
"""

from __future__ import annotations

from lablib.analysis.growth import MIN_SNAPSHOTS, MIN_WINDOW_S
from lablib.analysis.machines import judge_machine
from lablib.analysis.processes import judge_trace
from lablib.analysis.sentences import name_frame, name_site
from lablib.analysis.stacks import MAX_FREED_SHARE_OF_A_LEAK
from lablib.analysis.trends import estimate_slope

__all__ = [
    "MAX_FREED_SHARE_OF_A_LEAK",
    "MIN_SNAPSHOTS",
    "MIN_WINDOW_S",
    "estimate_slope",
    "judge_machine",
    "judge_trace",
    "name_frame",
    "name_site",
]
