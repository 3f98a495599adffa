"""The truth about each program of the corpus is true, to the byte; and so is a variant's."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import require_tracer
from corpus import is_stack_of, measure_growth
from workload import EBPF, PRELOAD

from lablib.apps import build_app, list_corpus, read_truth
from lablib.variants import build_variant, draw_variant

AT_A_TIME = 4
VARIANTS = [
    draw_variant(name, key)
    for key, name in [
        (b"a", "error_path"),
        (b"b", "mmap_short"),
        (b"c", "thread_stacks"),
        (b"e", "sysv_shm"),
        (b"h", "plugin_leak"),
        (b"i", "shared_cycle"),
        (b"j", "one_bad_thread"),
        (b"l", "undo_history"),
    ]
]


@pytest.fixture(scope="module", params=[EBPF, PRELOAD], ids=lambda source: source.name)
def growths(request):
    """What the terms of each program and of each variant add, measured several at a time."""
    source = request.param
    if source == EBPF:
        require_tracer()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        measured = {
            name: pool.submit(lambda name=name: measure_growth(build_app(name), source))
            for name in list_corpus()
        }
        yield measured | {
            variant.identity: pool.submit(
                lambda it=variant: measure_growth(build_variant(it), source)
            )
            for variant in VARIANTS
        }


@pytest.mark.parametrize("name", list_corpus())
def test_each_term_adds_what_the_truth_says_and_nothing_else_grows(name, growths):
    check_growth(read_truth(name), growths[name].result())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.app_name)
def test_so_it_is_with_other_names_numbers_and_depths(variant, growths):
    check_growth(variant.truth, growths[variant.identity].result())


def check_growth(truth, growth):
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
