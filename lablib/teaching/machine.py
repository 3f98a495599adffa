"""vmstat's columns in a notebook: what each means, and by how much each has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lablib.language import term
from lablib.plots.machine import read_strips, word_change
from lablib.records import VmstatSample
from lablib.teaching.tables import show_table

_MEANINGS = {
    "free": (term("RAM that holds nothing at all"), "MemFree"),
    "buff": (term("parts of disks outside of files, such as a file system's own notes"), "Buffers"),
    "cache": (term("pages of files, shared memory, notes of the kernel"), "Cached + SReclaimable"),
    "swpd": (term("what was moved out of RAM to swap"), "SwapTotal - SwapFree"),
    "si": (term("how fast pages come back from swap"), ""),
    "so": (term("how fast pages go out to swap"), ""),
    "bi": (term("how fast disks are read"), ""),
    "bo": (term("how fast disks are written"), ""),
    "available": (
        term("not in vmstat: what programs could still have, without swapping"),
        "MemAvailable",
    ),
}


def show_columns(sample: VmstatSample) -> None:
    """Display a table of the columns that tell about memory, with their values in a sample."""
    rows = []
    for strip in read_strips((sample, sample), tuple(_MEANINGS)):  # a first one has no rates
        meaning, source = _MEANINGS[strip.name]
        value = f"{strip.last_mib:,.1f} {strip.unit}" if strip.values else term("not known")
        rows.append((strip.name, value, meaning, source))
    columns = (term("column"), term("value"), term("what it is"), term("in /proc/meminfo"))
    show_table(term("This machine now"), columns, rows)


def compare_columns(
    caption: str,
    steps: Mapping[str, tuple[VmstatSample, VmstatSample]],
    columns: Sequence[str] = ("free", "buff", "cache", "available"),
) -> None:
    """Display by how many MiB each column has changed in each step, from one sample to the other.

    `columns` are sizes, as for `plots.plot_vmstat`; a step in which one is not known has a dash.
    """
    changes = [
        [word_change(strip) if strip.values else "-" for strip in read_strips(step, columns)]
        for step in steps.values()
    ]
    rows = [(name, *(change[at] for change in changes)) for at, name in enumerate(columns)]
    show_table(caption, (term("change in MiB"), *steps), rows)
