"""Prints the kernel's tables of System V objects, as an IPC namespace has them: JSON, by its kind.

    python3 -I -S system_v.py NAMESPACE

NAMESPACE is the descriptor of an open /proc/PID/ns/ipc. Run as a script, with the standard library
alone: it enters that namespace, which a process with threads can't, and ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sys
from pathlib import Path

_NS_GET_USERNS = 0xB701  # linux/nsfs.h
_KINDS = ("shm", "sem", "msg")


def main() -> None:
    """Do it; ends with an error where the namespace may not be entered."""
    namespace = int(sys.argv[1])
    # An ordinary user may enter it only from the user namespace that it was made in.
    owner = fcntl.ioctl(namespace, _NS_GET_USERNS)
    if not os.path.sameopenfile(owner, os.open("/proc/self/ns/user", os.O_RDONLY)):
        _enter(owner)
    _enter(namespace)
    print(json.dumps({kind: Path(f"/proc/sysvipc/{kind}").read_text() for kind in _KINDS}))


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0):
        raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    main()
