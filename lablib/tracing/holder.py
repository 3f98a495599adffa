"""A process held still for a moment: all its threads stopped, their registers read, then let go.

A process of its own does the holding. It ends when it is told to, when the session that started it
ends, or when the time is over; and the kernel lets go of what a process holds that ends. So the
target can't be left stopped, whatever happens to the session or to its client.

The target notices nothing but the time. A signal that comes meanwhile waits. A system call that was
interrupted goes on: most of them the kernel restarts by itself, and those that it would end with
EINTR are told to restart as well (see `_RESTARTED`). A timeout among the latter begins anew. A
target that was stopped, by SIGSTOP or the like, is stopped again afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lablib import ptrace
from lablib.errors import TargetError
from lablib.language import term
from lablib.tracing.protocol import describe_error, read_error
from lablib.wording import os_reason

MAX_HOLD_S = 2.0
"""After so long the target goes on by itself."""

STOP_TIMEOUT_S = 0.5
"""How long the threads may take to stop: one that waits for a disk can't be stopped at all."""

_POLL_S = 0.0002
_PR_SET_PDEATHSIG = 1
_WAIT_ALL = 0x40000000  # __WALL: threads too
_EVENT_STOP = 128
_EINTR, _ERESTARTNOHAND = -4, -514
_LENGTH = struct.Struct("=I")
_NUM_THREADS = 20 - 3
"""Field 20 of /proc/PID/stat, of which the third is the first behind the name."""

# Where user_regs_struct has them, in words; and the sets of registers, by their NT_ numbers.
_STACK_POINTER = {"x86_64": 19, "aarch64": 31}
_REGISTER_SETS = {"x86_64": (1, 0x202), "aarch64": (1, 2, 0x401)}
_RESULT, _CALL_NUMBER = 10, 15

_RESTARTED = frozenset(
    {
        *(0, 1, 19, 20),  # read, write, readv, writev: of a socket that has a timeout
        *(42, 43, 44, 45, 46, 47, 288, 299, 307),  # connect, accept, send and receive, likewise
        *(232, 281, 441),  # epoll_wait, epoll_pwait, epoll_pwait2
        *(65, 220),  # semop, semtimedop
        *(128, 208, 333, 426),  # rt_sigtimedwait, io_getevents, io_pgetevents, io_uring_enter
    }
)
"""System calls of x86-64 that return EINTR after any interruption, even one without a handler.

They have done nothing then, so that they can be made again. If a handler is to run first, the
kernel still makes it EINTR. On aarch64 the kernel has decided before a tracer sees the thread:
there these calls return EINTR, as the manual page signal(7) says of a stopped program.
"""


@dataclass(frozen=True)
class HeldThread:
    """A thread that stands still: its id, its stack pointer, and all registers as 8-byte words."""

    thread: int
    stack_pointer: int
    registers: bytes


class Holder:
    """Holds a process from its making to `release`, or to `MAX_HOLD_S`."""

    def __init__(self, pid: int) -> None:
        """Stop all threads of process `pid`.

        Raises `TargetError` where another tracer has it, or a thread can't be stopped; then the
        process goes on.
        """
        reading, writing = os.pipe()
        stay, self._let_go = os.pipe()
        session = os.getpid()
        self._helper = os.fork()
        if self._helper == 0:
            os.close(reading)
            os.close(self._let_go)
            _become_helper(pid, session, stay, writing)
        os.close(writing)
        os.close(stay)
        self._report = reading
        try:
            found = self._receive()
            if found is None:
                raise TargetError(term("process {pid} could not be held still", pid=pid))
            if "error" in found[0]:
                raise read_error(found[0]["error"])
        except BaseException:
            self.release()
            raise
        self.threads = split_threads(found[0]["threads"], found[1])

    def release(self) -> float | None:
        """Let the process go on; return for how many seconds it stood still.

        None: it did not stand still up to now, but went on when `MAX_HOLD_S` was over, or ended.
        """
        os.close(self._let_go)
        try:
            found = self._receive()
        finally:
            os.close(self._report)
            os.waitpid(self._helper, 0)
        return found[0]["held_s"] if found and found[0].get("was_whole") else None

    def _receive(self) -> tuple[dict[str, Any], bytes] | None:
        """Return what the helper says, and registers; None when it has died."""
        lengths = _read_exactly(self._report, 2 * _LENGTH.size)
        if not lengths:
            return None
        header_bytes, payload_bytes = (number for (number,) in _LENGTH.iter_unpack(lengths))
        text = _read_exactly(self._report, header_bytes)
        payload = _read_exactly(self._report, payload_bytes)
        return (json.loads(text), payload) if text else None


