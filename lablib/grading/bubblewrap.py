"""What a program in the sandbox sees of the machine, as bubblewrap is told it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FOLDER = "/work"
"""Where a program in the sandbox finds its folder."""

_INSIDE = Path(__file__).with_name("inside.py")

_OVERWRITE_FREED = ("MALLOC_PERTURB_", "165")
"""Has glibc overwrite what is freed: who reads it afterwards prints something else."""

# What a compiler and a program need of the system, where it is there; nothing of /home or /root.
_SYSTEM_FILES = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"),
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
)


def find_home(is_writable: bool) -> str:
    """Return the folder in which a program starts: one that it may write to."""
    return FOLDER if is_writable else "/tmp"


def wrap(folder: Path, uid: int | None, is_writable: bool, info_end: int) -> list[str]:
    """Return the command that runs inside.py in a sandbox; its own arguments come behind it.

    `folder` is seen as `FOLDER`. Without `uid`, for an ordinary user, there is a user namespace.
    What bubblewrap says of the sandbox goes to the descriptor `info_end`.
    """
    system = []
    for path in _SYSTEM_FILES:
        if os.path.islink(path):
            system += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            system += ["--ro-bind", path, path]
    may_change_user = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [
        shutil.which("bwrap") or "bwrap",
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        *("--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *(["--unshare-user"] if uid is None else may_change_user),
        *("--cap-add", "CAP_SYS_ADMIN"),  # given up before the program begins: see inside.py
        *("--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LC_ALL", "C.UTF-8"),
        *("--setenv", "HOME", find_home(is_writable), "--setenv", "TMPDIR", "/tmp"),
        *("--setenv", *_OVERWRITE_FREED, "--info-fd", str(info_end)),
        *system,
        *("--dev", "/dev", "--proc", "/proc", "--dir", "/tmp"),
        *("--bind" if is_writable else "--ro-bind", str(folder), FOLDER),
        *("--ro-bind", str(_INSIDE), "/inside.py"),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--"),
        *("/usr/bin/python3", "-I", "-S", "-B", "/inside.py"),
    ]
