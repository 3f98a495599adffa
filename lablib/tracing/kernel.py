"""What bcc wants to find on a system, put there for the service alone.

bcc compiles against kernel headers and looks for them under /lib/modules/RELEASE. For probes on
user programs the headers of any recent kernel will do, so when the running kernel has none of its
own, installed ones are shown in their place. This happens in a mount namespace of the service's
own: nothing on the machine changes, and it is gone when the service ends.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from pathlib import Path

from lablib.errors import ToolMissingError, TracerError
from lablib.language import term

MODULES_DIR = Path("/lib/modules")
TRACEFS_DIR = Path("/sys/kernel/tracing")
HEADERS_DIR = Path("/usr/src")

_CLONE_NEWNS = 0x00020000
_MS_REC = 1 << 14
_MS_PRIVATE = 1 << 18


def enter_private_mounts() -> None:
    """Give this process a mount namespace of its own, with tracefs and headers where bcc looks."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "making a mount namespace")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "making mounts private")
    if TRACEFS_DIR.is_dir() and not any(
        TRACEFS_DIR.iterdir()
    ):  # memleak wants it to take its probes out
        _check(libc.mount(b"tracefs", os.fsencode(TRACEFS_DIR), b"tracefs", 0, None), "tracefs")
    release = platform.release()
    if (MODULES_DIR / release / "build").exists() or Path("/sys/kernel/kheaders.tar.xz").exists():
        return
    build, source = find_headers()
    target = os.fsencode(MODULES_DIR)
    _check(libc.mount(b"tmpfs", target, b"tmpfs", 0, b"size=64k"), f"mounting on {MODULES_DIR}")
    (MODULES_DIR / release).mkdir()
    (MODULES_DIR / release / "build").symlink_to(build)
    (MODULES_DIR / release / "source").symlink_to(source)


def find_headers() -> tuple[Path, Path]:
    """Return the (build, source) folders of the newest kernel headers that are installed.

    Debian splits them in two packages, of which the common one has the sources; elsewhere both
    are one folder. Raises `ToolMissingError` where there are none.
    """
    configured = HEADERS_DIR.glob("linux-headers-*/include/generated/autoconf.h")
    builds = [path.parents[2] for path in configured]
    builds.sort(key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])
    if not builds:
        raise ToolMissingError(
            term("bcc needs kernel headers and none are installed"),
            term("run: ./lab demo, which installs them"),
        )
    build = builds[-1]
    version = re.sub(r"(linux-headers-[\d.+~-]*\d).*", r"\1", build.name)
    commons = sorted(HEADERS_DIR.glob(f"{version}*-common*"), key=lambda path: len(path.name))
    return build, commons[0] if commons else build


def _check(result: int, what: str) -> None:
    if result != 0:
        raise TracerError(
            term("{what} failed: {reason}", what=what, reason=os.strerror(ctypes.get_errno())),
            term("the tracer service must run as root with CAP_SYS_ADMIN"),
        )
