"""The chunks of a live heap, against a program that allocates and frees as it is told."""

import contextlib
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import give_up
from workload import PROGRAMS, build_workload

from lablib import chunks
from lablib.chunks import read_heap_map
from lablib.errors import ProcessError

NOBODY = 65534
PAGE_BYTES = 4096


class Puppet:
    """chunks.c, running: each command is done when its answer is here."""

    def __init__(self, process):
        self.pid = process.pid
        self._process = process

    def do(self, *words):
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline().replace("(nil)", "0"), 16)

    def allocate(self, size_bytes, count=1):
        return [self.do("allocate", size_bytes) for _ in range(count)]

    def free(self, blocks):
        for block in blocks:
            self.do("free", hex(block))

    def read(self):
        return read_checked(self.pid)


def read_checked(pid):
    """The map, in which chunks follow each other without a gap up to the heap's end."""
    heap_map = read_heap_map(pid)
    address = heap_map.start
    for chunk in heap_map.chunks:
        assert chunk.address == address
        address += chunk.size_bytes
    assert address == heap_map.end
    assert [c.state for c in heap_map.chunks].index("top") == len(heap_map.chunks) - 1
    return heap_map


def chunk_of(block, heap_map):
    """The chunk of a pointer that malloc has returned: it begins 16 bytes before."""
    return next(chunk for chunk in heap_map.chunks if chunk.address == block - 16)


def states_of(blocks, heap_map):
    return [chunk_of(block, heap_map).state for block in blocks]


