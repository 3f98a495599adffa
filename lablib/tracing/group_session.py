"""One experiment with little memory, on the service's side: a capped cgroup, and swap for it.

Whatever ends the session (its client's word, its client's end, the service's) ends what is left in
the group and removes group and swap. A session that is itself killed leaves a note (holdings.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from lablib.errors import LabError, TargetError, TracerError
from lablib.language import term
from lablib.tracing import holdings, protocol, swap_device
from lablib.tracing.capped_cgroup import (
    find_place,
    kill_processes,
    list_processes,
    make_group,
    set_limits,
    take_process,
)
from lablib.tracing.permission import Target, is_descendant, read_peer_pid
from lablib.tracing.protocol import GROUP_LIMITS, read_numbers
from lablib.tracing.room import MARGIN_BYTES, check_count, check_room, read_free_swap

DISK_MARGIN_BYTES = 512 << 20

_PR_SET_PDEATHSIG = 1
_MIB = 1 << 20


def serve_group(connection: socket.socket, caller_uid: int, request: dict[str, Any]) -> None:
    """Make a group as a request asks for, and serve its client until either ends.

    Raises `TracerError` where there is no room for it. What is refused later is answered with its
    sentence, and the group stays.
    """
    sizes = read_numbers(request, GROUP_LIMITS)
    if "limit_bytes" not in sizes:
        raise TracerError(term("the request says no limit_bytes"))
    signal.signal(signal.SIGTERM, _end)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # to tidy up also after the service
    caller_pid = read_peer_pid(connection)
    if caller_pid == 0:
        raise TracerError(
            term(
                "you are in a container, and the tracer service outside of it: it can't tell "
                "which processes are yours"
            ),
            term("run this on the machine itself"),
        )
    limit_bytes, swap_bytes = sizes["limit_bytes"], sizes.get("swap_bytes", 0)
    with (
        contextlib.closing(Target(caller_pid, 0)) as caller,
        GroupSession(caller_pid, caller_uid, limit_bytes, swap_bytes) as session,
    ):
        signal.alarm(0)
        protocol.send(connection, session.description)
        while _await_message(connection, caller):
            message = protocol.receive(connection)
            if message is None:
                return
            if message[0].get("operation") == "close":
                break
            protocol.send(connection, _answer(session, message[0]))
    protocol.send(connection, {})  # all is gone


class GroupSession(AbstractContextManager["GroupSession"]):
    """A capped cgroup and its swap, for as long as the session lasts."""

    def __init__(self, caller_pid: int, caller_uid: int, limit_bytes: int, swap_bytes: int) -> None:
        """Make them; raises `TracerError` with the numbers where there is no room."""
        self._caller = caller_pid, caller_uid
        self._swap_bytes = swap_bytes
        try:
            holdings.sweep()
            with holdings.hold_registry():
                check_count(caller_uid)
                check_room(limit_bytes, swap_bytes)
                name = f"memory-leak-lab-{caller_uid}-{secrets.token_hex(6)}"
                self._holding = holdings.Holding(name, caller_uid)
                self._holding.note(limit_bytes=limit_bytes, swap_bytes=swap_bytes)
        except OSError as error:
            raise TracerError(
                term("a capped group can't be noted down ({error})", error=error)
            ) from None
        try:
            self._swap_source = self._add_swap() if swap_bytes else "none"
            self._folder = find_place() / name
            self._holding.note(group=str(self._folder))
            make_group(self._folder, limit_bytes, swap_bytes)
        except OSError as error:
            self._release()
            raise TracerError(
                term("a capped group can't be made here ({error})", error=error)
            ) from None
        except BaseException:
            self._release()
            raise
        self.description = {
            "group": name,
            "path": str(self._folder),
            "swap_source": self._swap_source,
        }

    def __exit__(self, *_: object) -> None:
        """End what is in the group, and remove group and swap."""
        self._release()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what the client asks for, and return who is in the group then; raises `LabError`."""
        operations: dict[object, Callable[[dict[str, Any]], None]] = {
            "take": self._take,
            "set_limit": self._set_limit,
            "kill": lambda request: kill_processes(self._folder),
        }
        operation = request.get("operation")
        if not isinstance(operation, str) or operation not in operations:
            raise TracerError(term("the tracer service does not know this request"))
        try:
            operations[operation](request)
        except OSError as error:
            raise TracerError(term("the kernel refused: {error}", error=error)) from None
        return {"processes": list_processes(self._folder)}

    def _take(self, request: dict[str, Any]) -> None:
        caller_pid, caller_uid = self._caller
        pid = protocol.read_pid(request)
        with contextlib.closing(Target(pid, caller_uid)) as target:
            if not is_descendant(pid, caller_pid):
                raise TargetError(
                    term(
                        "process {pid} was not started by you (process {caller_pid}): only such a "
                        "one can be put into a group whose processes get killed",
                        pid=pid,
                        caller_pid=caller_pid,
                    ),
                    term("start it from here"),
                )
            target.check()
            take_process(self._folder, pid)

    def _set_limit(self, request: dict[str, Any]) -> None:
        limit_bytes = read_numbers(request, GROUP_LIMITS).get("limit_bytes")
        if limit_bytes is None:
            raise TracerError(term("the request says no limit_bytes"))
        with holdings.hold_registry():
            check_room(limit_bytes, 0, replacing=self._holding.name)
            set_limits(self._folder, limit_bytes, self._swap_bytes)
            self._holding.note(limit_bytes=limit_bytes)

    def _add_swap(self) -> str:
        """Return where the group's swap is: "machine" where there was enough, "zram" or "file"."""
        size_bytes = self._swap_bytes
        if read_free_swap() >= size_bytes + MARGIN_BYTES:
            return "machine"
        if self._add_zram(size_bytes):
            return "zram"
        free = os.statvfs(holdings.STATE_DIR)
        free_bytes = free.f_bavail * free.f_frsize
        if free_bytes < size_bytes + DISK_MARGIN_BYTES:
            raise TracerError(
                term(
                    "no room for a swap file of {mib} MiB: {folder} has {free} MiB free, "
                    "and {margin} shall stay free",
                    mib=size_bytes // _MIB,
                    folder=holdings.STATE_DIR,
                    free=free_bytes // _MIB,
                    margin=DISK_MARGIN_BYTES // _MIB,
                ),
                term("make room on the disk"),
            )
        file = holdings.STATE_DIR / f"{self._holding.name}.swap"
        self._holding.note(swap_file=str(file))
        swap_device.start_file(file, size_bytes)
        return "file"

    def _add_zram(self, size_bytes: int) -> bool:
        """Return whether there is a compressed disk to swap to now."""
        try:
            number = swap_device.add_zram()
            self._holding.note(zram=number)
        except (OSError, ValueError):
            return False
        try:
            swap_device.start_zram(number, size_bytes)
        except OSError:
            swap_device.remove_zram(number)
            self._holding.note(zram=None)
            return False
        return True

    def _release(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this is what it asks for
        problem = self._holding.release()
        if problem:
            print(f"{self._holding.name}: {problem}", file=sys.stderr)


def _answer(session: GroupSession, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return session.answer(request)
    except LabError as error:
        return {"error": protocol.describe_error(error)}


def _await_message(connection: socket.socket, caller: Target) -> bool:
    """Wait for a request; return False where the client has ended, however many hold its socket."""
    while not select.select([connection], [], [], 0.2)[0]:
        if not caller.is_running():
            return False
    return True


def _end(*_: object) -> NoReturn:
    raise SystemExit("the service ends")
