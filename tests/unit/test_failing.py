"""How a run that should not have ended so is described to a student."""

import pytest

from lablib.grading.checks.failing import describe_end
from lablib.grading.sandbox import Run

MAP = """
==2==AddressSanitizer: hard rss limit exhausted (512Mb vs 516Mb)
==2==Process memory map follows:
	0x5581f0a3c000-0x5581f0a3d000	/build/program
==2==End of process memory map.
"""


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ("", "ended with exit code 1"),
        ("first\nlast\n", 'ended with exit code 1, and said "last"'),
        (MAP, "took more than the 512 MiB of memory that it may have, and was ended"),
        (
            "==2==ERROR: AddressSanitizer: heap-use-after-free on address 0x60\n==2==ABORTING\n",
            'ended with exit code 1, and said "heap-use-after-free on address 0x60"',
        ),
    ],
)
def test_the_line_that_says_why_is_told(errors, words):
    assert describe_end(Run(1, "itself", 0.1, "", errors)) == words
