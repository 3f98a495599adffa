"""A patch is applied exactly where it says, or not at all."""

import difflib

import pytest
from patches import apply_patch

TEXT = "".join(f"line {number}\n" for number in range(1, 31))
CHANGED = TEXT.replace("line 3\n", "").replace("line 20\n", "line 20\nand one more\n")
PATCH = "".join(difflib.unified_diff(TEXT.splitlines(True), CHANGED.splitlines(True), "a.c", "a.c"))


def test_a_patch_makes_one_text_of_the_other():
    assert apply_patch(TEXT, f"wrong: two places\n{PATCH}") == CHANGED


@pytest.mark.parametrize(
    ("text", "patch"),
    [
        (f"one more\n{TEXT}", PATCH),
        (TEXT.replace("line 4\n", "line four\n"), PATCH),
        (CHANGED, PATCH),
        (TEXT, PATCH.replace(" line 19\n", "")),
        (TEXT, PATCH.replace(" line 19\n", "line 19\n")),
        (TEXT, "--- a.c\n+++ a.c\n"),
        (TEXT, ""),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(text, patch):
    with pytest.raises(ValueError, match="patch"):
        apply_patch(text, patch)
