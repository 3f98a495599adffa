"""How long the lab's own tracer looks in the matrix: in the program's terms, not in seconds."""

import numpy as np
from simulated_heap import blocks, every, make_heap_trace

from lablib.analysis import judge_trace
from lablib.tools.lab import Patience

TERMS, SPARE_TERMS, RATE = 400, 1600, 400 / 6
HELD_UP_FROM_S, HELD_UP_TO_S = 1.5, 9.0


def make_work(until_s):
    """When the terms are done: at their rate, held up for a while, and those due then at once."""
    due = every(1 / RATE, until_s)
    is_late = (due > HELD_UP_FROM_S) & (due < HELD_UP_TO_S)
    done = np.where(is_late, HELD_UP_TO_S + np.arange(len(due)) * 1e-6, due)
    return done[done < until_s]


def look(patience, seconds):
    """Return the verdict on a program that keeps a block a term, and whether it is over then."""
    births = make_work(seconds)
    kind = judge_trace(make_heap_trace([blocks(births)], seconds=seconds, interval_s=0.25)).kind
    return kind, patience.is_over(kind, "a term is done\n" * len(births))


def test_a_program_that_is_held_up_is_looked_at_until_it_works_again():
    patience = Patience(TERMS, SPARE_TERMS)
    seen = [look(patience, seconds) for seconds in np.arange(4, 9, 0.25)]
    assert {kind for kind, _ in seen} == {"plateau"}, "it stands still: this is what is seen"
    assert not any(is_over for _, is_over in seen)
    while not (found := look(patience, seconds := len(seen) * 0.25 + 4))[1]:
        seen.append(found)
    assert (found[0], seconds < SPARE_TERMS / RATE) == ("growing", True)


def test_a_program_that_worked_and_does_not_grow_is_believed():
    patience = Patience(TERMS, SPARE_TERMS)
    assert not patience.is_over("plateau", "term\n" * 500)
    assert not patience.is_over("plateau", "term\n" * 600)
    assert patience.is_over("plateau", "term\n" * 601)


def test_terms_that_were_done_behind_the_last_snapshot_are_not_yet_looked_at():
    patience = Patience(TERMS, SPARE_TERMS)
    assert not patience.is_over("plateau", "")
    assert not patience.is_over("plateau", "term\n" * 1000)
    assert patience.is_over("plateau", "term\n" * 1000)


def test_too_little_evidence_is_waited_for_until_all_terms_are_done():
    patience = Patience(TERMS, SPARE_TERMS)
    assert [patience.is_over("undecided", "term\n" * n) for n in (800, 1599, 1600)] == [
        *(False, False, True)
    ]
