"""Segments, resident pages and sizes of real processes, against what they say of themselves."""

from __future__ import annotations

import contextlib
import mmap
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from cases import MUSL, PROGRAMS
from conftest import give_up

from lablib.apps import build_app
from lablib.errors import ProcessError
from lablib.proc import (
    follow_address_space,
    following,
    read_address_space,
    read_resident_pages,
    read_sizes,
    sample_sizes,
    sizes,
)
from lablib.records import EXCLUSIVE, FILE_OR_SHARED, PRESENT, AddressSpace
from lablib.steering import SteeredApp

PAGE = mmap.PAGESIZE
PRIVATE_TOUCHED, SHARED_TOUCHED = 37, 11  # as in addresses.c

BUILDS = {
    "pie": ("gcc", "-pie", "-fPIE"),
    "non-pie": ("gcc", "-no-pie", "-fno-pie"),
    "static": ("gcc", "-static", "-no-pie", "-fno-pie"),
    "static-pie": ("gcc", "-static-pie", "-fPIE"),
    "without separate code": ("gcc", "-Wl,-z,noseparate-code"),
    "musl": ("musl-gcc",),
    "static musl": ("musl-gcc", "-static"),
}


@dataclass(frozen=True)
class Running:
    """The program addresses.c: its process, and what it said: address and bytes by name."""

    pid: int
    program: Path
    said: dict[str, tuple[int, int]]


def build(folder: Path, name: str) -> Path:
    compiler, *flags = BUILDS[name]
    if compiler == "musl-gcc" and MUSL.find() is None:
        give_up("allocators", "musl-tools is not installed", could_have_run=False)
    program = folder / "addresses"
    words = [compiler, "-Wall", "-Werror", "-O1", "-pthread", *flags, "-o", str(program)]
    subprocess.run([*words, str(PROGRAMS / "addresses.c")], check=True)
    return program


