"""The glossary and the notebooks agree: each term once, in order, and explained where it says."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FIRST_MET = re.compile(r"\nFirst met in \[(\d\d)\]\((\1_\w+\.ipynb)\)\.\Z")
LINK = re.compile(r"glossary\.md#([^)\s]*)")


def read_entries(text):
    """The (term, definition) pairs of a glossary."""
    entries = (part.partition("\n\n") for part in text.split("\n### ")[1:])
    return [(term, body.rstrip()) for term, _, body in entries]


def anchor_of(term):
    """What leads to a term's heading, in JupyterLab and elsewhere; they agree on small letters."""
    return term.replace(" ", "-")


def read_text(path):
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def find_faults(glossary, texts):
    """What is wrong, in words; `texts` are those of the notebooks that exist, by file name."""
    entries = read_entries(glossary)
    terms = [term for term, _ in entries]
    faults = []
    if terms != sorted(set(terms)):
        faults.append("each term once, in the order of the alphabet")
    for term, body in entries:
        met = FIRST_MET.search(body)
        if not re.fullmatch(r"[a-z0-9 -]+", term):
            faults.append(f"{term}: small letters, so that links find it everywhere")
        if not met:
            faults.append(f"{term}: ends in a line “First met in [NN](NN_title.ipynb).”")
        elif len(body[: met.start()].split()) < 3:
            faults.append(f"{term}: no definition")
        elif met[2] in texts and not explains(texts[met[2]], term):
            faults.append(f"{term}: not in bold with its link in {met[2]}")
    for name, text in texts.items():
        unknown = set(LINK.findall(text)) - set(map(anchor_of, terms))
        faults += [f"{name}: no entry for {anchor}" for anchor in sorted(unknown)]
    return faults


def explains(text, term):
    """Whether a text has the term, or another form of it, in bold, and linked to its entry."""
    words = r"\s+".join(map(re.escape, term.split()))
    link = rf"{words}\w*\]\(glossary\.md#{re.escape(anchor_of(term))}\)"
    return re.search(rf"\*\*\[{link}\*\*", text, re.IGNORECASE) is not None


def test_the_glossary_and_the_notebooks_agree():
    texts = {path.name: read_text(path) for path in NOTEBOOKS.glob("*.ipynb")}
    glossary = (NOTEBOOKS / "glossary.md").read_text()
    assert read_entries(glossary)
    assert find_faults(glossary, texts) == []


GOOD = """# Glossary

### address space

All addresses of a process.
First met in [01](01_places.ipynb).

### page

The unit of memory.
First met in [01](01_places.ipynb).

### swap

Where pages go that had to leave.
First met in [08](08_not_written_yet.ipynb).
"""
TEXTS = {
    "01_places.ipynb": "An **[address\nspace](glossary.md#address-space)** has"
    " **[pages](glossary.md#page)**."
}


def test_terms_of_notebooks_that_are_not_there_yet_are_fine():
    assert find_faults(GOOD, TEXTS) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("### swap", "### page", "each term once"),
        ("### address space", "### zebra", "order of the alphabet"),
        ("### swap", "### Swap", "small letters"),
        ("The unit of memory.\n", "", "page: ends in a line"),
        ("The unit of memory.", "Unit.", "page: no definition"),
        ("[01](01_places", "[02](01_places", "address space: ends in a line"),
        ("### swap\n\n", "### swap\n", "small letters"),
    ],
)
def test_a_fault_in_the_glossary_is_found(old, new, fault):
    assert any(fault in found for found in find_faults(GOOD.replace(old, new, 1), TEXTS))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("**[pages](glossary.md#page)**", "**pages**", "page: not in bold with its link"),
        ("**[pages](glossary.md#page)**", "[pages](glossary.md#page)", "page: not in bold"),
        ("glossary.md#page", "glossary.md#frame", "01_places.ipynb: no entry for frame"),
    ],
)
def test_a_fault_in_a_notebook_is_found(old, new, fault):
    texts = {name: text.replace(old, new) for name, text in TEXTS.items()}
    assert any(fault in found for found in find_faults(GOOD, texts))
