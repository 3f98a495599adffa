"""What an action leaves behind, once and again."""

from lablib.records import Frame, HeapSnapshot, StackUsage, TraceEvents
from lablib.windows import judge_windows


def usage(function, left, kind="heap"):
    frames = (Frame(function, "app", 8, "app.c", 3),)
    return StackUsage(frames, left + 300, 2 if left else 1, 300, 1, kind=kind)


def window(*usages):
    return HeapSnapshot(
        elapsed_s=1.0,
        stacks=tuple(u for u in usages if u.kind == "heap"),
        events=TraceEvents(len(usages), 0, 0),
        mappings=tuple(u for u in usages if u.kind != "heap"),
    )


def kinds(*windows):
    verdict = judge_windows(windows)
    return verdict.kind, {v.usage.frames[0].function: v.kind for v in verdict.stacks}


def test_what_stays_in_each_of_three_windows_leaks():
    assert kinds(*[window(usage("f", 40))] * 3) == ("leaking", {"f": "leaking"})


def test_what_stays_in_the_first_window_only_is_a_cache():
    windows = [window(usage("f", 5000)), window(usage("f", 0)), window()]
    assert kinds(*windows) == ("plateau", {"f": "plateau"})


def test_one_or_two_windows_prove_nothing():
    assert kinds(window(usage("f", 40)))[0] == "undecided"
    assert kinds(window(usage("f", 40)), window(usage("f", 40)))[0] == "undecided"
    assert "another window" in judge_windows([window(usage("f", 40))]).sentence


def test_what_stays_in_the_last_window_only_is_undecided():
    assert kinds(window(), window(), window(usage("f", 40)))[0] == "undecided"


def test_nothing_left_is_clean():
    assert kinds(window(usage("f", 0)), window()) == ("clean", {"f": "clean"})
    assert kinds()[0] == "clean"
    assert judge_windows([window()]).sentence == "Nothing was left behind in 1 window."


def test_mappings_count_and_arenas_do_not():
    windows = [window(usage("f", 4096, "mapping"), usage("g", 4096, "arena"))] * 3
    assert kinds(*windows) == ("leaking", {"f": "leaking"})


def test_the_gravest_comes_first_with_its_numbers():
    verdict = judge_windows(
        [window(usage("cache", 5000), usage("leak", 40))] + [window(usage("leak", 40))] * 2
    )
    assert [v.kind for v in verdict.stacks] == ["leaking", "plateau"]
    assert verdict.sentence == "It leaks: leak (app.c:3) left behind 40, 40, 40 bytes in 3 windows."
