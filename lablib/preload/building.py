"""Compile the interposer, when its source is newer than what has been compiled."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

from lablib.apps import BUILD_DIR
from lablib.errors import AppError, ToolMissingError
from lablib.language import term
from lablib.wording import os_reason

SOURCES = Path(__file__).with_name("interposer")

FLAGS = (
    *("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"),
    "-fvisibility=hidden",  # it gives a program what it interposes, and nothing else
    "-fno-omit-frame-pointer",  # a caller's registers are read from our frame
    "-fno-builtin",  # malloc and memset in calloc's place would be calloc again
    "-ftls-model=initial-exec",  # no thread's own variable may ask malloc for its memory
    *("-Wl,--build-id=sha1", "-Wl,-z,relro"),
)


def build_interposer() -> Path:
    """Return the compiled interposer; its name tells its source.

    Raises `ToolMissingError` without a compiler, and `AppError` where it can't be compiled.
    """
    main = SOURCES / "interpose.c"
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    built = BUILD_DIR / f"interpose-{digest.hexdigest()[:12]}.so"
    if built.exists():
        return built
    if shutil.which("gcc") is None:
        raise ToolMissingError(
            term("the preload source needs gcc"), term("run: sudo apt-get install gcc libc6-dev")
        )
    fresh = built.with_suffix(f".{os.getpid()}-{threading.get_ident()}.new")
    try:
        BUILD_DIR.mkdir(exist_ok=True)
        made = subprocess.run(
            ["gcc", *FLAGS, "-o", fresh, main], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise AppError(
                term("compiling the interposer failed: {said}", said=made.stderr.strip()[-200:])
            )
        fresh.replace(built)
    except OSError as error:
        raise AppError(
            term("can't write to {folder} ({reason})", folder=BUILD_DIR, reason=os_reason(error))
        ) from None
    return built
