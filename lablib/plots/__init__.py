"""Records to matplotlib figures: what stays on the page, with units and a description in words.

Each `plot_` function returns the figure and a sentence or two that say what it shows, with its
numbers, for those who can't see it.
"""

from __future__ import annotations

from lablib.plots.address_space import plot_address_space
from lablib.plots.faults import plot_faults
from lablib.plots.group import plot_group
from lablib.plots.heap import plot_heap_map, plot_live_bytes
from lablib.plots.heap_use import plot_heap_use
from lablib.plots.incident import plot_rehearsal, plot_service
from lablib.plots.lineup import plot_ages, plot_live_curves, plot_resident_curves
from lablib.plots.machine import plot_vmstat
from lablib.plots.parts import MIB
from lablib.plots.process import plot_resident_pages, plot_sizes
from lablib.plots.stacks import plot_stacks
from lablib.plots.tools import plot_tool_costs

__all__ = [
    "MIB",
    "plot_address_space",
    "plot_ages",
    "plot_faults",
    "plot_group",
    "plot_heap_map",
    "plot_heap_use",
    "plot_live_bytes",
    "plot_live_curves",
    "plot_rehearsal",
    "plot_resident_curves",
    "plot_resident_pages",
    "plot_service",
    "plot_sizes",
    "plot_stacks",
    "plot_tool_costs",
    "plot_vmstat",
]