@contextlib.contextmanager
def running(program, *launcher, **environment):
    process = subprocess.Popen(
        [*launcher, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield Puppet(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chunks")


@pytest.fixture(scope="module")
def program(folder):
    return build_workload("chunks", folder)


@pytest.fixture
def puppet(program):
    with running(program) as puppet:
        yield puppet


SIZES = [0, 1, 23, 24, 25, 40, 41, 1000, 1032, 1033, 5000, 100_000]


def check_sizes(puppet):
    blocks = [puppet.do("allocate", size) for size in SIZES]
    heap_map = puppet.read()
    found = [chunk_of(block, heap_map) for block in blocks]
    assert [chunk.size_bytes for chunk in found] == [max(32, (n + 8 + 15) & ~15) for n in SIZES]
    assert {chunk.state for chunk in found} == {"used"}
    assert heap_map.knows_cached
    assert (heap_map.chunks[0].size_bytes, heap_map.chunks[0].state) == (656, "used")
    assert len(heap_map.chunks) == 1 + len(SIZES) + 1


def test_each_block_is_a_chunk_16_bytes_before_it_and_of_the_size_that_glibc_makes(puppet):
    check_sizes(puppet)


@pytest.mark.parametrize("flags", [[], ["-no-pie"]], ids=str)
@pytest.mark.parametrize("options", [[], ["-R"]], ids=str)
def test_the_heap_may_begin_anywhere(tmp_path, flags, options):
    program = build_workload("chunks", tmp_path, *flags)
    with running(program, "setarch", platform.machine(), *options) as puppet:
        check_sizes(puppet)


def test_small_blocks_wait_in_the_tcache_and_then_in_a_fastbin(puppet):
    blocks = puppet.allocate(100, 20)
    puppet.free(blocks[:10])
    heap_map = puppet.read()
    assert states_of(blocks, heap_map) == ["cached"] * 10 + ["used"] * 10
    again = puppet.allocate(100, 7)
    assert again == blocks[:7][::-1]
    assert states_of(blocks, puppet.read()) == ["used"] * 7 + ["cached"] * 3 + ["used"] * 10


def test_blocks_too_large_for_a_fastbin_are_free_and_merged_when_the_tcache_is_full(puppet):
    blocks = puppet.allocate(200, 10)
    puppet.free(blocks[:9])
    heap_map = puppet.read()
    assert states_of(blocks[:7], heap_map) == ["cached"] * 7
    merged = chunk_of(blocks[7], heap_map)
    assert (merged.size_bytes, merged.state) == (2 * 208, "free")
    assert states_of(blocks[9:], heap_map) == ["used"]


@pytest.mark.parametrize(("size_bytes", "state"), [(1032, "cached"), (1033, "free")])
def test_the_tcache_takes_blocks_up_to_1032_bytes(puppet, size_bytes, state):
    block, _ = puppet.allocate(size_bytes, 2)
    puppet.free([block])
    assert states_of([block], puppet.read()) == [state]


@pytest.mark.parametrize(
    ("count", "size_bytes", "states"),
    [
        (0, 100, ["cached", "cached", "cached", "used"]),
        (2, 100, ["cached", "cached", "cached", "used"]),
        (2, 200, ["cached", "cached", "free", "used"]),
    ],
)
def test_a_tcache_of_another_length_is_read(program, count, size_bytes, states):
    tunables = f"glibc.malloc.tcache_count={count}"
    with running(program, GLIBC_TUNABLES=tunables) as puppet:
        blocks = puppet.allocate(size_bytes, 4)
        puppet.free(blocks[:3])
        assert states_of(blocks, puppet.read()) == states


def test_large_blocks_merge_with_their_neighbours_and_with_top(puppet):
    first, second, _, last = puppet.allocate(5000, 4)
    puppet.free([first])
    assert chunk_of(first, puppet.read()).size_bytes == 5008
    puppet.free([second])
    merged = chunk_of(first, puppet.read())
    assert (merged.size_bytes, merged.state) == (2 * 5008, "free")
    top = puppet.read().chunks[-1]
    puppet.free([last])
    grown = puppet.read().chunks[-1]
    assert (grown.address, grown.size_bytes) == (last - 16, top.size_bytes + 5008)


def test_a_free_chunk_is_read_whichever_bin_it_is_in(puppet):
    blocks = [puppet.do("allocate", n) for n in (2000, 24, 3000, 24, 40_000, 24, 90_000, 24)]
    puppet.free(blocks[::2])
    puppet.allocate(99_000)  # sorts those that were freed into their bins
    assert states_of(blocks, puppet.read()) == ["free", "used"] * 4


def test_trim_takes_the_end_of_the_heap_and_leaves_the_holes(puppet):
    hole, pin, *rest = puppet.allocate(50_000, 10)
    puppet.free([hole, *rest])
    before = puppet.read()
    puppet.do("trim")
    after = puppet.read()
    assert after.end < before.end
    assert states_of([hole, pin], after) == ["free", "used"]
    assert len(after.chunks) == 1 + 2 + 1


def test_blocks_outside_the_heap_are_not_in_the_map(puppet):
    (mapped,) = puppet.allocate(200_000)
    in_arena = puppet.do("in_thread_allocate", 100)
    heap_map = puppet.read()
    assert not heap_map.start <= mapped < heap_map.end
    assert not heap_map.start <= in_arena < heap_map.end


def test_a_block_of_another_arena_in_the_tcache_leads_on_to_ours(puppet):
    before, after = puppet.allocate(100, 2)
    in_arena = puppet.do("in_thread_allocate", 100)
    puppet.free([before, in_arena, after])
    heap_map = puppet.read()
    assert heap_map.knows_cached
    assert states_of([before, after], heap_map) == ["cached", "cached"]


def test_what_waits_in_another_threads_tcache_counts_as_used(puppet):
    (block,) = puppet.allocate(100)
    puppet.do("in_thread_free", hex(block))
    heap_map = puppet.read()
    assert heap_map.knows_cached
    assert states_of([block], heap_map) == ["used"]


def test_where_the_tcache_is_another_one_nothing_is_said_to_wait(puppet, monkeypatch):
    monkeypatch.setattr(chunks, "_TCACHE_CHUNK_BYTES", 768)
    blocks = puppet.allocate(100, 10)
    puppet.free(blocks)
    heap_map = puppet.read()
    assert not heap_map.knows_cached
    assert states_of(blocks, heap_map) == ["used"] * 10


def read_present(pid, heap_map):
    """For each page of the heap, whether it is in memory (bit 63 of its entry in pagemap)."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        file.seek(heap_map.start // PAGE_BYTES * 8)
        entries = memoryview(file.read((heap_map.end - heap_map.start) // PAGE_BYTES * 8)).cast("Q")
    return [bool(entry >> 63) for entry in entries]


def test_reading_makes_no_page_resident(puppet):
    puppet.allocate(100_000, 20)
    heap_map = puppet.read()
    present = read_present(puppet.pid, heap_map)
    assert 20 <= sum(present) <= 30
    assert len(present) > 400
    puppet.allocate(100_000, 20)
    before = read_present(puppet.pid, heap_map)
    puppet.read()
    assert read_present(puppet.pid, heap_map) == before


def test_a_million_chunks_are_read_in_seconds(puppet):
    puppet.do("many", 16, 1_000_000)
    started = time.monotonic()
    heap_map = puppet.read()
    assert time.monotonic() - started < 30
    assert len(heap_map.chunks) == 1 + 1_000_000 + 1


def test_a_heap_that_changes_meanwhile_is_read_whole_or_not_at_all(puppet):
    puppet.allocate(100)
    puppet.do("churn")
    refusals = []
    for _ in range(20):
        try:
            puppet.read()
        except ProcessError as error:
            refusals.append(error.message.partition(": ")[0])
    assert set(refusals) <= {f"the heap of process {puppet.pid} can't be read as glibc's"}


@pytest.mark.parametrize("extends", [False, True])
def test_a_program_that_moves_the_break_itself_is_refused(puppet, extends):
    puppet.allocate(100)
    puppet.do("break", 8192)
    if extends:
        puppet.allocate(100_000, 2)
    with pytest.raises(ProcessError, match="can't be read as glibc's"):
        read_heap_map(puppet.pid)


@pytest.mark.parametrize(
    ("compiler", "flags"), [("gcc", ["-static"]), ("musl-gcc", []), ("musl-gcc", ["-static"])]
)
def test_another_c_library_and_a_static_one_are_refused(tmp_path, compiler, flags):
    if shutil.which(compiler) is None:
        give_up("allocators", f"{compiler} is not installed", could_have_run=False)
    program = tmp_path / "chunks"
    source = PROGRAMS / "chunks.c"
    subprocess.run([compiler, "-O1", "-pthread", *flags, "-o", program, source], check=True)
    with running(program) as puppet:
        puppet.allocate(100, 50)
        with pytest.raises(ProcessError, match="doesn't use glibc's malloc as a shared library"):
            read_heap_map(puppet.pid)


def test_another_allocator_before_glibcs_is_refused(program):
    library = next(Path("/usr/lib").glob("*-linux-gnu/libjemalloc.so.2"), None)
    if library is None:
        give_up("allocators", "libjemalloc2 is not installed", could_have_run=False)
    with running(program, LD_PRELOAD=str(library)) as puppet:
        puppet.allocate(100, 50)
        with pytest.raises(ProcessError, match=r"has no \[heap\]|may have another allocator"):
            read_heap_map(puppet.pid)


def test_a_program_that_has_not_allocated_has_no_heap(puppet):
    puppet.do("free", 0)
    with pytest.raises(ProcessError, match=r"has no \[heap\]; it has not called malloc yet"):
        read_heap_map(puppet.pid)


def test_a_process_that_is_gone_or_a_zombie_is_refused(program):
    with running(program) as puppet:
        puppet.allocate(100)
        os.kill(puppet.pid, 9)
        os.waitid(os.P_PID, puppet.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessError, match="is gone"):
            read_heap_map(puppet.pid)
    with pytest.raises(ProcessError, match="is gone"):
        read_heap_map(puppet.pid)


def test_somebody_elses_process_is_refused(puppet, root):
    puppet.allocate(100)
    child = os.fork()
    if child == 0:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            read_heap_map(puppet.pid)
        except ProcessError as error:
            os._exit(42 if "not yours to read; start the program" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
