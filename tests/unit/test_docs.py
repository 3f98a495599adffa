"""The pages for readers: their links lead somewhere, and what is made from data is up to date."""

import re
from pathlib import Path

import pytest

from lablib.cli import verbs
from lablib.where import write_page

ROOT = Path(__file__).parents[2]
HIDDEN = {".venv", ".lab", "results", "build"}
PAGES = [
    page
    for page in sorted(ROOT.rglob("*.md"))
    if not HIDDEN & set(page.relative_to(ROOT).parts) and ".pytest_cache" not in page.parts
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
VERB = re.compile(r"`\./lab (\w+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_to_a_file(page):
    targets = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    files = [page.parent / target.partition("#")[0] for target in targets if target[0] != "#"]
    assert [str(file) for file in files if not file.exists()] == []


def test_the_readers_pages_were_found():
    assert {"README.md", "learners.md", "tracing.md"} <= {page.name for page in PAGES}


def test_the_table_of_commands_has_each_verb_and_no_other():
    told = set(VERB.findall((ROOT / "README.md").read_text()))
    assert told == set(verbs.commands) - {"help", "version"}


def test_what_works_where_is_made_from_the_doctors_runs():
    page = (ROOT / "docs" / "what-works-where.md").read_text()
    assert page == write_page(), "run: python -m lablib.where > docs/what-works-where.md"
