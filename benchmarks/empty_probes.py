"""Probes that do nothing, at the sites where lablib's tracer has its own: what no tracer can beat.

Runs as root in the system's Python, inside root_helper.py.
"""

from __future__ import annotations

import os
from typing import Any

from lablib.errors import TracerError
from lablib.tracing.probes import Allocator, find_allocators

_PROGRAM = "int on(struct pt_regs *ctx) { return 0; }"
_UPROBE, _URETPROBE = 0, 1  # enum bpf_probe_attach_type of libbcc
_NO_REFERENCE_COUNTER = 0


class EmptyProbes:
    """One empty eBPF program, attached to a process's malloc and free and taken off again."""

    def __init__(self) -> None:
        """Compile the program with the distribution's bcc."""
        import bcc

        self._libbcc = bcc.libbcc.lib
        self._bpf: Any = bcc.BPF(text="#include <linux/ptrace.h>\n" + _PROGRAM)
        self._program = self._bpf.load_func("on", self._bpf.KPROBE)
        self._probes: list[int] = []

    def attach(self, pid: int) -> None:
        """Probe malloc's entry, malloc's return and free, where lablib probes them in `pid`.

        Raises `TargetError` where no allocator is found and `TracerError` if the kernel refuses.
        """
        allocators = find_allocators(pid)
        try:
            for allocator in allocators:
                self._attach_to(allocator, pid)
        finally:
            for allocator in allocators:
                os.close(allocator.file_descriptor)

    def _attach_to(self, allocator: Allocator, pid: int) -> None:
        path = f"/proc/self/fd/{allocator.file_descriptor}".encode()
        for site in allocator.sites:
            if site.function not in ("malloc", "free"):
                continue
            kind = _URETPROBE if site.is_return else _UPROBE
            name = f"empty_{os.getpid()}_{site.function}_{kind}".encode()
            arguments = (kind, name, path, site.offset_bytes, pid, _NO_REFERENCE_COUNTER)
            probe = self._libbcc.bpf_attach_uprobe(self._program.fd, *arguments)
            if probe < 0:
                raise TracerError(f"the kernel refused an empty probe on {site.function}")
            self._probes.append(probe)

    def detach(self) -> None:
        """Take the probes off; a probe lives as long as its file descriptor."""
        while self._probes:
            os.close(self._probes.pop())
