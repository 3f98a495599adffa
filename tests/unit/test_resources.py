"""What the kernel counts for a process, read of this one and of children."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from lablib.resources import (
    NEWEST_FILES,
    parse_system_v_segments,
    read_resources,
)

SYSVIPC = """\
       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap
         0          0  1600                524288   812   900      2  1000  1000  1000  1000 1700000000          0 1700000000                 12288                     0
         0          3  1600                  4096   813   900      0  1000  1000  1000  1000 1700000000          0 1700000000                  4096                     0
1234567890          4  1600               1048576   812     0      0  1000  1000  1000  1000          0          0 1700000000                     0                     0
"""  # noqa: E501  as the kernel writes it


def test_segments_of_system_v_are_their_creators_linux_6_1():
    assert parse_system_v_segments(SYSVIPC, 812) == [524288, 1048576]
    assert parse_system_v_segments(SYSVIPC, 1) == []
    assert parse_system_v_segments("", 812) == []


def test_sizes_are_those_of_the_kernel():
    resources = read_resources(os.getpid())
    status = Path("/proc/self/status").read_text()
    assert f"Threads:\t{resources.threads}" in status
    assert resources.vm_size_bytes > resources.rss_bytes > 0


def test_open_files_are_counted_and_the_newest_named(tmp_path):
    path = tmp_path / "again"
    path.touch()
    before = read_resources(os.getpid())
    files = [path.open() for _ in range(40)]
    after = read_resources(os.getpid())
    assert after.open_files - before.open_files == 40
    assert len(after.newest_files) <= NEWEST_FILES
    assert set(after.newest_files) <= {str(path)} | set(before.newest_files) | {"sockets"}
    for file in files:
        file.close()
    assert read_resources(os.getpid()).open_files == before.open_files


def test_sockets_are_named_as_what_they_are():
    pairs = [socket.socketpair() for _ in range(NEWEST_FILES)]
    assert "sockets" in read_resources(os.getpid()).newest_files
    for one, other in pairs:
        one.close()
        other.close()


def test_a_process_that_has_ended_holds_nothing():
    child = subprocess.Popen(["true"])
    child.wait()
    assert read_resources(child.pid) is None


@pytest.fixture
def segment():
    """A file in /dev/shm of this user's, removed at the end."""
    made = []

    def make(name):
        path = Path("/dev/shm") / name
        path.write_bytes(bytes(5000))
        made.append(path)
        return path

    yield make
    for path in made:
        path.unlink()


def test_a_segment_is_its_processes_when_its_name_or_a_mapping_says_so(segment):
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            before = read_resources(child.pid)
            segment(f"lab-test-{child.pid}-a")
            segment("lab-test-of-somebody")
            after = read_resources(child.pid)
        finally:
            child.kill()
    assert after.shared_segments - before.shared_segments == 1
    assert after.shared_segment_bytes - before.shared_segment_bytes == 5000
    assert after.unclaimed_segments - before.unclaimed_segments == 1


def test_segments_like_one_that_is_open_are_its_processes(segment):
    paths = [segment(f"lab-test-{os.getpid()}x-{number}") for number in range(3)]
    command = ["sh", "-c", 'exec 3<"$1"; exec sleep 60', "sh", str(paths[0])]
    other = segment("lab-test-other-7")
    with subprocess.Popen(command) as child:
        try:
            while Path(f"/proc/{child.pid}/comm").read_text() != "sleep\n":
                pass
            resources = read_resources(child.pid)
        finally:
            child.kill()
    assert other.exists()
    assert resources.shared_segments == 3
