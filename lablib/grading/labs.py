"""The labs as they lie in labs/: what each asks for, and how it is judged, from its lab.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lablib.errors import GradingError
from lablib.grading.rendering import Rendering
from lablib.language import term

LABS_DIR = Path(__file__).resolve().parents[2] / "labs"
LAB_FILE = "lab.json"
ANSWERS = "answers.json"
FAILING, NOTING = "failing.c", "noting.c"
NEVER = "never"
"""The answer to "when?" and "how much?" where that never comes, or has no end."""


@dataclass(frozen=True)
class Check:
    """One thing to judge, by its `kind` (a name in checks.py), and the points for it.

    `parameters` are the kind's own.
    """

    kind: str
    points: float
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Rate:
    """How much more of a quantity the program as handed out has with each term.

    It is measured at the end of a run over `terms[0]` terms, and of another over `terms[1]`.
    """

    quantity: str
    terms: tuple[int, int]


@dataclass(frozen=True)
class Question:
    """A question that the learner answers in answers.json.

    With `choices` the answer is the letter of one of them; else a number, which may be off by the
    share `tolerance`. `expected` is the letter, the number, the name of a quantity that is measured
    of the submission, or a rate (in lab.json {"rate": its quantity, "terms": [from, to]}); None in
    a hand-out, which does not say. `feedback` is for each wrong choice, or under "wrong" for
    another answer.

    A number `may_be_never`: then it can be the word `NEVER` instead.

    With `is_name` the answer is a name of the program's, and `expected` those that are right. With
    `least_words` it is a text of so many words, which has one of these names in it, where there
    are any.
    """

    name: str
    text: str
    points: float
    expected: str | float | tuple[str, ...] | Rate | None
    choices: Mapping[str, str]
    feedback: Mapping[str, str]
    tolerance: float = 0.0
    may_be_never: bool = False
    is_name: bool = False
    least_words: int = 0


@dataclass(frozen=True)
class Service:
    """How a lab's program is run by those who use it: terms a second, and the limit of its memory.

    Who still runs after `horizon` terms, growing no more, is not killed.
    """

    rate: float
    limit_bytes: int
    horizon: int


@dataclass(frozen=True)
class Lab:
    """One graded lab: its folder, its program, and how a submission of it is judged.

    `terms` is the N of runs over N, 2N and 4N. `options` go to the program before `--terms`.
    `hints` are three for a check, by its kind, each more telling than the one before.

    `companions` are C files of ours that each program is linked with. Calls of the functions in
    `failing` are refused now and then, by labs/failing.c; of those in `noted` labs/noting.c notes
    who makes them. Lines of output that begin with one of `may_differ` need not be those of the
    program as handed out. Its program is one process unless it `may_fork`. `rendering` is the
    variant that it is: of what lies in `folder`, with its numbers and names.

    An incident has a `service`, the message of its `pager`, and its `truth`, in the words of those
    of the apps (lablib/truth.py); a hand-out has no truth.
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
    noted: tuple[str, ...] = ()
    may_differ: tuple[str, ...] = ()
    may_fork: bool = False
    rendering: Rendering = field(default_factory=Rendering)
    service: Service | None = None
    pager: str = ""
    truth: Mapping[str, Any] | None = None

    def read_source(self) -> str:
        """Return the program as this variant of it is handed out."""
        path = self.folder / (self.rendering.source or self.source)
        return self.rendering.apply(path.read_text())


def list_labs(folder: Path = LABS_DIR) -> list[str]:
    """Return the names of all labs, in the order in which they are done."""
    found = [(read_lab_data(path.parent)["number"], path) for path in folder.glob(f"*/{LAB_FILE}")]
    return [path.parent.name for _, path in sorted(found)]


def load_lab(name: str, folder: Path = LABS_DIR, source: str = "") -> Lab:
    """Return a lab by its name, as it lies there; of several programs the one in `source`.

    Raises `GradingError` where there is none.
    """
    path = folder / name / LAB_FILE
    if "/" in name or not path.is_file():
        raise GradingError(
            term("there is no lab called {name}", name=name),
            term("choose from: {choices}", choices=", ".join(list_labs(folder))),
        )
    data = read_lab_data(path.parent, source)
    return make_lab(path.parent, data, Rendering.of_first(data))


def read_letter(answer: object) -> str:
    """Return the letter of a choice, however it was written."""
    return str(answer).strip().upper()


def list_sources(folder: Path) -> list[str]:
    """Return the programs of a lab's folder of which one is handed out; none where it has one."""
    sources: list[str] = _read_json(folder / LAB_FILE).get("sources", [])
    return sources


def read_lab_data(folder: Path, source: str = "") -> dict[str, Any]:
    """Return the lab.json of a lab's folder, with all that its variants may be.

    Of a lab with several programs it is what the lab is with that in `source`, or with the first:
    what lies beside the program, as its JSON, is added.
    """
    data = _read_json(folder / LAB_FILE)
    if not data.get("sources"):
        return data
    data["sources"] = [source or data["sources"][0]]
    beside = find_beside(folder / data["sources"][0])
    own = _read_json(beside) if beside.is_file() else {}
    expected = own.pop("expected", {})
    for question in data["questions"]:
        if question["name"] in expected:
            question["expected"] = expected[question["name"]]
    for what in ("parameters", "names"):
        data[what] = {**data.get(what, {}), **own.pop(what, {})}
    return {**data, **own}


def find_beside(source: Path) -> Path:
    """Return where it is that a lab says what is its own with one of its programs."""
    return source.with_suffix(".json")


def _read_json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
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
        noted=tuple(data.get("noted", ())),
        may_differ=tuple(data.get("may_differ", ())),
        may_fork=data.get("may_fork", False),
        rendering=rendering,
        service=_make_service(data["service"]) if "service" in data else None,
        pager=data.get("pager", ""),
        truth=data.get("truth"),
    )


def _make_service(data: Mapping[str, Any]) -> Service:
    return Service(data["rate"], data["limit_mib"] << 20, data["horizon"])


def _find_companions(folder: Path, data: Mapping[str, Any]) -> tuple[Path, ...]:
    own = tuple(folder / name for name in data.get("companions", ()))
    of_all = {"failing": FAILING, "noted": NOTING}
    return (*own, *(folder.parent / name for what, name in of_all.items() if data.get(what)))


def _make_check(data: dict[str, Any]) -> Check:
    return Check(data.pop("check"), data.pop("points"), data)


def _make_question(data: Mapping[str, Any]) -> Question:
    return Question(
        name=data["name"],
        text=data["text"],
        points=data["points"],
        expected=_make_expected(data.get("expected")),
        choices=data.get("choices", {}),
        feedback=data.get("feedback", {}),
        tolerance=data.get("tolerance", 0.0),
        may_be_never=data.get("may_be_never", False),
        is_name=data.get("is_name", False),
        least_words=data.get("least_words", 0),
    )


def _make_expected(data: Any) -> str | float | tuple[str, ...] | Rate | None:
    if isinstance(data, dict):
        first, last = data["terms"]
        return Rate(data["rate"], (first, last))
    expected: str | float | tuple[str, ...] | None = tuple(data) if isinstance(data, list) else data
    return expected
