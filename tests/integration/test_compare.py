"""Right and wrong fixes of one program, built and compared for real: `./lab compare`."""

import json
import re
import subprocess
import sys

import pytest

from lablib.apps import APPS_DIR, build_app
from lablib.comparison import Build, compare_builds, make_app_build, make_build
from lablib.errors import AppError, ToolMissingError

pytestmark = pytest.mark.usefixtures("tracer_service")

TERMS = 200
LIMIT_S = 4.0
PRINT = 'printf("%" PRIu64 "th => %" PRIu64 "\\n", n, *v);'
RIGHT = f"{PRINT}\n\t\tfree(v);"
HOARD = "static uint64_t *kept[100000]; static size_t count;"
FREE_ALL = "for (size_t i = 0; i < count; i++) free(kept[i]);"


@pytest.fixture(scope="module")
def build_fib(tmp_path_factory):
    """Builds fib_leak with some of its text replaced."""

    def build(name, *changes):
        source = (APPS_DIR / "fib_leak.c").read_text()
        for old, new in changes:
            assert old in source
            source = source.replace(old, new)
        folder = tmp_path_factory.mktemp(name)
        (folder / f"{name}.c").write_text(source)
        command = ["gcc", "-O2", "-g", "-pthread", "-fno-omit-frame-pointer", f"-I{APPS_DIR}"]
        command += ["-o", folder / name, folder / f"{name}.c"]
        subprocess.run(command, check=True)
        return Build(name, (str(folder / name), "--rate", "0", "--terms", "{terms}"))

    return build


def compare(after, before=None):
    before = before or make_app_build(build_app("fib_leak"))
    return compare_builds(before, after, TERMS, LIMIT_S)


def find_stack(comparison, function):
    (stack,) = [s for s in comparison.stacks if s.functions[:1] == (function,)]
    return stack


def test_the_reference_fix_is_proven_to_the_byte():
    comparison = compare(make_build("fib_fixed"))
    assert comparison.kind == "fixed"
    assert comparison.sentence == (
        "fibonacci (fib_leak.c:19) kept 8,192 bytes a term; fib_fixed keeps 0. "
        "Output identical over 400 terms."
    )
    stack = find_stack(comparison, "fibonacci")
    assert stack.functions[1] == "child"
    assert (stack.before.kept_bytes, stack.before.kept_blocks) == (8192 * TERMS, TERMS)
    assert (stack.after.kept_bytes, stack.after.kept_blocks) == (0, 0)
    assert stack.before.allocated_blocks == stack.after.allocated_blocks == TERMS
    assert comparison.kept_bytes == (8192, 0)
    assert comparison.source == "ebpf"
    assert comparison.before.output_lines == comparison.after.output_lines == 2 * TERMS
    (thread,) = [s for s in comparison.stacks if s.kind == "thread_stack"]
    assert thread.after.kept_bytes == 0


def test_lines_that_have_moved_and_a_block_that_is_used_again_are_a_right_fix(build_fib):
    once = "static uint64_t room[1024], *v = room;"
    fixed = build_fib("reuses", ("uint64_t *v = calloc(1024, sizeof(*v));", f"\n\n\n{once}"))
    comparison = compare(fixed)
    assert comparison.kind == "fixed"
    assert "fibonacci allocates 0 blocks a term in reuses, and 1 in fib_leak" in comparison.sentence


def test_what_is_not_freed_is_not_fixed_whatever_the_resident_set_does(build_fib):
    trims = build_fib(
        "trims",
        (PRINT, f"{PRINT} malloc_trim(0);"),
        ("<inttypes", "<malloc.h>\n#include <inttypes"),
    )
    comparison = compare(trims)
    assert comparison.kind == "not_fixed"
    assert "fibonacci (trims.c:20) keeps 8,192 bytes a term, as before" in comparison.sentence


def test_every_second_block_is_half_a_fix(build_fib):
    comparison = compare(build_fib("half", (PRINT, f"{PRINT} if (n % 2) free(v);")))
    assert comparison.kind == "not_fixed"
    assert "keeps 4,096 bytes a term; it was 8,192 bytes" in comparison.sentence


def test_a_leak_elsewhere_is_found(build_fib):
    comparison = compare(build_fib("moved", (PRINT, f'{RIGHT} (void)!strdup("0123456789");')))
    assert comparison.kind == "not_fixed"
    assert "by strdup keeps 11 bytes a term, and kept nothing before" in comparison.sentence
    assert "In all moved keeps 11 bytes a term, and fib_leak 8,192 bytes" in comparison.sentence


def test_more_than_before_is_worse(build_fib):
    comparison = compare(build_fib("more", ("1024", "2048")))
    assert comparison.kind == "worse"
    assert "keeps 16,384 bytes a term; it was 8,192 bytes" in comparison.sentence


