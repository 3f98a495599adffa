"""Who may trace whom: the one decision of the tracer service that is about trust.

A caller may trace a process whose real, effective and saved user ids are all its own, and that
the kernel calls dumpable: one that has gained rights by its file (setuid, setgid, capabilities) or
that guards its secrets is not. Root may trace every process. The caller's identity comes from the
socket's peer credentials and the target's from the kernel, held by a pidfd: a process id that is
reused in between is noticed.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from pathlib import Path

from lablib.errors import TargetError
from lablib.language import term

_PEER_CREDENTIALS = struct.Struct("3i")


def read_peer_uid(connection: socket.socket) -> int:
    """Return the user id of the process that opened this unix socket connection (SO_PEERCRED)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    _, uid, _ = _PEER_CREDENTIALS.unpack(raw)
    return int(uid)


def read_peer_pid(connection: socket.socket) -> int:
    """Return the process that opened this connection, as this one sees it; 0 if it does not."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    pid, _, _ = _PEER_CREDENTIALS.unpack(raw)
    return int(pid)


def is_descendant(pid: int, ancestor: int) -> bool:
    """Return whether a process was started by another, or by one that that one has started.

    Nobody is his own descendant. Whose parent has ended belongs to nobody any more.
    """
    while pid > 1:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return False
        pid = int(stat.rpartition(")")[2].split()[1])
        if pid == ancestor:
            return ancestor > 0
    return False


class Target:
    """A process that its caller is allowed to trace, held by a pidfd."""

    def __init__(self, pid: int, caller_uid: int) -> None:
        """Hold process `pid` for the user `caller_uid`; raise `TargetError` if that may not be."""
        self.pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except (OSError, OverflowError):
            raise TargetError(
                term("there is no process {pid}", pid=pid),
                term("look for its number with: pgrep -a NAME"),
            ) from None
        self._caller_uid = caller_uid
        try:
            self.check()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raise `TargetError` unless the process is still there and its caller may trace it.

        To be asked again once everything is attached: in between the process may have ended and
        its number been reused, or it may have become another user's by exec.
        """
        _check_owner(self.pid, self._caller_uid)
        if not self.is_running():
            raise TargetError(term("process {pid} ended before it could be traced", pid=self.pid))

    def is_running(self) -> bool:
        """Return whether this very process, not another with its number, has not ended."""
        return not select.select([self._pidfd], [], [], 0)[0]

    def list_other_threads(self) -> list[int]:
        """Return the ids of its threads that run and are not about to end, but for the first.

        Where the whole process ends, by exit or by a signal, each of its threads has SIGKILL
        pending until it is gone.
        """
        found = []
        for folder in Path(f"/proc/{self.pid}/task").glob("*"):
            try:
                status = (folder / "status").read_text(errors="replace")
            except OSError:
                continue  # it has ended meanwhile
            fields = dict(line.split(":", 1) for line in status.split("\n") if ":" in line)
            is_ending = int(fields["SigPnd"], 16) >> (signal.SIGKILL - 1) & 1
            if int(folder.name) != self.pid and not is_ending:
                found.append(int(folder.name))
        return found

    def close(self) -> None:
        """Let go of the process; it runs on."""
        os.close(self._pidfd)


def _check_owner(pid: int, caller_uid: int) -> None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
        maps_owner = os.stat(f"/proc/{pid}/maps").st_uid  # root's where it is not dumpable
    except OSError:
        raise TargetError(term("process {pid} ended before it could be traced", pid=pid)) from None
    fields = dict(line.split(":", 1) for line in status.split("\n") if ":" in line)
    owners = {int(uid) for uid in fields["Uid"].split()[:3]}
    if caller_uid != 0 and owners != {caller_uid}:
        raise TargetError(
            term(
                "process {pid} is not yours: its user ids are {owners}, yours is {yours}",
                pid=pid,
                owners=sorted(owners),
                yours=caller_uid,
            ),
            term("trace one that you started yourself"),
        )
    if caller_uid not in (0, maps_owner):
        raise TargetError(
            term("process {pid} runs with more rights than yours, or guards its memory", pid=pid),
            term("trace one without setuid, setgid or capabilities"),
        )
