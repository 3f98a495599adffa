"""Compiled functions: the maps that they use, put in by each session; and why they are refused."""

import pytest

from lablib.tracing.bytecode import CompiledFunction, find_maps, find_reason

FIRST_MAP, SECOND_MAP = 7, 9
MOVE = "b700000007000000"  # r0 = 7: no map, though the number is the first map's
LOAD_FIRST = "1811000007000000 0000000000000000"  # r1 = map 7
LOAD_SECOND = "1812000009000000 0000000000000000"  # r2 = map 9
LOAD_NUMBER = "1801000007000000 1811000009000000"  # r1 = a number, whose upper half looks like both
EXIT = "9500000000000000"
NAMES = {FIRST_MAP: "first", SECOND_MAP: "second"}


def join(*instructions):
    return bytes.fromhex(" ".join(instructions))


def test_maps_are_found_by_the_instruction_that_loads_them():
    code = join(MOVE, LOAD_FIRST, LOAD_SECOND, LOAD_FIRST, EXIT)
    assert find_maps(code, NAMES) == {1: "first", 3: "second", 5: "first"}


def test_a_number_is_no_map():
    assert find_maps(join(LOAD_NUMBER, MOVE, EXIT), NAMES) == {}


def test_a_map_without_a_name_is_an_error():
    with pytest.raises(KeyError):
        find_maps(join(LOAD_SECOND, EXIT), {FIRST_MAP: "first"})


def test_linking_puts_in_a_sessions_own_maps_and_nothing_else():
    code = join(MOVE, LOAD_NUMBER, LOAD_FIRST, LOAD_SECOND, EXIT)
    function = CompiledFunction(code, find_maps(code, NAMES))
    linked = function.link({"first": SECOND_MAP, "second": FIRST_MAP, "third": 1})
    expected = join(
        *(MOVE, LOAD_NUMBER),
        LOAD_FIRST.replace("1811000007", "1811000009"),
        LOAD_SECOND.replace("1812000009", "1812000007"),
        EXIT,
    )
    assert linked == expected
    assert function.code == code


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "func#0 @0\n0: R1=ctx() R10=fp0\n0: (95) exit\nR0 !read_ok\n"
            "processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0\n",
            "R0 !read_ok",
        ),
        ("unreachable insn 3\n", "unreachable insn 3"),
        ("", ""),
    ],
    ids=["with statistics", "without", "nothing"],
)
def test_the_reason_is_the_last_line_but_for_the_statistics(log, reason):
    assert find_reason(log) == reason
