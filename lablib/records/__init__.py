"""The facts that every other module speaks: frozen records, with the unit in each name.

Only the standard library is needed: the tracer service runs this in the system's Python.
"""

from __future__ import annotations

from lablib.records.exhaustion import (
    NEVER,
    CappedRun,
    ContainerEnd,
    GroupEnd,
    GroupSample,
    GroupStep,
    Member,
)
from lablib.records.frames import Frame
from lablib.records.heap import (
    USAGE_KINDS,
    HeapSnapshot,
    HeapTrace,
    MemleakReport,
    MemleakStack,
    StackUsage,
    Target,
    TraceEvents,
    TraceOptions,
    UnwindTables,
)
from lablib.records.machine import (
    AppFiles,
    Capability,
    VmstatSample,
)
from lablib.records.memory import (
    MEMORY_CALLS,
    MemoryCall,
    MemoryTrace,
    PageFault,
    StackGrowth,
)
from lablib.records.process import (
    CHUNK_STATES,
    EXCLUSIVE,
    FILE_OR_SHARED,
    PRESENT,
    SEGMENT_KINDS,
    SWAPPED,
    AddressSpace,
    Chunk,
    HeapMap,
    HeapUse,
    ProcessResources,
    ProcessSizes,
    ResidentPages,
    Segment,
    Vma,
)
from lablib.records.reachability import (
    AgeBand,
    ReachabilityScan,
    StackReach,
)
from lablib.records.system import (
    CgroupMemory,
    MemoryPressure,
    OomKill,
    PressureShare,
    PressureTrace,
    ReclaimTotals,
    SwapArea,
)
from lablib.records.verdicts import (
    FixVerdict,
    ProcessVerdict,
    StackVerdict,
)

__all__ = [
    "CHUNK_STATES",
    "EXCLUSIVE",
    "FILE_OR_SHARED",
    "MEMORY_CALLS",
    "NEVER",
    "PRESENT",
    "SEGMENT_KINDS",
    "SWAPPED",
    "USAGE_KINDS",
    "AddressSpace",
    "AgeBand",
    "AppFiles",
    "Capability",
    "CappedRun",
    "CgroupMemory",
    "Chunk",
    "ContainerEnd",
    "FixVerdict",
    "Frame",
    "GroupEnd",
    "GroupSample",
    "GroupStep",
    "HeapMap",
    "HeapSnapshot",
    "HeapTrace",
    "HeapUse",
    "Member",
    "MemleakReport",
    "MemleakStack",
    "MemoryCall",
    "MemoryPressure",
    "MemoryTrace",
    "OomKill",
    "PageFault",
    "PressureShare",
    "PressureTrace",
    "ProcessResources",
    "ProcessSizes",
    "ProcessVerdict",
    "ReachabilityScan",
    "ReclaimTotals",
    "ResidentPages",
    "Segment",
    "StackGrowth",
    "StackReach",
    "StackUsage",
    "StackVerdict",
    "SwapArea",
    "Target",
    "TraceEvents",
    "TraceOptions",
    "UnwindTables",
    "Vma",
    "VmstatSample",
]
