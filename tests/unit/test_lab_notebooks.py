"""The notebooks of the labs: one shape, nothing of the program in them, points as in lab.json."""

import json
import re
from itertools import chain
from pathlib import Path

import nbformat
import pytest

from lablib.grading.labs import LABS_DIR, list_labs, load_lab

GLOSSARY = LABS_DIR.parent / "notebooks" / "glossary.md"
MAX_CELL_LINES = 10
MAX_CELLS_OF_CODE = 9
LOCKED = {"locked": True, "schema_version": 3, "solution": False, "task": False}
DIRECTIVE = re.compile(r"^ *#.*$", re.MULTILINE)
COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', re.DOTALL)
DECLARED = re.compile(r"^(?:[A-Za-z_][\w ]*[ *]+)(\w+)\(", re.MULTILINE)
ALSO_WORDS = {"main", "check", "compare", "100"}


@pytest.fixture(params=list_labs())
def lab(request):
    return load_lab(request.param)


@pytest.fixture
def notebook(lab):
    return nbformat.read(lab.folder / f"{lab.name}.ipynb", as_version=4)


def read_code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def read_all(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells)


def find_programs_own(source):
    """Words and numbers that stand in a program: its functions, and what is longer than a digit."""
    code = DIRECTIVE.sub(lambda line: line[0].replace("#include", ""), source)
    code = COMMENT_OR_TEXT.sub("", code)
    numbers = set(re.findall(r"(?<![\w.])\d{2,}(?!\w)", code))
    return (set(DECLARED.findall(code)) | numbers) - ALSO_WORDS


def find_given_away(text, source):
    words = {word.replace(",", "") for word in re.findall(r"\d[\d,]*\d|\w+", text)}
    return sorted(words & find_programs_own(source))


def test_it_says_what_the_lab_says(lab, notebook):
    opening = notebook.cells[0].source
    number = json.loads((lab.folder / "lab.json").read_text())["number"]
    assert opening.startswith(f"# Lab {number} · {lab.title}\n\n*About {lab.minutes} minutes.*\n\n")
    assert "**Your goal.** " in opening


def test_it_has_the_shape_of_a_lab(notebook):
    code = [cell.source for cell in read_code(notebook)]
    assert len(code) <= MAX_CELLS_OF_CODE
    assert all(len(cell.splitlines()) <= MAX_CELL_LINES for cell in code)
    order = [r"open_lab\(", r"show_program\(", r"predict\(", r"\.watch\(", r"\.compare\("]
    order += [r"lab\.show_questions\(", r"lab\.check\(", r"lab\.points\("]
    places = [next(i for i, cell in enumerate(code) if re.search(step, cell)) for step in order]
    assert places == sorted(places)


def test_its_text_leads_through_it(notebook):
    text = read_all(notebook)
    headings = re.findall(r"^##+ (.+)$", text, re.MULTILINE)
    assert headings[:4] == ["The program", "See what it does", "Your prediction", "The questions"]
    assert headings[-2:] == ["Your points", "What next"]
    assert text.index("### Your prediction") < text.index("**What we saw.**")
    assert text.index("**What we saw.**") < text.index("**What it means.**")
    assert not re.search(r"\b(input|getpass)\(", text)


def test_it_has_no_name_and_no_number_of_the_program(lab, notebook):
    """So it serves each variant; the name of the file stays, and so does that of the lab."""
    sources = [*lab.folder.glob("*.[ch]"), *lab.folder.glob("*/*.c")]
    names = json.loads((lab.folder / "lab.json").read_text()).get("names", {})
    text = re.sub(r"\b[\w/]+\.(c|ipynb|md)\b|[Ll]ab \d+|About \d+", "", read_all(notebook))
    assert [find_given_away(text, path.read_text()) for path in sources] == [[]] * len(sources)
    assert not {*names, *chain(*names.values())} & set(re.findall(r"\w+", text))


def test_what_would_give_the_program_away_is_found():
    source = (
        '#include <a.h>\n#define SIZE 4096 /* 77 */\nstatic void *take(int n)\n{ f("88", 1); }\n'
    )
    assert find_given_away("take a page of 4,096 bytes, 77, 88, 1", source) == ["4096", "take"]


def test_no_cell_has_outputs_and_each_has_its_id(notebook):
    assert all(not cell.outputs and cell.execution_count is None for cell in read_code(notebook))
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_its_links_lead_somewhere(lab, notebook):
    anchors = {line[4:].replace(" ", "-") for line in GLOSSARY.read_text().splitlines()
               if line.startswith("### ")}  # fmt: skip
    for link in re.findall(r"\]\(([^)]+)\)", read_all(notebook)):
        path, _, anchor = link.partition("#")
        next_lab = re.fullmatch(r"\.\./(\w+)/\1\.ipynb", path)
        assert (lab.folder / path).exists() or next_lab, link
        assert not anchor or anchor in anchors, link


def test_nbgrader_reads_as_many_points_as_the_lab_has(lab, notebook):
    grades = {}
    for cell in read_code(notebook):
        told = cell.metadata.get("nbgrader")
        if told:
            assert LOCKED.items() <= told.items()
            if told["grade"]:
                assert cell.source == f'lab.points("{told["grade_id"]}")'
                grades[told["grade_id"]] = told["points"]
            else:
                assert told["grade_id"] == "open"
                assert "open_lab()" in cell.source
    wanted = {
        "program": sum(check.points for check in lab.checks),
        "answers": sum(question.points for question in lab.questions),
    }
    assert grades == {part: points for part, points in wanted.items() if points}


def test_every_lab_has_its_notebook():
    found = {Path(path).parent.name for path in LABS_DIR.glob("*/*.ipynb")}
    assert found == set(list_labs())
