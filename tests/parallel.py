"""Several processes run the tests at once: which tests stay together, and what runs by itself.

A unit is what one process runs in one go: the tests of a file, or all that have the same mark
`xdist_group`, because they share something of which the machine has one. The first process and the
third take units from the front, where those of the browser are, the second the long ones and then
from the back: so what keeps a processor busy runs beside what mostly waits for the kernel, and no
process begins a long unit when the others have nothing left. Tests with the mark `alone` are the
last, when one process is left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

ALONE = "alone"
MACHINE = "machine"
"""The unit of what uses Docker's containers, capped groups or swap: one set for all."""

LONG = (
    "notebooks",
    "Chinese notebooks",
    "tests/integration/test_labs.py",
    "tests/integration/test_nbgrader.py",
    "tests/integration/test_corpus_verdicts.py",
    "tests/notebooks/test_notebooks_of_labs.py",
    "tests/integration/test_class.py",
)
"""The units, other than the browser's and the machine's, that take a minute or more."""

MACHINE_NOTEBOOKS = (
    "00_start_here",
    "08_when_memory_runs_out",
    "09_fibonacci_case",
    "11_incident_room",
)


def mark_notebook(name: str, unit: str) -> ParameterSet:
    """Return a notebook as a parameter of tests, in that unit or in the machine's."""
    group = MACHINE if name in MACHINE_NOTEBOOKS else unit
    return pytest.param(name, marks=pytest.mark.xdist_group(group))


def find_unit(item: pytest.Item) -> str:
    """Return the name of the unit that a test belongs to."""
    if item.get_closest_marker(ALONE):
        return ALONE
    group = item.get_closest_marker("xdist_group")
    return str(group.args[0]) if group else item.nodeid.partition("::")[0]


def write_units(items: Iterable[pytest.Item], path: Path) -> None:
    """Write the unit of each test to a file: the process that hands out units sees no test."""
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({item.nodeid: find_unit(item) for item in items}))
    draft.replace(path)


class UnitScheduling(LoadScopeScheduling):
    """Hands out whole units, from both ends, and those that run by themselves last."""

    def __init__(self, config: pytest.Config, log: Producer, units: Path) -> None:
        """Take the units from a file that `write_units` will have written."""
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._path = units
        self._unit_by_test: dict[str, str] = {}
        self._takes_from_back: dict[WorkerController, bool] = {}

    def add_node(self, node: WorkerController) -> None:
        """Take a process into service."""
        super().add_node(node)
        self._takes_from_back[node] = len(self.assigned_work) % 2 == 0

    def remove_node(self, node: WorkerController) -> str | None:
        """Give what a process has left to the others; return the test in which it died, if it did.

        That test has failed, and is not run again.
        """
        units = self.assigned_work.pop(node)
        undone = (test for unit in units.values() for test, is_done in unit.items() if not is_done)
        died_in = next(undone, None)
        for unit in units.values():
            if died_in in unit:
                unit[died_in] = True
        self.workqueue.update({name: u for name, u in units.items() if not all(u.values())})
        for other in self.nodes:
            self._reschedule(other)
        return died_in

    def _split_scope(self, nodeid: str) -> str:
        if not self._unit_by_test:
            self._unit_by_test = json.loads(self._path.read_text())
        return self._unit_by_test[nodeid]

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give a process its next unit; or end it, where another shall run the last one alone."""
        names = [name for name in self.workqueue if name != ALONE]
        if not names and any(not n.shutting_down for n in self.nodes if n is not node):
            node.shutdown()
        elif names or len(self.nodes) == 1:
            name = self._choose(node, names) if names else ALONE
            self.workqueue.move_to_end(name, last=False)
            super()._assign_work_unit(node)

    def _choose(self, node: WorkerController, names: list[str]) -> str:
        """Return the unit that a process takes next."""
        if not self._takes_from_back[node]:
            return names[0]
        return next((name for name in LONG if name in names), names[-1])
