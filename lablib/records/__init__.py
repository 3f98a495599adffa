"""The facts that every other module speaks: frozen records, with the unit in each name.

Only the standard library is needed: the tracer service runs this in the system's Python.
"""

from __future__ import annotations

from lablib.records.comparison import (
    COMPARISON_KINDS,
    BuildWork,
    Comparison,
    StackCost,
    StackDifference,
)
from lablib.records.frames import Frame
from lablib.records.heap import (
    USAGE_KINDS,
    HeapSnapshot,
    HeapTrace,
    MemleakReport,
    MemleakStack,
    StackUsage,
    SymbolCures,
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
from lablib.records.verdicts import (
    FixVerdict,
    MachineVerdict,
    ProcessEvidence,
    ProcessVerdict,
    ResourceVerdict,
    StackEvidence,
    StackVerdict,
)

__all__ = [
    "CHUNK_STATES",
    "COMPARISON_KINDS",
    "EXCLUSIVE",
    "FILE_OR_SHARED",
    "MEMORY_CALLS",
    "PRESENT",
    "SEGMENT_KINDS",
    "SWAPPED",
    "USAGE_KINDS",
    "AddressSpace",
    "AgeBand",
    "AppFiles",
    "BuildWork",
    "Capability",
    "Chunk",
    "Comparison",
    "FixVerdict",
    "Frame",
    "HeapMap",
    "HeapSnapshot",
    "HeapTrace",
    "HeapUse",
    "MachineVerdict",
    "MemleakReport",
    "MemleakStack",
    "MemoryCall",
    "MemoryTrace",
    "PageFault",
    "ProcessEvidence",
    "ProcessResources",
    "ProcessSizes",
    "ProcessVerdict",
    "ReachabilityScan",
    "ResidentPages",
    "ResourceVerdict",
    "Segment",
    "StackCost",
    "StackDifference",
    "StackEvidence",
    "StackGrowth",
    "StackReach",
    "StackUsage",
    "StackVerdict",
    "SymbolCures",
    "Target",
    "TraceEvents",
    "TraceOptions",
    "UnwindTables",
    "Vma",
    "VmstatSample",
]