@contextlib.contextmanager
def run(program: Path, *options: str, prefix: tuple[str, ...] = ()) -> Iterator[Running]:
    page = program.parent / "page"
    page.write_bytes(b"x" * 100)
    process = subprocess.Popen(
        [*prefix, program, page, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = {}
        for line in iter(process.stdout.readline, "ready\n"):
            assert line, f"{program} ended with {process.wait()}"
            name, address, size = line.split()
            said[name] = (int(address, 16), int(size))
        yield Running(process.pid, program, said)
    finally:
        process.communicate(timeout=30)  # its standard input ends, and so does it
    assert process.returncode == 0


@pytest.fixture(scope="module")
def pie(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("pie"), "pie")


@pytest.fixture
def running(pie) -> Iterator[Running]:
    with run(pie) as started:
        yield started


def expect(name: str) -> dict[str, set[str]]:
    """In what kinds of segments the objects of addresses.c may be."""
    kinds = {
        "function": {"text"},
        "constant": {"read_only"},
        "initialised": {"data"},
        "zeroed": {"bss"},
        "local": {"stack"},
        "environment": {"stack"},
        "small_block": {"heap"},
        "large_block": {"anonymous"},
        "library_data": {"library"},
        "vdso": {"vdso"},
        "loader": {"loader"},
        "thread_local_variable": {"thread_stack"},
        "thread_local": {"thread_stack"},
        "thread_block": {"arena"},
        "private_file": {"file"},
        "shared_file": {"file"},
        "memfd": {"shared"},
        "system_v": {"shared"},
        "posix_shared": {"shared"},
        "mapping": {"anonymous"},
        "shared_mapping": {"shared"},
        "reserved": {"reserved"},
    }
    if "static" in name:
        kinds["library_data"] = {"data"}
        del kinds["loader"]
    if "musl" in name:
        # Its malloc begins with what the program and the linker leave of their pages, and where
        # nothing is freed it takes all from brk. A mapping that the kernel has merged with the
        # stack below can't be told from it: such a stack has no usual size.
        anywhere = {"heap", "anonymous", "padding", "loader"}
        kinds |= {"small_block": anywhere, "thread_block": anywhere}
        kinds["large_block"] = {"anonymous", "thread_stack", "heap"}
        kinds["library_data"] = {"data"} if "static" in name else {"loader"}
    return kinds


def find_kinds(space: AddressSpace, said: dict[str, tuple[int, int]]) -> dict[str, str | None]:
    found = {}
    for name, (address, size) in said.items():
        kinds = {
            segment.kind if segment else None
            for segment in (space.find(address), space.find(address + size - 1))
        }
        found[name] = kinds.pop() if len(kinds) == 1 else None
    return found


@pytest.mark.parametrize("name", BUILDS)
def test_each_object_is_in_its_segment(tmp_path, name):
    with run(build(tmp_path, name)) as started:
        space = read_address_space(started.pid)
    found = find_kinds(space, started.said)
    expected = expect(name)
    assert found.keys() == expected.keys()
    assert [(n, kind) for n, kind in found.items() if kind not in expected[n]] == []


@pytest.mark.parametrize("name", BUILDS)
def test_data_and_bss_have_the_sizes_that_binutils_says(tmp_path, name):
    with run(build(tmp_path, name)) as started:
        space = read_address_space(started.pid)
    lines = subprocess.check_output(["size", "-A", started.program], text=True).splitlines()
    said = {
        words[0]: int(words[1])
        for words in map(str.split, lines)
        if words and words[0] in (".data", ".bss")
    }
    for section, kind in ((".data", "data"), (".bss", "bss")):
        parts = [s for s in space.of_kind(kind) if s.section == section]
        assert sum(part.size_bytes for part in parts) == said[section]
        assert {part.name for part in parts} == {"addresses"}


def test_without_randomization_bss_ends_where_the_heap_begins(tmp_path):
    program = build(tmp_path, "static")
    if subprocess.run(["setarch", "-R", "true"], capture_output=True).returncode:
        give_up("setarch", "randomization can't be switched off here", could_have_run=False)
    with run(program, prefix=("setarch", "-R")) as started:
        space = read_address_space(started.pid)
    found = find_kinds(space, started.said)
    assert (found["zeroed"], found["small_block"]) == ("bss", "heap")
    assert len({vma.path for vma in space.vmas if vma.path == "[heap]"}) == 1


def test_owners_names_and_what_is_inferred(running):
    space = read_address_space(running.pid)
    facts = {
        "zeroed": ("the kernel, at exec", "addresses", False),
        "small_block": ("malloc, by brk", "", False),
        "thread_block": ("malloc, for a thread", "", True),
        "thread_local": ("pthread_create", "", True),
        "private_file": ("the program or a library, by mmap", "page", False),
        "system_v": ("the program, by shmat", "", False),
        "local": ("the kernel, at exec", "", False),
    }
    for name, fact in facts.items():
        segment = space.find(running.said[name][0])
        assert (segment.owner, segment.name, segment.is_inferred) == fact, name


def test_a_guard_lies_below_the_threads_stack(running):
    space = read_address_space(running.pid)
    stack = space.find(running.said["thread_local"][0])
    guard = space.find(stack.start - 1)
    assert (guard.kind, guard.end, guard.size_bytes) == ("guard", stack.start, PAGE)


def test_segments_cover_each_vma_once(running):
    space = read_address_space(running.pid)
    for before, after in zip(space.segments, space.segments[1:], strict=False):
        assert before.start < before.end <= after.start
    assert sum(s.size_bytes for s in space.segments) == sum(v.size_bytes for v in space.vmas)
    assert space.size_bytes == read_sizes(running.pid).vm_size_bytes
    assert space.command.endswith("page")


def test_as_many_pages_are_resident_as_were_touched(running):
    for name, touched, bits in (
        ("mapping", PRIVATE_TOUCHED, PRESENT | EXCLUSIVE),
        ("shared_mapping", SHARED_TOUCHED, PRESENT | EXCLUSIVE | FILE_OR_SHARED),
    ):
        start, size = running.said[name]
        pages = read_resident_pages(running.pid, start, start + size)
        assert list(pages.flags) == [bits] * touched + [0] * (100 - touched), name
        assert pages.resident_bytes == touched * PAGE
    vma = read_address_space(running.pid).find(running.said["shared_mapping"][0]).vma
    assert (vma.rss_bytes, vma.pss_bytes) == (SHARED_TOUCHED * PAGE, SHARED_TOUCHED * PAGE)


def test_a_range_is_rounded_to_pages_and_what_is_not_mapped_is_absent(running):
    start, _ = running.said["mapping"]
    pages = read_resident_pages(running.pid, start + 1, start + PAGE + 1)
    assert (pages.start, pages.count) == (start, 2)
    assert read_resident_pages(running.pid, 0, 3 * PAGE).flags == bytes(3)


def test_two_processes_pay_half_of_a_page_that_they_share(pie):
    with run(pie, "fork") as started:
        start, size = started.said["shared_mapping"]
        vma = read_address_space(started.pid).find(start).vma
        pages = read_resident_pages(started.pid, start, start + size)
    assert (vma.rss_bytes, vma.pss_bytes) == (SHARED_TOUCHED * PAGE, SHARED_TOUCHED * PAGE // 2)
    assert vma.shared_dirty_bytes == SHARED_TOUCHED * PAGE
    assert set(pages.flags[:SHARED_TOUCHED]) == {PRESENT | FILE_OR_SHARED}


def test_sizes_add_up_and_agree_with_the_segments(running):
    sizes = read_sizes(running.pid)
    parts = (sizes.rss_anon_bytes, sizes.rss_file_bytes, sizes.rss_shared_bytes)
    assert sum(parts) == sizes.rss_bytes
    space = read_address_space(running.pid)
    anonymous_bytes = sum(vma.anonymous_bytes for vma in space.vmas)
    assert anonymous_bytes == pytest.approx(sizes.rss_anon_bytes, abs=64 * PAGE)
    assert space.rss_bytes == pytest.approx(sizes.rss_bytes, abs=64 * PAGE)
    assert space.pss_bytes == pytest.approx(sizes.pss_bytes, abs=len(space.vmas) * 1024)
    assert sizes.stack_bytes == sum(s.size_bytes for s in space.of_kind("stack"))
    assert sizes.minor_faults >= PRIVATE_TOUCHED + SHARED_TOUCHED
    assert read_sizes(running.pid, with_pss=False).pss_bytes is None


def test_faults_are_the_kernels_own_count():
    script = (
        "import mmap, resource, sys\n"
        "block = mmap.mmap(-1, 500 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)\n"
        "for page in range(500): block[page * mmap.PAGESIZE] = 1\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        said = int(process.stdout.readline())
        found = read_sizes(process.pid).minor_faults
        process.communicate(timeout=30)
    assert 500 <= said <= found <= said + 100  # it has faulted some more while it printed


def test_samples_end_with_the_process(pie):
    with run(pie) as started:
        samples = sample_sizes(started.pid, interval_s=0.05)
        first, second = next(samples), next(samples)
    assert first.elapsed_s == 0
    assert 0.05 <= second.elapsed_s < 10
    assert list(samples) == []


def test_the_proportional_set_is_read_now_and_then(running):
    samples = list(sample_sizes(running.pid, 0.05, seconds=1.2, pss_interval_s=0.5))
    known = [sample.elapsed_s for sample in samples if sample.pss_bytes is not None]
    assert known[0] == 0
    assert 2 <= len(known) <= 3 < len(samples)
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(known))


def test_the_proportional_set_of_a_large_process_is_read_less_often(running, monkeypatch):
    def read_slowly(pid, elapsed_s=0.0, with_pss=True):
        until_s = time.thread_time() + (0.01 if with_pss else 0)
        while time.thread_time() < until_s:
            pass
        return read_sizes(pid, elapsed_s, with_pss)

    monkeypatch.setattr(sizes, "read_sizes", read_slowly)
    samples = list(sample_sizes(running.pid, 0.02, seconds=1, pss_interval_s=0.1))
    known = [sample.elapsed_s for sample in samples if sample.pss_bytes is not None]
    assert len(known) == 2  # at once, after 0.1 s; then it takes 0.01 s, of which 2 s have 0.5 %


def test_an_address_space_is_read_again_where_the_process_has_changed(monkeypatch):
    monkeypatch.setattr(following, "REFRESH_S", 3600)
    with SteeredApp(build_app("pages")) as app:
        read = follow_address_space(app.pid)
        first = read()
        assert first == read_address_space(app.pid)
        assert read() is first
        app.ask("reserve", 100 * PAGE)
        reserved = read()
        assert reserved.size_bytes - first.size_bytes >= 100 * PAGE
        app.ask("touch_pages", 0, 50)
        touched = read()
        assert 50 * PAGE <= touched.rss_bytes - reserved.rss_bytes < 60 * PAGE
        assert read() is touched
        monkeypatch.setattr(following, "REFRESH_S", 0)
        assert read() is not touched
    with pytest.raises(ProcessError, match="is gone"):
        read()


def test_samples_end_when_told_or_after_some_time(running):
    assert len(list(sample_sizes(running.pid, interval_s=0.05, seconds=0.1))) in (2, 3)
    started_s = time.monotonic()
    assert len(list(sample_sizes(running.pid, interval_s=600, stop=lambda: True))) == 1
    assert time.monotonic() - started_s < 10


def test_a_program_that_was_deleted_keeps_its_segments(tmp_path):
    program = build(tmp_path, "pie")
    with run(program) as started:
        program.unlink()
        space = read_address_space(started.pid)
    found = find_kinds(space, started.said)
    assert (found["initialised"], found["zeroed"]) == ("data", "bss")
    assert space.find(started.said["zeroed"][0]).name == "addresses"


def test_processes_that_have_ended_are_a_sentence():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie
    for read in (read_address_space, read_sizes):
        with pytest.raises(ProcessError, match=f"process {process.pid} is gone"):
            read(process.pid)
    process.wait()
    for read in (read_address_space, read_sizes, lambda pid: next(sample_sizes(pid))):
        with pytest.raises(ProcessError, match=f"process {process.pid} is gone"):
            read(process.pid)
    with pytest.raises(ProcessError, match=f"process {process.pid} is gone"):
        read_resident_pages(process.pid, 0, PAGE)


def read_as_nobody(pid: int) -> str:
    """Read a process as user nobody; return what each function answers, a line each."""
    child, parent = os.pipe()
    if (number := os.fork()) == 0:
        answers = []
        os.setgroups([])
        os.setgid(65534)
        os.setuid(pwd.getpwnam("nobody").pw_uid)
        for read in (read_address_space, lambda p: read_resident_pages(p, 0, PAGE), read_sizes):
            try:
                answers.append(repr(read(pid)))
            except BaseException as error:
                answers.append(f"{type(error).__name__}: {error}")
        os.write(parent, "\n".join(answers).encode())
        os._exit(0)
    os.waitpid(number, 0)
    os.close(parent)
    with open(child, "rb") as pipe:
        return pipe.read().decode()


@pytest.mark.usefixtures("root")
def test_somebody_elses_process_is_refused_and_its_sizes_lack_only_the_share(running):
    space, pages, sizes = read_as_nobody(running.pid).splitlines()
    for refused in (space, pages):
        assert refused.startswith(f"ProcessError: process {running.pid} is not yours to read; ")
        assert "sudo ./lab" in refused
    assert sizes.startswith("ProcessSizes(")
    assert "pss_bytes=None" in sizes


def test_a_python_with_many_libraries_is_read_in_time():
    """Some 270 VMAs; a generous bound, for a machine that is busy."""
    command = [sys.executable, "-c", "import matplotlib.pyplot, sys; print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        first = read_address_space(process.pid)
        started_s = time.process_time()
        second = read_address_space(process.pid)
        assert time.process_time() - started_s < 0.2
        assert [s.start for s in first.segments] == [s.start for s in second.segments]
        assert {s.name for s in first.of_kind("library")} > {"libc.so.6"}
        process.communicate(b"\n", timeout=30)