def test_a_leak_that_a_build_brings_in_is_worse():
    comparison = compare(make_build("fib_leak"), make_build("fib_fixed"))
    assert comparison.kind == "worse"
    assert "keeps 8,192 bytes a term, and kept nothing before" in comparison.sentence


def test_what_is_freed_only_at_the_end_is_not_fixed(build_fib):
    hoards = build_fib(
        "hoards",
        ("LEAKY_SITE", f"{HOARD}\nLEAKY_SITE"),
        (PRINT, f"{PRINT} kept[count++] = v;"),
        ("return 0;", f"{FREE_ALL}\n\treturn 0;"),
    )
    comparison = compare(hoards)
    stack = find_stack(comparison, "fibonacci")
    assert stack.after.kept_bytes == 0
    assert stack.after.peak_bytes > 8192 * TERMS
    assert comparison.kind == "not_fixed"
    assert "but only at its end" in comparison.sentence


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("twice", f"{RIGHT} free(v);", r"twice was ended by SIGABRT, and said \".*free"),
        (
            "crashes",
            f"{RIGHT} v = NULL; *(volatile uint64_t *)v = 1;",
            "crashes was ended by SIGSEGV",
        ),
        ("gives_up", f"{RIGHT} if (n == 100) exit(3);", "gives_up ended with exit code 3"),
        ("hangs", f"{RIGHT} if (n == 100) for (;;) pause();", "hangs still ran"),
        (
            "ends",
            f"{RIGHT} if (n == 100) exit(0);",
            "line 100 of fib_leak is .*, and of ends missing",
        ),
        (
            "wrong",
            f"{RIGHT} n1 += n > 20;",
            r'line 21 of fib_leak is "22th => 17711", and of wrong',
        ),
        ("early", f"free(v); {PRINT}", "a use after free shows"),
    ],
)
def test_other_work_is_no_fix(build_fib, name, body, said):
    comparison = compare(build_fib(name, (PRINT, body)))
    assert comparison.kind == "different_work"
    assert comparison.sentence.startswith("Not the same work: ")
    assert re.search(said, comparison.sentence), comparison.sentence


def test_a_program_that_says_nothing_is_judged_by_its_allocations(build_fib):
    silent = build_fib("silent", (PRINT, ""))
    fixed = build_fib("silent_fixed", (PRINT, "free(v);"))
    lazy = build_fib("lazy", (PRINT, "free(v); n++;"))
    assert compare(fixed, silent).kind == "fixed"
    comparison = compare(lazy, silent)
    assert comparison.kind == "different_work"
    assert "allocates 0.50 blocks a term in lazy, and 1 in silent" in comparison.sentence


def test_nothing_to_fix_is_said():
    comparison = compare(make_build("fib_fixed"), make_build("fib_fixed"))
    assert (comparison.kind, comparison.kept_bytes) == ("undecided", (0, 0))
    assert "There is nothing to fix" in comparison.sentence


def test_a_first_build_that_does_not_do_its_work_can_not_be_compared_with():
    with pytest.raises(AppError, match="ended with exit code 2"):
        compare(make_build("fib_fixed"), make_build("blocks"))
    with pytest.raises(AppError, match="still ran"):
        compare_builds(make_build("sleep 6{terms}"), make_build("fib_fixed"), 10, 0.3)
    with pytest.raises(ToolMissingError, match="no program and no leaky app called 'nowhere'"):
        make_build("nowhere --x")


def lab_compare(*words):
    command = [sys.executable, "-m", "lablib", "compare", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_prints_a_page_and_exits_by_the_verdict(build_fib):
    finished = lab_compare("fib_leak", "fib_fixed")
    assert finished.returncode == 0
    assert "kept 8,192 bytes a term; fib_fixed keeps 0." in " ".join(finished.stdout.split())
    own = build_fib("own")
    finished = lab_compare("--terms", 10, "--arguments", "--rate 0", own.words[0], own.words[0])
    assert finished.returncode == 1
    assert "keeps 8,192 bytes a term, as before" in " ".join(finished.stdout.split())


def test_a_command_of_ones_own_gets_its_work_from_its_own_arguments(build_fib):
    program = build_fib("own").words[0]
    before = f"{program} --rate 0 --terms {{terms}}"
    finished = lab_compare("--json", "--terms", 50, before, "fib_fixed")
    assert finished.returncode == 0
    document = json.loads(finished.stdout)
    assert document["verdict"]["kind"] == "fixed"
    assert document["terms"] == 50
    assert document["before"]["command"][-1] == "100"
    assert document["before"]["kept_bytes_per_term"] == 8192
    stack = document["stacks"][0]
    assert stack["functions"][:2] == ["fibonacci", "child"]
    assert stack["before"]["kept_bytes"] == 50 * 8192
    assert stack["after"]["kept_bytes"] == 0


def test_what_can_not_be_compared_is_one_sentence_and_exit_2():
    finished = lab_compare("nowhere", "fib_fixed")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.count("\n") == 1
