"""A Docker engine: the one that runs and lets us in, or one of the lab's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from lablib.errors import DockerError, LabError
from lablib.language import term
from lablib.privilege import root_prefix

START_TIMEOUT_S = 20.0

INSTALL_FIX = term("run: sudo apt-get install docker.io (or use --local)")

DOCKER_FAILURES = (DockerException, RequestException)
"""What docker's package raises when an engine refuses or does not answer."""

_SYSTEM_SOCKET = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers: its client, its address, and whether the lab started it."""

    client: docker.DockerClient
    host: str
    is_own: bool


def own_engine_dir() -> Path:
    """Return where the lab's own engine keeps its socket and state, a folder of this user's."""
    return Path(f"/run/memory-leak-lab/docker-{os.getuid()}")


def own_data_dir() -> Path:
    """Return where the lab's own engine keeps its images and containers."""
    return Path(f"/var/lib/memory-leak-lab/docker-{os.getuid()}")


def find_engine(may_start: bool = True) -> Engine:
    """Return an engine: the one that runs and lets us in, else the lab's own, started if need be.

    The lab's own engine has a socket and a data folder of its own, and touches no network. Raises
    `DockerError` where there is none and none can be started.
    """
    own_host = f"unix://{own_engine_dir()}/docker.sock"
    for host, is_own in ((os.environ.get("DOCKER_HOST", _SYSTEM_SOCKET), False), (own_host, True)):
        if (client := _connect(host)) is not None:
            return Engine(client, host, is_own)
    if not may_start:
        raise DockerError(
            term("no Docker engine answers"), term("run: ./lab demo, which starts one")
        )
    if shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        raise DockerError(term("Docker's engine is not installed"), INSTALL_FIX)
    _start_own_engine()
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if (client := _connect(own_host)) is not None:
            return Engine(client, own_host, True)
        time.sleep(0.1)
    said = _read_last_line(Path(f"{own_engine_dir()}.log"))
    stop_own_engine()
    raise DockerError(
        term("the lab's Docker engine did not come up ({said})", said=said), term("use --local")
    )


def stop_own_engine() -> bool:
    """Stop the lab's own engine and remove all that it made; return whether there was one."""
    folder, data = own_engine_dir(), own_data_dir()
    if not folder.exists() and not data.exists():
        return False
    script = """
        if pid=$(cat "$1/docker.pid" 2>/dev/null) && grep -qz dockerd "/proc/$pid/cmdline"; then
            kill "$pid"
            for _ in $(seq 100); do [ -e "/proc/$pid" ] || break; sleep 0.1; done
            kill -9 "$pid" 2>/dev/null
        fi
        # what a killed engine left mounted, the innermost first
        awk -v a="$1" -v b="$2" \
            '$5 == a || $5 == b || index($5, a "/") == 1 || index($5, b "/") == 1 { print $5 }' \
            /proc/self/mountinfo | sort -r | while read -r place; do umount "$place"; done
        rm -rf --one-file-system "$1" "$1.log" "$2" || exit
        rmdir "${1%/*}" "${2%/*}" 2>/dev/null || true # another user's engine may be in there
    """
    _run_as_root(script, str(folder), str(data))
    return True


def _start_own_engine() -> None:
    folder, data = own_engine_dir(), own_data_dir()
    script = """
        set -e
        mkdir -p -m 755 "$(dirname "$1")" "$(dirname "$2")"
        mkdir -p "$1" "$2"
        chown "$3" "$1" && chmod 700 "$1"
        export PATH="$PATH:/usr/sbin:/sbin"
        setsid -f dockerd --data-root "$2" --exec-root "$1/exec" -H "unix://$1/docker.sock" \
            --containerd-namespace "memory-leak-lab-$3" \
            --containerd-plugins-namespace "memory-leak-lab-plugins-$3" \
            -p "$1/docker.pid" --group "$4" --bridge=none --iptables=false --ip6tables=false \
            --ip-masq=false >"$1.log" 2>&1 </dev/null
    """
    _run_as_root(script, str(folder), str(data), str(os.getuid()), str(os.getgid()))


def _run_as_root(script: str, *arguments: str) -> None:
    try:
        prefix = root_prefix(term("the lab's own Docker engine"))
    except LabError as error:
        raise DockerError(error.message, term("{fix}, or use --local", fix=error.fix)) from None
    done = subprocess.run([*prefix, "/bin/sh", "-c", script, "sh", *arguments], check=False)
    if done.returncode != 0:
        raise DockerError(
            term("the lab's Docker engine could not be started or stopped"), term("try: sudo -v")
        )


def _connect(host: str) -> docker.DockerClient | None:
    client = None
    try:
        client = docker.DockerClient(base_url=host, timeout=60)
        client.ping()
        return client
    except (*DOCKER_FAILURES, OSError, ValueError):
        if client is not None:
            client.close()
        return None


@contextlib.contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Make whatever docker's package raises a `DockerError` in one line."""
    try:
        yield
    except DOCKER_FAILURES as error:
        raise DockerError(
            term("{what} failed: {error}", what=what, error=tell(error)), term("see: docker ps -a")
        ) from None


def tell(error: Exception) -> str:
    """Return what an engine says went wrong, in one line."""
    return " ".join(str(getattr(error, "explanation", None) or error).split())


def _read_last_line(path: Path) -> str:
    try:
        return (path.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
    except OSError:
        return "it left no log"