def split_threads(described: list[list[int]], registers: bytes) -> tuple[HeldThread, ...]:
    """Return threads that are described by id, stack pointer and the length of their registers."""
    threads = []
    at = 0
    for thread, stack_pointer, length in described:
        threads.append(HeldThread(thread, stack_pointer, registers[at : at + length]))
        at += length
    return tuple(threads)


def _read_exactly(descriptor: int, size: int) -> bytes:
    content = b""
    while len(content) < size:
        chunk = os.read(descriptor, size - len(content))
        if not chunk:
            return b""
        content += chunk
    return content


def _become_helper(pid: int, session: int, stay: int, report: int) -> None:
    try:
        for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == session:
            signal.setitimer(signal.ITIMER_REAL, 2 * MAX_HOLD_S)  # should all else fail
            _hold(pid, stay, report)
    finally:
        os._exit(0)  # whatever is still held goes on


def _hold(pid: int, stay: int, report: int) -> None:
    begin_s = time.monotonic()
    threads = _Threads(pid)
    try:
        threads.stop()
        held = threads.read()
    except TargetError as error:
        threads.give_up()
        _send(report, {"error": describe_error(error)})
        return
    described = [(each.thread, each.stack_pointer, len(each.registers)) for each in held]
    _send(report, {"threads": described}, b"".join(each.registers for each in held))
    left_s = begin_s + MAX_HOLD_S - time.monotonic()
    was_asked = bool(select.select([stay], [], [], max(0.0, left_s))[0])
    are_all = threads.release()
    held_s = time.monotonic() - begin_s
    _send(report, {"held_s": held_s, "was_whole": was_asked and are_all})


def _send(descriptor: int, header: dict[str, Any], payload: bytes = b"") -> None:
    text = json.dumps(header).encode()
    content = memoryview(_LENGTH.pack(len(text)) + _LENGTH.pack(len(payload)) + text + payload)
    while content:
        content = content[os.write(descriptor, content) :]


