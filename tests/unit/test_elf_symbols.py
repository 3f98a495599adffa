"""The symbols of one file: read once for each version of it, whoever opens it."""

import subprocess

import pytest
from elftools.common.exceptions import ELFError

from lablib.elf_symbols import ElfSymbols, FileVersion, find_object

SOURCE = """
int room[4] = {{1}};
static int hidden[4] = {{2}};

int {name}(void)
{{
	return room[0] + hidden[1];
}}

int main(void)
{{
	return {name}();
}}
"""


def compile_program(path, name):
    """Build a program with a function of this name, into the file that is there already."""
    built = path.with_suffix(".new")
    options = ["-x", "c", "-g", "-O0", "-o", str(built), "-"]
    subprocess.run(["gcc", *options], input=SOURCE.format(name=name), text=True, check=True)
    path.write_bytes(built.read_bytes())


def name_function(path, name):
    """What the symbols say about a place in the function of this name."""
    return ElfSymbols(path).resolve(find_object(path, name) + 4, "program")[0].function


def test_a_program_that_is_built_anew_has_its_new_symbols(tmp_path):
    program = tmp_path / "program"
    compile_program(program, "first")
    version = FileVersion.of(program)
    assert name_function(program, "first") == "first"
    compile_program(program, "other")
    assert FileVersion.of(program) != version
    assert FileVersion.of(program).inode == version.inode
    assert name_function(program, "other") == "other"


def test_a_file_is_the_same_by_whatever_path(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert FileVersion.of(tmp_path / "link") == FileVersion.of(tmp_path / "file")


def test_only_what_is_global_is_found(tmp_path):
    program = tmp_path / "program"
    compile_program(program, "first")
    assert find_object(program, "room")
    assert find_object(program, "hidden") is None
    assert find_object(program, "nothing") is None
    (tmp_path / "text").write_text("no program")
    with pytest.raises(ELFError):
        find_object(tmp_path / "text", "room")


def test_a_program_without_symbols_has_no_objects(tmp_path):
    program = tmp_path / "program"
    compile_program(program, "first")
    subprocess.run(["strip", str(program)], check=True)
    assert find_object(program, "room") is None
