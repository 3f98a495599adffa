"""What a test hands in: a lab's program with one of the patches in instructor/, or as it is."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from patches import apply_patch

from lablib.grading.labs import ANSWERS, LABS_DIR, Lab, list_labs, list_sources, load_lab
from lablib.grading.variants import draw_lab
from lablib.truth import compute

INSTRUCTOR = Path(__file__).parents[1] / "instructor"
KEY = b"the key of the course in the tests"
EXPECTS = re.compile(r'wrong: (.+); expects: "(.+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """A submission of a lab, or of a student's variant of it.

    Without a patch it is the program as it was handed out, without a file of answers it has none.
    Of a lab with several programs it is one of that in `source`.
    """

    lab: str
    patch: Path | None = None
    answers: Path | None = None
    student: str = ""
    source: str = ""

    def __str__(self):
        """Its name among the tests."""
        names = [path.stem for path in (self.patch, self.answers) if path]
        family = Path(self.source).stem
        return "-".join(filter(None, [self.lab, family, *(names or ["as-it-is"]), self.student]))


def load_variant(case: Case) -> Lab:
    """The lab that a case is judged by."""
    lab = load_lab(case.lab, source=case.source)
    return draw_lab(lab, KEY, case.student, case.source) if case.student else lab


def hand_in(case: Case, folder: Path) -> Lab:
    """Put a case into a folder, and return the lab to judge it by."""
    lab = load_variant(case)
    (folder / lab.source).write_text(make_program(lab, case.patch))
    if case.answers is not None:
        (folder / ANSWERS).write_text(json.dumps(make_answers(lab, case.answers)))
    return lab


def make_program(lab: Lab, patch: Path | None) -> str:
    """The program of a lab, patched as it lies there, and then rendered as its variant."""
    if patch is None:
        return lab.read_source()
    original = (lab.folder / (lab.rendering.source or lab.source)).read_text()
    return lab.rendering.apply(apply_patch(original, patch.read_text()))


def make_answers(lab: Lab, path: Path) -> dict:
    """The answers in a file, with the numbers and the letters of the variant."""
    given = lab.rendering.apply_to_data(json.loads(path.read_text()))
    letters = lab.rendering.letters
    return {
        name: letters.get(name, {}).get(answer, answer)
        for name, answer in given.get("answers", given).items()
    }


def read_expected(case: Case) -> str:
    """The words of the sentence that fits a wrong fix to a variant."""
    return fill_in(load_variant(case), EXPECTS.match(case.patch.read_text())[2])


def fill_in(lab: Lab, text: str) -> str:
    """A text with the names of a variant, and with the arithmetic in its braces done."""

    def write(found):
        number = compute(found[1], lab.rendering.numbers)
        return f"{number:,}" if number == int(number) else f"{number:,.2f}"

    return lab.rendering.apply(re.sub(r"\{(.+?)\}", write, text))


def list_programs() -> list[tuple[str, str]]:
    """Each lab, with each of its programs, "" for its only one."""
    return [
        (name, source) for name in list_labs() for source in list_sources(LABS_DIR / name) or [""]
    ]


def find_folder(name: str, source: str) -> Path:
    """Where the solution of a lab's program lies."""
    return INSTRUCTOR / name / Path(source).stem


def list_patches(name: str, source: str, pattern: str) -> list[Path]:
    """The patches of a lab's program; none where it is right as it is."""
    return sorted(find_folder(name, source).glob(f"{pattern}.patch"))


def make_solution(name: str, source: str, student: str = "") -> Case:
    """The reference fix of a lab's program, with its answers."""
    return Case(
        name,
        next(iter(list_patches(name, source, "solution")), None),
        find_folder(name, source) / ANSWERS,
        student,
        source,
    )
