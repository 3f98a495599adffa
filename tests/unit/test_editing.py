"""A learner's own function in an app's source: found, replaced, built, or refused in words."""

import subprocess

import pytest

from lablib.apps import APPS_DIR
from lablib.editing import OWN_DIR, build_source, read_function, replace_function
from lablib.errors import AppError

LEAKY = (APPS_DIR / "fib_leak.c").read_text()
FIXED = (APPS_DIR / "fib_fixed.c").read_text()
NAME = "test_editing_own"


@pytest.fixture(autouse=True)
def no_files():
    yield
    for suffix in ("", ".c"):
        (OWN_DIR / f"{NAME}{suffix}").unlink(missing_ok=True)


def test_a_function_is_found_whole():
    child = read_function(LEAKY, "child")
    assert child.startswith("static void *child(void *argument)\n{\n")
    assert child.endswith("\treturn NULL;\n}")
    assert read_function(LEAKY, "fibonacci").count("\n}") == 1
    with pytest.raises(AppError, match="no function parent"):
        read_function(LEAKY, "parent")


def test_the_fixed_function_in_the_leaky_source_is_the_fix():
    mine = replace_function(LEAKY, "child", read_function(FIXED, "child"))
    assert mine.split("*/", 1)[1] == FIXED.split("*/", 1)[1]


def test_what_was_written_is_built_and_runs():
    mine = replace_function(LEAKY, "child", read_function(FIXED, "child"))
    app, warnings = build_source(NAME, mine)
    assert warnings == ""
    printed = subprocess.run([app.executable, "--terms", "2", "--rate", "0"], capture_output=True)
    assert printed.stdout == b"2th => 1\n3th => 2\n"


def test_a_warning_is_said_and_does_not_stop_it():
    child = read_function(LEAKY, "child").replace("n0 = n1;", "int unused; n0 = n1;")
    app, warnings = build_source(NAME, replace_function(LEAKY, "child", child))
    assert "unused" in warnings
    assert app.executable.exists()


def test_what_does_not_compile_is_a_sentence_with_the_line():
    child = read_function(LEAKY, "child").replace("n0 = n1;", "free(w);")
    with pytest.raises(AppError, match=rf"it doesn't compile: {NAME}.c:36:\d+: error: .*w"):
        build_source(NAME, replace_function(LEAKY, "child", child))


def test_a_name_is_no_path():
    with pytest.raises(AppError, match="no name for a program"):
        build_source("../x", LEAKY)
