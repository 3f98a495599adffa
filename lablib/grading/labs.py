"""The labs as they lie in labs/: what each asks for, and how it is judged, from its lab.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lablib.errors import GradingError
from lablib.grading.rendering import Rendering

LABS_DIR = Path(__file__).resolve().parents[2] / "labs"
LAB_FILE = "lab.json"
ANSWERS = "answers.json"
FAILING = "failing.c"


@dataclass(frozen=True)
class Check:
    """One thing to judge, by its `kind` (a name in checks.py), and the points for it.

    `parameters` are the kind's own.
    """

    kind: str
    points: float
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """A question that the learner answers in answers.json.

    With `choices` the answer is the letter of one of them; else a number, which may be off by the
    share `tolerance`. `expected` is the letter, the number, or the name of a measured quantity;
    None in a hand-out, which does not say. `feedback` is for each wrong choice, or under "wrong"
    for a number.
    """

    name: str
    text: str
    points: float
    expected: str | float | None
    choices: Mapping[str, str]
    feedback: Mapping[str, str]
    tolerance: float = 0.0


@dataclass(frozen=True)
class Lab:
    """One graded lab: its folder, its program, and how a submission of it is judged.

    `terms` is the N of runs over N, 2N and 4N. `options` go to the program before `--terms`.
    `hints` are three for a check, by its kind, each more telling than the one before.

    `companions` are C files of ours that each program is linked with. Calls of the functions in
    `failing` are refused now and then, by labs/failing.c. Lines of output that begin with one of
    `may_differ` need not be those of the program as handed out. Its program is one process unless
    it `may_fork`. `rendering` is the variant that it is: of what lies in `folder`, with its numbers
    and names.
    """

    name: str
    title: str
    minutes: int
    folder: Path
    source: str
    terms: int
    options: tuple[str, ...]
    checks: tuple[Check, ...]
    questions: tuple[Question, ...]
    hints: Mapping[str, tuple[str, ...]]
    companions: tuple[Path, ...] = ()
    failing: tuple[str, ...] = ()
    may_differ: tuple[str, ...] = ()
    may_fork: bool = False
    rendering: Rendering = field(default_factory=Rendering)

    def read_source(self) -> str:
        """Return the program as this variant of it is handed out."""
        path = self.folder / (self.rendering.source or self.source)
        return self.rendering.apply(path.read_text())


def list_labs(folder: Path = LABS_DIR) -> list[str]:
    """Return the names of all labs, in the order in which they are done."""
    found = [(read_lab_data(path.parent)["number"], path) for path in folder.glob(f"*/{LAB_FILE}")]
    return [path.parent.name for _, path in sorted(found)]


def load_lab(name: str, folder: Path = LABS_DIR) -> Lab:
    """Return a lab by its name, as it lies there; raises `GradingError` where there is none."""
    path = folder / name / LAB_FILE
    if "/" in name or not path.is_file():
        raise GradingError(
            f"there is no lab called {name}", f"choose from: {', '.join(list_labs(folder))}"
        )
    data = read_lab_data(path.parent)
    return make_lab(path.parent, data, Rendering.of_first(data))


def read_lab_data(folder: Path) -> dict[str, Any]:
    """Return the lab.json of a lab's folder, with all that its variants may be."""
    data: dict[str, Any] = json.loads((folder / LAB_FILE).read_text())
    return data


def make_lab(folder: Path, data: Mapping[str, Any], rendering: Rendering) -> Lab:
    """Return the variant of a lab that `rendering` makes of its folder and its lab.json."""
    data, name = rendering.apply_to_lab(data), folder.name
    return Lab(
        name=name,
        title=data["title"],
        minutes=data["minutes"],
        folder=folder,
        source=data.get("source", f"{name}.c"),
        terms=data["terms"],
        options=tuple(data.get("options", ("--rate", "0"))),
        checks=tuple(_make_check(dict(check)) for check in data["checks"]),
        questions=tuple(_make_question(question) for question in data.get("questions", ())),
        hints={kind: tuple(texts) for kind, texts in data.get("hints", {}).items()},
        companions=_find_companions(folder, data),
        failing=tuple(data.get("failing", ())),
        may_differ=tuple(data.get("may_differ", ())),
        may_fork=data.get("may_fork", False),
        rendering=rendering,
    )


def _find_companions(folder: Path, data: Mapping[str, Any]) -> tuple[Path, ...]:
    own = tuple(folder / name for name in data.get("companions", ()))
    return (*own, folder.parent / FAILING) if data.get("failing") else own


def _make_check(data: dict[str, Any]) -> Check:
    return Check(data.pop("check"), data.pop("points"), data)


def _make_question(data: Mapping[str, Any]) -> Question:
    return Question(
        name=data["name"],
        text=data["text"],
        points=data["points"],
        expected=data.get("expected"),
        choices=data.get("choices", {}),
        feedback=data.get("feedback", {}),
        tolerance=data.get("tolerance", 0.0),
    )
