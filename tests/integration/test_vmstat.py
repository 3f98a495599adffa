"""procps' vmstat, run for real: its numbers move with the machine's memory."""

import itertools
import mmap
import statistics
from contextlib import closing
from pathlib import Path

import pytest

from lablib.system import sample_vmstat

SIZE = 512 << 20


def read_free_bytes():
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemFree"))


@pytest.mark.alone
def test_free_falls_when_memory_is_taken():
    falls = [measure_fall() for _ in range(3)]  # something that ends meanwhile spoils one
    assert statistics.median(falls) > SIZE // 2


def measure_fall():
    """Return by how many free bytes two samples differ, with `SIZE` bytes taken between them."""
    with closing(sample_vmstat(1)) as samples:
        before = next(samples)
        with mmap.mmap(-1, SIZE) as taken:
            for page in range(0, SIZE, mmap.PAGESIZE):
                taken[page] = 1
            next(samples)
            during = next(samples)
            assert abs(during.free_bytes - read_free_bytes()) < SIZE // 2
    return before.free_bytes - during.free_bytes


def test_samples_come_once_a_second():
    with closing(sample_vmstat(1)) as samples:
        times = [sample.elapsed_s for sample in itertools.islice(samples, 3)]
    assert 0.5 < times[1] - times[0] < 3
    assert 0.5 < times[2] - times[1] < 3
