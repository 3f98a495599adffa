"""Is a fix right? Two builds of a program at the same work, compared to the byte.

    comparison = compare_builds(make_build("fib_leak"), make_build("fib_fixed"))

Each build is traced from its first instruction to its own end, once for N terms and once for 2N.
What it does once, such as its start, is in both, so the difference is what N terms cost.
"""

from __future__ import annotations

from lablib.comparison.builds import Build, make_app_build, make_build
from lablib.comparison.page import describe_comparison, render_comparison
from lablib.comparison.runs import DEFAULT_TERMS, TIME_LIMIT_S, compare_builds, run_builds
from lablib.comparison.verdict import judge_runs, per_term

__all__ = [
    "DEFAULT_TERMS",
    "TIME_LIMIT_S",
    "Build",
    "compare_builds",
    "describe_comparison",
    "judge_runs",
    "make_app_build",
    "make_build",
    "per_term",
    "render_comparison",
    "run_builds",
]
