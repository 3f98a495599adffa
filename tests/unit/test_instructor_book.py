"""The instructor's book says what is there: its links, the verbs, the cells and the minutes."""

import json
import re

import pytest

from lablib.cli import verbs
from lablib.grading.labs import LABS_DIR, list_labs, load_lab

ROOT = LABS_DIR.parent
BOOK = ROOT / "instructor"
PAGES = sorted([*BOOK.glob("*.md"), *BOOK.glob("nbgrader/*.md")])
LINK = re.compile(r"\]\(([^)]+)\)")


def name_anchors(path):
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def find_notebook(number):
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    return json.loads(path.read_text())["cells"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in name_anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_have_verbs_and_options_that_exist(page):
    for verb, words in re.findall(r"\./lab ([a-z]+)([^`\n]*)", page.read_text()):
        assert verb in verbs.commands, verb
        known = {opt for param in verbs.commands[verb].params for opt in param.opts}
        if verb != "test":
            assert set(re.findall(r"--[a-z-]+", words)) <= known, words


def test_the_presenters_cells_are_in_their_notebooks():
    text = (BOOK / "presenting.md").read_text()
    for part in text.split("\n## ")[1:]:
        number = part[:2]
        if number.isdigit():
            ids = {cell["id"] for cell in find_notebook(number) if cell["cell_type"] == "code"}
            assert set(re.findall(r"cell-\d+", part)) <= ids


def test_the_minutes_of_the_notebooks_are_theirs():
    rows = re.findall(
        r"^\| \d:\d\d \| (\d\d) .+? \| (\d+) \|$", (BOOK / "README.md").read_text(), re.M
    )
    assert len(rows) == 6
    for number, minutes in rows:
        assert f"*About {minutes} minutes.*" in "".join(find_notebook(number)[0]["source"])


def test_the_six_weeks_have_the_minutes_of_their_notebooks_and_labs():
    labs = {name: load_lab(name).minutes for name in list_labs()}
    table = (BOOK / "README.md").read_text().split("### Six weeks")[1]
    for read, minutes, tasks, lab_minutes in re.findall(
        r"^\| \d \| (.+?) \| (\d+) \| (.+?) \| (\d+) \|$", table, re.MULTILINE
    ):
        numbers = re.findall(r"\b\d\d\b", read)
        opened = ["".join(find_notebook(number)[0]["source"]) for number in numbers]
        told = [int(re.search(r"\*About (\d+) minutes", text)[1]) for text in opened]
        assert not told or sum(told) == int(minutes)
        named = [name for name in re.findall(r"\d+ (\w+)", tasks) if name in labs]
        assert sum(labs[name] for name in named) == int(lab_minutes)
