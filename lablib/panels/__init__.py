"""Live widgets for the notebooks: controls, and views that move, on records from any source.

Every panel runs the same on a recording, says so, and leaves a picture when it ends.
"""

from __future__ import annotations

from lablib.panels.address_space import AddressSpacePanel
from lablib.panels.controls import AppControls, Button, Slider
from lablib.panels.editor import FixEditor
from lablib.panels.group import GroupPanel
from lablib.panels.heap_map import HeapMapPanel
from lablib.panels.service import ServicePanel
from lablib.panels.sizes import SizesPanel
from lablib.panels.stacks import StacksPanel
from lablib.panels.vmstat import MachinePanel

__all__ = [
    "AddressSpacePanel",
    "AppControls",
    "Button",
    "FixEditor",
    "GroupPanel",
    "HeapMapPanel",
    "MachinePanel",
    "ServicePanel",
    "SizesPanel",
    "Slider",
    "StacksPanel",
]
