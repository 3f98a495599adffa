"""Make swap and take it away: a compressed disk in memory (zram), or a file."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import subprocess
import time
from pathlib import Path

ZRAM_CONTROL = Path("/sys/class/zram-control")
BLOCK_DEVICES = Path("/sys/block")

_CHUNK = bytes(1 << 20)
_BUSY_TIMEOUT_S = 2.0


def add_zram() -> int:
    """Return the number of a new zram device; raises `OSError` where there is no zram."""
    if not ZRAM_CONTROL.exists():
        with contextlib.suppress(OSError):
            subprocess.run(["/sbin/modprobe", "zram"], capture_output=True, check=False)
    return int((ZRAM_CONTROL / "hot_add").read_text())


def start_zram(number: int, size_bytes: int) -> Path:
    """Give a zram device its size and have the machine swap to it; raises `OSError`.

    Returns the device's path. Where nothing makes device files by itself, as in a container, the
    file is made here.
    """
    (BLOCK_DEVICES / f"zram{number}" / "disksize").write_text(str(size_bytes))
    device = Path(f"/dev/zram{number}")
    if not device.exists():
        text = (BLOCK_DEVICES / f"zram{number}" / "dev").read_text()
        major, minor = (int(part) for part in text.split(":"))
        os.mknod(device, 0o600 | stat.S_IFBLK, os.makedev(major, minor))
    _start(device)
    return device


def remove_zram(number: int) -> None:
    """Stop swapping to a zram device and remove it, if it is there; raises `OSError`."""
    folder, device = BLOCK_DEVICES / f"zram{number}", Path(f"/dev/zram{number}")
    _stop(device)
    if folder.exists():
        _insist(folder / "reset", "1")
        _insist(ZRAM_CONTROL / "hot_remove", str(number))
    if not folder.exists():
        device.unlink(missing_ok=True)


def start_file(path: Path, size_bytes: int) -> None:
    """Make a file without holes and have the machine swap to it; raises `OSError`.

    Not every file system takes one: an overlay and a tmpfs refuse.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        for written in range(0, size_bytes, len(_CHUNK)):
            os.write(descriptor, _CHUNK[: size_bytes - written])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _start(path)


def remove_file(path: Path) -> None:
    """Stop swapping to a file and remove it, if it is there; raises `OSError`."""
    _stop(path)
    path.unlink(missing_ok=True)


def _start(path: Path) -> None:
    command = ["mkswap", "--label", "memory-leak-lab", str(path)]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    made = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if made.returncode != 0:
        raise OSError(f"mkswap: {made.stderr.strip()}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.swapon(os.fsencode(path), 0):
        raise OSError(ctypes.get_errno(), f"swapon: {os.strerror(ctypes.get_errno())}")


def _stop(path: Path) -> None:
    """Just try: /proc/swaps names a path as it was in the mount namespace of the one who began."""
    libc = ctypes.CDLL(None, use_errno=True)
    is_refused = libc.swapoff(os.fsencode(path)) != 0
    if is_refused and ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):  # it is no swap
        raise OSError(ctypes.get_errno(), f"swapoff: {os.strerror(ctypes.get_errno())}")


def _insist(file: Path, text: str) -> None:
    """Write to a file of a device that somebody, such as udev, may look at for a moment."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            file.write_text(text)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
