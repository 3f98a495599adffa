"""When a group of processes will have no memory left, reckoned from what it holds and how it grows.

Pure: what is reckoned here comes from samples, live or recorded.
"""

from __future__ import annotations

from collections.abc import Sequence

from lablib.records import GroupSample

WINDOW_S = 1.0
LEAST_RATE_BYTES_PER_S = 64 << 10
"""What grows more slowly stands still, as far as such a short window can tell."""


def measure_held(sample: GroupSample) -> int:
    """Return what the kernel can't drop of a group's memory, in bytes, in RAM and swap together.

    That is all but the page cache. Shared memory is counted with the files, but has no file to be
    read from again.
    """
    memory = sample.memory
    droppable_bytes = memory.file_bytes - memory.shmem_bytes
    return max(0, memory.usage_bytes - droppable_bytes) + (memory.swap_bytes or 0)


def measure_room(sample: GroupSample) -> int | None:
    """Return how many bytes the group can still take before its OOM kill, None without a limit.

    The page cache counts as room: the kernel takes it first. Swap counts as far as the group is
    allowed it and the machine has it free.
    """
    memory = sample.memory
    if memory.limit_bytes is None:
        return None
    swapped_bytes = memory.swap_bytes or 0
    in_ram_bytes = measure_held(sample) - swapped_bytes
    swap_left_bytes = sample.swap_free_bytes
    if memory.swap_limit_bytes is not None:
        swap_left_bytes = min(swap_left_bytes, memory.swap_limit_bytes - swapped_bytes)
    return max(0, memory.limit_bytes - in_ram_bytes) + max(0, swap_left_bytes)


def measure_rate(samples: Sequence[GroupSample], window_s: float = WINDOW_S) -> float | None:
    """Return by how many bytes a second the group grew in the last `window_s`.

    None where the samples don't span half of that. Growth is of what the kernel can't drop:
    a page that moves to swap changes nothing.
    """
    recent = [s for s in samples if s.elapsed_s >= samples[-1].elapsed_s - window_s]
    if len(recent) < 2:
        return None
    seconds = recent[-1].elapsed_s - recent[0].elapsed_s
    if seconds < window_s / 2:
        return None
    return (measure_held(recent[-1]) - measure_held(recent[0])) / seconds


def predict_seconds_left(
    samples: Sequence[GroupSample], window_s: float = WINDOW_S
) -> float | None:
    """Return in how many seconds the group's room is used up if it grows on as it does now.

    None without a limit, and where it does not grow.
    """
    rate = measure_rate(samples, window_s) if samples else None
    room_bytes = measure_room(samples[-1]) if samples else None
    if rate is None or room_bytes is None or rate < LEAST_RATE_BYTES_PER_S:
        return None
    return room_bytes / rate


def measure_waiting(before: GroupSample, after: GroupSample) -> dict[str, float]:
    """Return the share of the time between two samples that was spent waiting, in per cent.

    "some" is that of any process, "full" that of all that could run at once; empty where the
    kernel doesn't measure it.
    """
    seconds = after.elapsed_s - before.elapsed_s
    since, until = before.pressure, after.pressure
    if since is None or until is None or seconds <= 0:
        return {}
    waited_s = {
        "some": until.some.total_s - since.some.total_s,
        "full": until.full.total_s - since.full.total_s,
    }
    return {name: min(100.0, 100 * each / seconds) for name, each in waited_s.items()}
