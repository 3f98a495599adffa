"""What a client may ask of a session."""

import pytest

from lablib.errors import TracerError
from lablib.tracing.session import SessionOptions


def test_a_request_that_says_nothing_gets_the_defaults():
    assert SessionOptions.parse({"pid": 1}) == SessionOptions()


def test_what_is_asked_for_is_given():
    asked = {"sample_bytes": 4096, "follows_forks": True, "max_blocks": 10, "opens_window": False}
    assert vars(SessionOptions.parse(asked)).items() >= asked.items()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_bytes", -1),
        ("sample_bytes", 1 << 21),
        ("sample_bytes", 1.5),
        ("sample_bytes", True),
        ("max_blocks", 0),
        ("max_blocks", 1 << 40),
        ("max_stacks", "9"),
        ("rows", 1 << 30),
        ("pages", 1 << 20),
        ("follows_forks", 1),
        ("opens_window", "yes"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(TracerError, match=name):
        SessionOptions.parse({name: value})
