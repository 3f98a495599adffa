"""Variants follow from their key alone, differ from the program, and have an exact truth."""

import collections
import re

import pytest

from lablib.apps import find_source, list_corpus, read_raw_truth, read_truth
from lablib.truth import resolve_truth
from lablib.variants import DEPTHS, draw_variant, write_variant

KEYS = [f"key {number}".encode() for number in range(40)]
C_NAME = re.compile(r"\b[A-Za-z_]\w*\b")
NO_CODE = re.compile(r'/\*.*?\*/|"[^"\n]*"', re.DOTALL)


def test_a_variant_is_the_same_on_every_machine_for_ever():
    variant = draw_variant("error_path", b"course 2026, student 17")
    assert variant.header.splitlines() == [
        "#define BAD_EVERY 8",
        "#define BUFFER_BYTES 3072",
        "#define LEAKY_DEPTH 3",
        "#define handle_request process_query",
        "#define receive fetch",
    ]
    assert (variant.name, variant.rate) == ("web_server", 50)


def test_two_keys_rarely_draw_the_same():
    drawn = collections.Counter(draw_variant("error_path", key).identity for key in KEYS)
    assert len(drawn) > 0.9 * len(KEYS)


def test_every_choice_is_drawn_by_some_key():
    raw = read_raw_truth("error_path")
    variants = [draw_variant("error_path", key) for key in KEYS]
    for name, choices in raw["parameters"].items():
        assert {variant.numbers[name] for variant in variants} == set(choices)
    assert {variant.name for variant in variants} == set(raw["names"]["error_path"])
    assert {variant.depth for variant in variants} == set(DEPTHS)


def test_its_truth_is_that_of_its_numbers_and_names():
    for key in KEYS:
        variant = draw_variant("error_path", key)
        (leak,) = variant.truth["leaks"]
        every = variant.numbers["BAD_EVERY"]
        assert leak["function"] == variant.names["handle_request"]
        assert leak["file"] == f"{variant.name}.c"
        assert leak["line"] == read_truth("error_path")["leaks"][0]["line"]
        assert leak["bytes_per_term"] == pytest.approx(variant.numbers["BUFFER_BYTES"] / every)
        assert variant.truth["period"] == every
        assert variant.truth["rate"] == variant.rate >= read_truth("error_path")["rate"]


@pytest.mark.parametrize("name", list_corpus())
def test_a_program_can_be_told_by_none_of_its_names(name):
    raw = read_raw_truth(name)
    used = set(C_NAME.findall(NO_CODE.sub("", find_source(name).read_text())))
    replaced = {old: new for old, new in raw["names"].items() if old != name}
    given = [name for choices in replaced.values() for name in choices]
    assert len(set(given)) == len(given)
    assert not used & set(given)
    assert set(replaced) <= used
    assert name not in raw["names"][name]
    assert {leak["function"] for leak in raw["leaks"]} <= set(replaced)


@pytest.mark.parametrize("name", list_corpus())
def test_the_first_choice_of_each_setting_is_what_the_source_says(name):
    source = find_source(name).read_text()
    settings = dict(re.findall(r"#ifndef (\w+)\n#define \1 (\d+)", source))
    first = {key: choices[0] for key, choices in read_raw_truth(name).get("parameters", {}).items()}
    assert {key: int(value) for key, value in settings.items()} == first


def test_the_source_is_written_once_so_that_it_is_not_built_again(tmp_path):
    variant = draw_variant("error_path", KEYS[0])
    source = write_variant(variant, tmp_path)
    written = source.stat().st_mtime_ns
    assert write_variant(variant, tmp_path).stat().st_mtime_ns == written
    assert source.read_text() == find_source("error_path").read_text()


@pytest.mark.parametrize("expression", ["UNKNOWN", "2 ** 64", "__import__('os')", "1.5", "x.y"])
def test_an_expression_is_arithmetic_with_known_settings(expression):
    raw = {"parameters": {"KNOWN": [1]}, "leaks": [], "period": expression}
    with pytest.raises(ValueError, match="not arithmetic"):
        resolve_truth(raw, {}, {})


def test_an_expression_is_exact():
    raw = {"parameters": {"A": [7], "B": [2]}, "leaks": []}
    assert resolve_truth(raw | {"period": "(A - 1) / B"}, {}, {})["period"] == 3
    assert resolve_truth(raw | {"period": "A / B"}, {}, {})["period"] == 3.5
    assert resolve_truth(raw | {"period": "A / B"}, {"A": 8}, {})["period"] == 4
