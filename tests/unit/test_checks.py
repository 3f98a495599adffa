"""Checks of understanding in the notebooks: a `<details>` for each choice, and why in each."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CHOICE = re.compile(r"<details><summary>(.+?)</summary>\n(.+?)</details>", re.DOTALL)


def read_checks(path):
    """The checks of a notebook, each as its (choice, feedback) pairs; a text cell has one."""
    texts = [
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown" and "<details" in cell.source
    ]
    return [(text, CHOICE.findall(text)) for text in texts]


def find_faults(text, choices):
    """What is wrong with a check, in words."""
    faults = []
    if len(choices) < 2 or len(choices) != text.count("<details"):
        faults.append(
            "two choices or more, each: <details><summary>choice</summary>, why</details>"
        )
    if not any(why.startswith("Yes. ") for _, why in choices):
        faults.append("what is right about a choice begins with “Yes. ”")
    faults += [f"no reason: {choice}" for choice, why in choices if len(why.split()) < 5]
    if re.search(r"`|\*\*|\n\n", "".join(part for choice in choices for part in choice)):
        faults.append(
            "HTML, not Markdown, and no empty line: not every page reads these in <details>"
        )
    question = text[: text.find("<details")].rstrip()
    if not question.endswith("?"):
        faults.append("no question before the choices")
    return faults


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_check_has_a_question_a_right_choice_and_a_reason_for_each(path):
    checks = read_checks(path)
    assert checks, "a notebook checks what was understood"
    assert {text: find_faults(text, choices) for text, choices in checks} == {
        text: [] for text, _ in checks
    }


GOOD = """Can it leak?

<details><summary>Yes, each time</summary>
No. Its memory goes with the function.</details>

<details><summary>Never</summary>
Yes. It lies on the stack, so it goes.</details>
"""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("Can it leak?", "It can leak.", "no question"),
        ("Yes. It", "It", "begins with “Yes. ”"),
        ("Its memory goes with the function.", "", "no reason: Yes, each time"),
        ("the stack", "the `stack`", "not Markdown"),
        ("<summary>Never</summary>", "<p>Never</p>", "two choices or more"),
    ],
)
def test_a_check_with_a_fault_is_found(old, new, fault):
    assert find_faults(GOOD, CHOICE.findall(GOOD)) == []
    bad = GOOD.replace(old, new)
    assert any(fault in found for found in find_faults(bad, CHOICE.findall(bad)))
