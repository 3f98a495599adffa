"""A file and what the kernel keeps of it: counted page by page, by the kernel's own account."""

import mmap
import shutil
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from lablib import page_cache
from lablib.errors import LabError
from lablib.page_cache import MIB, CachedFile, choose_file_bytes


def test_what_is_written_or_read_is_cached_and_can_be_forgotten():
    with CachedFile() as file:
        assert file.cached_bytes == 0
        file.write(3 * MIB + 1)
        assert file.size_bytes == 3 * MIB + 1
        assert file.cached_bytes == 3 * MIB + mmap.PAGESIZE
        file.forget()
        assert file.cached_bytes == 0
        assert file.read() == 3 * MIB + 1
        assert file.cached_bytes == 3 * MIB + mmap.PAGESIZE


def test_a_part_of_it_can_be_read():
    with CachedFile() as file:
        file.write(64 * MIB)
        file.forget()
        assert file.read(MIB + 1) == MIB + 1
        assert MIB < file.cached_bytes < 32 * MIB


def test_its_bytes_are_still_there_when_its_pages_are_forgotten():
    with CachedFile() as file:
        file.write(MIB)
        with file.map() as view:
            written = view[:]
        file.forget()
        with file.map() as view:
            assert view[:] == written
            assert len(set(written)) > 1


def test_to_map_it_reads_nothing_and_to_touch_it_does():
    with CachedFile() as file:
        file.write(4 * MIB)
        file.forget()
        with file.map() as view:
            assert file.cached_bytes == 0
            assert view[2 * MIB] >= 0
        assert file.cached_bytes > 0


def test_it_never_has_a_name_and_nothing_is_left():
    before = set(page_cache.CHECKOUT.iterdir())
    file = CachedFile()
    file.write(MIB)
    assert set(page_cache.CHECKOUT.iterdir()) == before
    file.close()
    file.close()
    assert set(page_cache.CHECKOUT.iterdir()) == before


def test_it_grows_to_its_limit_and_not_beyond(monkeypatch):
    monkeypatch.setattr(page_cache, "LARGEST_BYTES", 2 * MIB)
    with CachedFile() as file:
        file.write(2 * MIB)
        with pytest.raises(LabError, match="may have 2 MiB, no more"):
            file.write(1)
        assert file.size_bytes == 2 * MIB


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no file system in memory")
def test_a_file_system_that_is_in_memory_is_told():
    with CachedFile(Path("/dev/shm")) as file:
        file.write(MIB)
        with pytest.raises(LabError, match="/dev/shm keeps its files in memory"):
            file.forget()


def test_a_folder_where_nothing_can_be_made_is_told(tmp_path):
    with pytest.raises(LabError, match="No such file or directory"):
        CachedFile(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("available_mib", "disk_mib", "chosen_mib"),
    [(24_000, 90_000, 512), (3_000, 90_000, 320), (24_000, 600, 64)],
)
def test_the_file_takes_a_small_part_of_what_is_free(
    monkeypatch, available_mib, disk_mib, chosen_mib
):
    fake_machine(monkeypatch, available_mib, disk_mib)
    assert choose_file_bytes() == chosen_mib * MIB


def test_no_file_is_chosen_where_there_is_no_room(monkeypatch):
    fake_machine(monkeypatch, 511, 90_000)
    with pytest.raises(LabError, match="512 MiB of free memory and disk"):
        choose_file_bytes()


def fake_machine(monkeypatch, available_mib, disk_mib):
    memory, disk = namedtuple("Memory", "available"), namedtuple("Disk", "free")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(available_mib * MIB))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk(disk_mib * MIB))
