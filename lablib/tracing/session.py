"""One heap tracing session, on the service's side: probes on one process, and their totals.

The session owns its BPF object. The probes are file descriptors of the process that it lives in:
whatever ends that process takes them and the maps away, so nothing can be left attached.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

from lablib.errors import TargetError, TracerError
from lablib.tracing.maps import create_map, read_hash_map, read_map_shape
from lablib.tracing.permission import Target
from lablib.tracing.probes import Allocator, find_allocator
from lablib.tracing.protocol import COUNTERS, STACK_FIELDS

PROGRAM = Path(__file__).parent / "programs" / "heap.bpf.c"

MAPS = ("session", "fate", "counters", "blank_call", "calls", "stacks", "blocks")
"""All tables of heap.bpf.c, by name."""

MAX_FRAMES = 64
MAX_STACKS = 16 * 1024
MAX_BLOCKS = 2 * 1024 * 1024
MAX_THREADS = 4 * 1024

_UPROBE, _URETPROBE = 0, 1  # enum bpf_probe_attach_type of libbcc
_NO_REFERENCE_COUNTER = 0


class HeapProgram:
    """heap.bpf.c, compiled once by the service, and made into maps and probes by each session.

    The compiled code refers to its maps by the numbers of file descriptors. The service keeps these
    numbers, on /dev/null; a session, which is a process of its own, puts new maps there before it
    loads the code. So no session waits for the compiler, and none sees another's maps.
    """

    def __init__(self) -> None:
        """Compile the program; takes about two seconds of one core. Raises `TracerError`."""
        import bcc  # the distribution's, in the service only

        self._libbcc = bcc.libbcc.lib
        namespace = os.stat("/proc/self/ns/pid")
        flags = [
            f"-DPID_NAMESPACE_DEVICE={namespace.st_dev}",
            f"-DPID_NAMESPACE_INODE={namespace.st_ino}U",
            f"-DMAX_FRAMES={MAX_FRAMES}",
            f"-DMAX_STACKS={MAX_STACKS}",
            f"-DMAX_BLOCKS={MAX_BLOCKS}",
            f"-DMAX_THREADS={MAX_THREADS}",
        ]
        try:
            self._bpf = bcc.BPF(src_file=str(PROGRAM), cflags=flags)
        except Exception as error:  # bcc raises bare Exception
            raise TracerError(
                f"this kernel did not take the tracer's program ({error})",
                "see ./lab doctor",
            ) from None
        self._shapes = {
            self._bpf[name].map_fd: read_map_shape(self._bpf[name].map_fd) for name in MAPS
        }
        with open(os.devnull, "rb") as nothing:
            for descriptor in self._shapes:
                os.dup2(nothing.fileno(), descriptor, inheritable=False)

    def make_maps(self) -> None:
        """Give this process, a session's, maps of its own; raises `TracerError`."""
        try:
            for descriptor, shape in self._shapes.items():
                created = create_map(shape)
                os.dup2(created, descriptor, inheritable=False)
                os.close(created)
        except OSError as error:
            raise TracerError(
                f"the kernel gave no memory for the tracer's tables ({error.strerror})",
                "end other tracing sessions",
            ) from None

    def watch(self, pid: int) -> None:
        """Notice from now on when the process becomes another program or its threads end."""
        self.write_session(is_open=False, pid=pid)
        self._bpf.attach_raw_tracepoint("sched_process_exec", "on_exec")
        self._bpf.attach_raw_tracepoint("sched_process_exit", "on_thread_exit")

    def attach(self, allocator: Allocator, pid: int) -> None:
        """Put the probes into one process; events count only once the window is open."""
        path = f"/proc/self/fd/{allocator.file_descriptor}".encode()
        for number, site in enumerate(allocator.sites):
            kind = _URETPROBE if site.is_return else _UPROBE
            name = f"lab_{os.getpid()}_{number}".encode()
            program = self._bpf.load_func(site.program, self._bpf.KPROBE)
            descriptor = self._libbcc.bpf_attach_uprobe(
                program.fd, kind, name, path, site.offset_bytes, pid, _NO_REFERENCE_COUNTER
            )
            if descriptor < 0:
                raise TracerError(
                    f"the kernel refused a probe on {site.function} in {allocator.path}",
                    "if another bcc tool traces the same library, end it and try again; "
                    "else see ./lab doctor",
                )

    def write_session(self, is_open: bool, pid: int) -> None:
        """Open or close the window in which the target's events count."""
        table = self._bpf["session"]
        table[ctypes.c_int(0)] = table.Leaf(int(is_open), pid)

    def read_fate(self) -> tuple[bool, bool]:
        """Return whether the target has become another program, and lost its first thread."""
        fate = self._bpf["fate"][ctypes.c_int(0)]
        return bool(fate.has_executed), bool(fate.leader_is_gone)

    def read_counters(self) -> dict[str, int]:
        """Return the event counters by name, summed over the processors."""
        table = self._bpf["counters"]
        return {name: sum(table[ctypes.c_int(i)]) for i, name in enumerate(COUNTERS)}

    def read_stacks(self) -> tuple[int, bytes]:
        """Return how many stacks have been seen, and their rows, packed as the kernel keeps them.

        A row is 8-byte words: STACK_FIELDS, then MAX_FRAMES return addresses.
        """
        row_bytes = 8 * (len(STACK_FIELDS) + MAX_FRAMES)
        try:
            return read_hash_map(self._bpf["stacks"].map_fd, 8, row_bytes, MAX_STACKS)
        except OSError as error:
            raise TracerError(f"the kernel did not hand over its totals ({error})") from None


class HeapSession:
    """Probes on one process's allocator, until this process ends."""

    def __init__(self, program: HeapProgram, target: Target) -> None:
        """Find the target's allocator and attach; raises `TargetError` or `TracerError`."""
        self._program = program
        self._target = target
        self._has_lost_leader = False
        program.make_maps()
        program.watch(target.pid)
        target.check()  # who it is now; an exec from here on is noticed
        allocator = find_allocator(target.pid)
        try:
            program.attach(allocator, target.pid)
        finally:
            os.close(allocator.file_descriptor)
        target.check()  # that its number was not reused while we attached
        program.write_session(is_open=True, pid=target.pid)
        if program.read_fate()[0]:  # asked last: an exec from now on closes the window itself
            raise TargetError(f"process {target.pid} became another program", "trace it again")
        self.description = {
            "opened_ns": time.monotonic_ns(),
            "allocator": allocator.path,
            "max_frames": MAX_FRAMES,
        }

    def snapshot(self, final: bool) -> tuple[dict[str, Any], bytes]:
        """Return (header, packed stack rows) as of now; `final` stops the counting first.

        `now_ns` is on the kernel's monotonic clock, the one that its blocks' birth times are on.
        """
        if final:
            self._program.write_session(is_open=False, pid=self._target.pid)
        has_executed, leader_is_gone = self._program.read_fate()
        header: dict[str, Any] = {
            "now_ns": time.monotonic_ns(),
            "is_running": self._target.is_running() and not has_executed,
        }
        # Without its first thread the kernel no longer knows the process as the one to probe.
        self._has_lost_leader |= leader_is_gone and header["is_running"]
        counters = self._program.read_counters()
        counters["lost_first_thread_gone"] = int(self._has_lost_leader)
        count, rows = self._program.read_stacks()
        header |= {"stacks": count, "counters": counters}
        return header, rows
