"""nbgrader's configuration for a course with the lab notebooks: copy it into the course's folder.

Learners hand in a program and answers. They are what is judged, outside of any kernel: so nothing
else that they hand in is run. Cells that are not locked are emptied before the notebook is run, and
no module of theirs can be imported.
"""

from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    NbGraderPreprocessor,
    OverwriteCells,
    OverwriteKernelspec,
)
from traitlets.config import get_config

from lablib.grading.labs import ANSWERS, list_labs, load_lab


class KeepLockedCells(NbGraderPreprocessor):  # type: ignore[misc]
    """Empties each cell of code but those that were released locked: these are as released."""

    def preprocess(self, notebook: Any, resources: Any) -> tuple[Any, Any]:
        """Return the notebook with nothing in it that a learner wrote and a kernel would run."""
        names = resources["nbgrader"]
        with Gradebook(names["db_url"]) as gradebook:
            for cell in notebook.cells:
                if cell.cell_type == "code" and not _is_locked(gradebook, names, cell):
                    cell.source = ""
        return notebook, resources


def _is_locked(gradebook: Any, names: Any, cell: Any) -> bool:
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
    try:
        released = gradebook.find_source_cell(grade_id, names["notebook"], names["assignment"])
    except MissingEntry:
        return False
    return bool(released.locked and cell.source == released.source)


c = get_config()  # type: ignore[no-untyped-call]

# What learners change: it is not replaced by what was handed out.
c.Autograde.exclude_overwriting = {name: [load_lab(name).source, ANSWERS] for name in list_labs()}

c.Autograde.sanitize_preprocessors = [
    ClearOutput,
    DeduplicateIds,
    OverwriteKernelspec,
    OverwriteCells,
    KeepLockedCells,
    CheckCellMetadata,
]

# A kernel looks for modules in its own folder first: none of these is taken from a submission.
c.CourseDirectory.ignore = [
    *(".ipynb_checkpoints", "__pycache__", "feedback"),
    *("*.py", "*.pyc", "*.so", "*.pth"),
]

# One check takes seconds, on a slow machine more.
c.Execute.timeout = 300
