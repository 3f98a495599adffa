"""What two builds' runs say about a fix, on records made by hand."""

import pytest

from lablib.comparison import judge_runs
from lablib.comparison.verdict import Run, RunPair
from lablib.records import Frame, HeapSnapshot, HeapTrace, StackUsage, Target, TraceEvents

TERMS = 100


def usage(functions, live, freed=0, kind="heap", size=10, line=1, offset=7):
    """A stack with `live` blocks of `size` bytes, and `freed` that were given back."""
    frames = tuple(Frame(name, "app", offset, "app.c", line) for name in functions.split())
    blocks = live + freed
    return StackUsage(frames, size * blocks, blocks, size * freed, freed, kind=kind)


def trace(*stacks, missed=0, before=()):
    """A trace that ends with these stacks; `before` is what an earlier snapshot has."""
    events = TraceEvents(0, 0, 0, missed_by_reason={"map full": missed} if missed else {})
    shots = [split(0.5, before, events), split(1.0, stacks, events)]
    return HeapTrace("ebpf", "6.1", Target(1, "app"), tuple(shots))


def split(at, stacks, events):
    heap = tuple(stack for stack in stacks if stack.kind == "heap")
    mapped = tuple(stack for stack in stacks if stack.kind != "heap")
    return HeapSnapshot(at, heap, events, mappings=mapped)


def pair(name, make, output=lambda terms: b"x\n" * terms, exit_code=0, before=lambda _: ()):
    """Both runs of a build, of which `make` gives the stacks after so many terms."""
    runs = [
        Run((name, str(n)), trace(*make(n), before=before(n)), output(n), exit_code, 0.1)
        for n in (TERMS, 2 * TERMS)
    ]
    return RunPair(name, TERMS, *runs)


LEAK = pair("old", lambda n: [usage("lose child", n + 3)])


def judge(make, **others):
    return judge_runs(LEAK, pair("new", make, **others))


def test_what_is_done_once_falls_out():
    comparison = judge(lambda n: [usage("lose child", 3, n), usage("init main", 5_000)])
    assert comparison.kind == "fixed"
    assert comparison.kept_bytes == (10, 0)


def test_lines_offsets_and_copies_by_the_compiler_do_not_part_two_stacks():
    moved = usage("lose.isra.0 child.constprop.1", 3, 200, line=70, offset=99)
    comparison = judge(lambda n: [moved if n > TERMS else usage("lose child", 3, 100)])
    (stack,) = comparison.stacks
    assert stack.functions == ("lose", "child")
    assert (stack.before.kept_bytes, stack.after.kept_bytes) == (10 * TERMS, 0)
    assert stack.after.usage.frames[0].line == 70


def test_two_calls_in_one_function_are_one_stack():
    two = pair("old", lambda n: [usage("lose", n, line=1), usage("lose", 2 * n, line=2)])
    comparison = judge_runs(two, pair("new", lambda n: [usage("lose", 0, 3 * n)]))
    assert [stack.before.kept_blocks for stack in comparison.stacks] == [3 * TERMS]


@pytest.mark.parametrize("kind", ["mapping", "thread_stack", "file"])
def test_mappings_and_stacks_of_threads_count(kind):
    assert judge(lambda n: [usage("lose child", 0, n, kind)]).kind == "fixed"
    comparison = judge(lambda n: [usage("map child", n, 0, kind, size=4096)])
    assert comparison.kind == "worse"


def test_what_the_allocator_reserves_does_not_count():
    arena = judge(lambda n: [usage("lose child", 3, n), usage("new_heap", n, 0, "arena")])
    assert arena.kind == "fixed"


def test_a_share_of_a_block_each_term_is_said_as_such():
    comparison = judge(lambda n: [usage("lose child", n // 3, n - n // 3)])
    assert comparison.kind == "not_fixed"
    assert "keeps 3.30 bytes a term; it was 10 bytes." in comparison.sentence


def test_more_than_one_leak_is_named():
    both = pair("old", lambda n: [usage("lose", 2 * n), usage("drop", n)])
    comparison = judge_runs(both, pair("new", lambda n: [usage("lose", 0, 2 * n)]))
    assert comparison.sentence.startswith(
        "lose (app.c:1) kept 20 bytes a term, and 1 more stack 10 bytes; new keeps 0."
    )


def test_what_was_missed_leaves_it_open():
    runs = [
        Run(("new",), trace(usage("lose child", 0, n), missed=1), b"x\n" * n, 0, 0.1)
        for n in (TERMS, 2 * TERMS)
    ]
    comparison = judge_runs(LEAK, RunPair("new", TERMS, *runs))
    assert (comparison.kind, comparison.sentence) == (
        "undecided",
        "Not proven: the tracer missed events of new.",
    )


def test_a_little_that_is_live_in_between_is_no_hoard():
    def run_through(held):
        return judge(
            lambda n: [usage("lose child", 3, n)],
            before=lambda n: [usage("lose child", held(n), 0)],
        )

    assert run_through(lambda n: 5).kind == "fixed"
    assert run_through(lambda n: n // 2 + 3).kind == "not_fixed"


def test_a_caller_without_a_name_is_matched_too():
    nameless = Frame(None, "app", 4660)
    old = StackUsage((nameless,), 1000, 100, 0, 0)
    both = pair("old", lambda n: [StackUsage((nameless,), 10 * n, n, 0, 0)])
    comparison = judge_runs(both, both)
    assert comparison.stacks[0].functions == ("[unknown]",)
    assert comparison.kind == "not_fixed"
    assert old.live_bytes == comparison.stacks[0].before.kept_bytes


def test_other_ends_of_lines_are_other_output():
    comparison = judge(lambda n: [usage("lose child", 0, n)], output=lambda n: b"x\r\n" * n)
    assert comparison.kind == "different_work"
    shorter = judge(lambda n: [usage("lose child", 0, n)], output=lambda n: b"x\n" * n + b"\n")
    assert f"line {TERMS + 1} of old is missing" in shorter.sentence
