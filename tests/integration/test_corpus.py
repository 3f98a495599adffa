"""The truth about each program of the corpus is true, to the byte."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from conftest import require_tracer
from corpus import Growth, is_stack_of, measure_growth

from lablib.apps import build_app, list_corpus, read_truth

AT_A_TIME = 10


@pytest.fixture(scope="module")
def growths():
    """What each program's terms add, all of them measured several at a time."""
    require_tracer()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {name: pool.submit(lambda name=name: measure_growth(build_app(name)))
               for name in list_corpus()}  # fmt: skip


@pytest.mark.parametrize("name", list_corpus())
def test_each_term_adds_what_the_truth_says_and_nothing_else_grows(name, growths):
    check_growth(read_truth(name), growths[name])


def check_growth(truth, measured: Future[Growth]):
    growth = measured.result()
    assert growth.missed == 0
    expected = dict.fromkeys(growth.kernel, 0)
    for leak in truth["leaks"]:
        held = tuple(
            round(leak[field] * growth.terms) for field in ("bytes_per_term", "blocks_per_term")
        )
        if leak["what"] == "open_files":
            expected["open_files"] += held[1]
        elif leak["what"] == "shared_memory":
            expected["segment_bytes"] += held[0]
            expected["segments"] += held[1]
        else:
            assert growth.at(leak) == held, growth.stacks
    assert growth.kernel == expected
    unknown = [
        stack
        for stack in growth.stacks
        if not any(is_stack_of(leak, stack) for leak in truth["leaks"])
        and not is_part_of_a_thread(stack)
    ]
    assert unknown == []


def is_part_of_a_thread(stack):
    """What glibc takes from the heap for a thread's own variables goes with the thread's stack."""
    return any(frame.function == "_dl_allocate_tls" for frame in stack[1])
