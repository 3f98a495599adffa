"""Probes that do nothing, at the sites where lablib's tracer has its own: what no tracer can beat.

Runs as root in the system's Python, inside root_helper.py.
"""

from __future__ import annotations

import os
from typing import Any

from lablib.errors import TracerError
from lablib.tracing.attach import UPROBE_MULTI, attach_uprobes
from lablib.tracing.probes import Allocator, find_allocators

_PROGRAM = "int on(struct pt_regs *ctx) { return 0; }"


class EmptyProbes:
    """One empty eBPF program, attached to a process's malloc and free and taken off again."""

    def __init__(self) -> None:
        """Compile the program with the distribution's bcc."""
        import bcc

        self._bpf: Any = bcc.BPF(text="#include <linux/ptrace.h>\n" + _PROGRAM)
        self._probes: list[int] = []

    def attach(self, pid: int) -> None:
        """Probe malloc's entry, malloc's return and free, where lablib probes them in `pid`.

        By the same kind of probe as lablib's: links where the kernel has them. Raises `TargetError`
        where no allocator is found and `TracerError` if the kernel refuses.
        """
        allocators = find_allocators(pid)
        try:
            try:
                self._attach_all(allocators, pid, by_link=True)
            except OSError:  # older than Linux 6.6
                self.detach()
                self._attach_all(allocators, pid, by_link=False)
        except OSError as error:
            raise TracerError(f"the kernel refused an empty probe ({error.strerror})") from None
        finally:
            for allocator in allocators:
                os.close(allocator.file_descriptor)

    def detach(self) -> None:
        """Take the probes off; a probe lives as long as its file descriptor."""
        while self._probes:
            os.close(self._probes.pop())

    def _attach_all(self, allocators: tuple[Allocator, ...], pid: int, by_link: bool) -> None:
        how = {"attach_type": UPROBE_MULTI} if by_link else {}
        self._bpf.funcs.clear()  # else bcc gives the program that it loaded before
        program = self._bpf.load_func("on", self._bpf.KPROBE, **how)
        for allocator in allocators:
            for is_return in (False, True):
                places = [
                    site.offset_bytes
                    for site in allocator.sites
                    if site.function in ("malloc", "free") and site.is_return == is_return
                ]
                self._probes += attach_uprobes(
                    program.fd, allocator.file_descriptor, places, is_return, pid, by_link
                )