class _Threads:
    """The threads of a process, seized one by one by this process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seized: set[int] = set()
        self._signals: dict[int, int] = {}
        """Of each thread that stands: the signal that it was about to take, or 0."""

    def stop(self) -> None:
        """Return once all threads stand; raises `TargetError`.

        A thread that is not stopped yet may start another one, so the list is read again until
        there is none in it that does not stand. While threads come and go the list may leave one
        out: so it has to be as long as the process has threads. And one that was listed may have
        ended since, with another in its place: so it has to be the list from before, twice.
        """
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        times_complete = 0
        listed: set[int] = set()
        while times_complete < 2:
            listed_before, listed = listed, self._list()
            is_new = [self._seize(thread) for thread in listed if thread not in self._seized]
            do_stand = self._all_stand()
            is_same = listed == listed_before and len(listed) == self._count()
            is_complete = do_stand and is_same and not any(is_new)
            times_complete = times_complete + 1 if is_complete else 0
            if time.monotonic() > deadline_s:
                raise TargetError(
                    term(
                        "process {pid} can't be held still: one of its threads waits in the "
                        "kernel for something that can't be interrupted",
                        pid=self._pid,
                    ),
                    term("try again when its disk or its child is done"),
                )
            if not do_stand:
                time.sleep(_POLL_S)
        if not self._signals:
            raise TargetError(term("process {pid} has ended", pid=self._pid))

    def read(self) -> list[HeldThread]:
        """Return the registers of all threads, and see that interrupted calls are made again."""
        machine = os.uname().machine
        held = []
        for thread in self._signals:
            try:
                general = ptrace.read_registers(thread, ptrace.GENERAL_REGISTERS)
                sets = [general]
                for which in _REGISTER_SETS[machine][1:]:
                    with contextlib.suppress(OSError):  # a processor without them
                        sets.append(ptrace.read_registers(thread, which))
                words = memoryview(general).cast("q")
                _restart_call(thread, words)
            except OSError:
                raise TargetError(
                    term("process {pid} ended while it was held", pid=self._pid)
                ) from None
            padded = b"".join(each + b"\0" * (-len(each) % 8) for each in sets)
            stack_pointer = words[_STACK_POINTER[machine]] % (1 << 64)
            held.append(HeldThread(thread, stack_pointer, padded))
        return held

    def give_up(self) -> None:
        """Let all threads go on that were asked to stop, each once it stands, as if none had been.

        A thread that can't be stopped is not waited for beyond `STOP_TIMEOUT_S`; what it waits for
        is not interrupted.
        """
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while not self._all_stand() and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        for thread in self._signals:
            with contextlib.suppress(OSError):
                general = ptrace.read_registers(thread, ptrace.GENERAL_REGISTERS)
                _restart_call(thread, memoryview(general).cast("q"))
        self.release()

    def release(self) -> bool:
        """Let all threads go on that stand, and return whether they all stood up to now."""
        are_all = True
        for thread, number in self._signals.items():
            try:
                ptrace.ptrace(ptrace.DETACH, thread, 0, number)
            except OSError:
                are_all = False  # killed meanwhile
        return are_all

    def _list(self) -> set[int]:
        try:
            return {int(name) for name in os.listdir(f"/proc/{self._pid}/task")}
        except OSError:
            return set()

    def _count(self) -> int:
        """Return how many threads the process has, those included that have just ended."""
        try:
            stat = Path(f"/proc/{self._pid}/stat").read_text(errors="replace")
        except OSError:
            return 0
        return int(stat.rpartition(")")[2].split()[_NUM_THREADS])

    def _seize(self, thread: int) -> bool:
        """Have a thread stop as soon as it can; return whether it is one that will."""
        try:
            ptrace.ptrace(ptrace.SEIZE, thread)
            self._seized.add(thread)
            ptrace.ptrace(ptrace.INTERRUPT, thread)
        except ProcessLookupError:
            return False
        except OSError as error:
            self._refuse(thread, error)
            return False
        return True

    def _refuse(self, thread: int, error: OSError) -> None:
        """Raise what the kernel's refusal means, unless the thread is about to end."""
        try:
            status = Path(f"/proc/{self._pid}/task/{thread}/status").read_text(errors="replace")
        except OSError:
            return
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if fields["State"][0] in "ZX":
            return
        if fields["TracerPid"] != "0":
            raise TargetError(
                term(
                    "process {pid} is held by another tracer (process {tracer}: gdb, strace, or "
                    "the like), so that what points at its blocks can't be looked at",
                    pid=self._pid,
                    tracer=fields["TracerPid"],
                ),
                term("end that one and try again"),
            )
        raise TargetError(
            term(
                "the kernel does not let process {pid} be held still ({reason})",
                pid=self._pid,
                reason=os_reason(error),
            )
        )

    def _all_stand(self) -> bool:
        for thread in self._seized - set(self._signals):
            # Not taken from the kernel (WNOWAIT): if we die, a signal in it is not lost with us.
            flags = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT | _WAIT_ALL
            try:
                state = os.waitid(os.P_PID, thread, flags)
            except ChildProcessError:
                self._seized.discard(thread)
                continue
            if state is None:
                continue
            if state.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
                self._seized.discard(thread)
                continue
            is_event = state.si_status >> 8 == _EVENT_STOP
            self._signals[thread] = 0 if is_event else state.si_status
        return self._seized <= set(self._signals)


def _restart_call(thread: int, words: memoryview[int]) -> None:
    """Have a thread that stands make its system call again, if that would end with EINTR."""
    if (
        os.uname().machine == "x86_64"
        and words[_RESULT] == _EINTR
        and words[_CALL_NUMBER] in _RESTARTED
    ):
        ptrace.ptrace(ptrace.POKEUSER, thread, 8 * _RESULT, _ERESTARTNOHAND)
