"""The leaky apps in Docker: an engine, an image from scratch, a container with a cap."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import docker
from docker.errors import DockerException
from docker.models.containers import Container
from requests.exceptions import RequestException

from lablib.errors import AppError, DockerError, LabError
from lablib.privilege import root_prefix
from lablib.records import AppFiles
from lablib.release import LIFETIME_S, MEMORY_CAP_BYTES, wait_until_held

LABEL = "memory-leak-lab"
"""The label of everything that the lab makes in an engine; its value is the owner's user id."""

START_TIMEOUT_S = 20.0

INSTALL_FIX = "run: sudo apt-get install docker.io (or use --local)"

_DOCKER_FAILURES = (DockerException, RequestException)
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
        raise DockerError("no Docker engine answers", "run: ./lab demo, which starts one")
    if shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        raise DockerError("Docker's engine is not installed", INSTALL_FIX)
    _start_own_engine()
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if (client := _connect(own_host)) is not None:
            return Engine(client, own_host, True)
        time.sleep(0.1)
    said = _read_last_line(Path(f"{own_engine_dir()}.log"))
    stop_own_engine()
    raise DockerError(f"the lab's Docker engine did not come up ({said})", "use --local")


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
        prefix = root_prefix("the lab's own Docker engine")
    except LabError as error:
        raise DockerError(error.message, f"{error.fix}, or use --local") from None
    done = subprocess.run([*prefix, "/bin/sh", "-c", script, "sh", *arguments], check=False)
    if done.returncode != 0:
        raise DockerError("the lab's Docker engine could not be started or stopped", "try: sudo -v")


def _connect(host: str) -> docker.DockerClient | None:
    client = None
    try:
        client = docker.DockerClient(base_url=host, timeout=60)
        client.ping()
        return client
    except (*_DOCKER_FAILURES, OSError, ValueError):
        if client is not None:
            client.close()
        return None


def build_image(engine: Engine, app: AppFiles, tag: str) -> str:
    """Build an image FROM scratch out of an app, and return its name.

    In it are the program at /app, its source at /app.c, the loader and libraries that it needs,
    and a busybox under the names of its commands. Nothing is pulled. Raises `DockerError`.
    """
    busybox = shutil.which("busybox")
    if busybox is None:
        raise DockerError("the image needs busybox", "run: sudo apt-get install busybox-static")
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        _add_text(archive, "Dockerfile", 'FROM scratch\nCOPY root/ /\nENTRYPOINT ["/app"]\n')
        _add_file(archive, app.executable, "root/app", 0o755)
        _add_file(archive, app.source, "root/app.c", 0o644)
        programs = (app.executable, Path(busybox))
        for library in sorted({path for program in programs for path in _list_libraries(program)}):
            _add_file(archive, Path(library), f"root{library}", 0o755)
        _add_file(archive, Path(busybox), "root/bin/busybox", 0o755)
        for command in _list_busybox_commands(busybox):
            link = tarfile.TarInfo(f"root/bin/{command}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    context.seek(0)
    name = f"{LABEL}/{tag}"
    try:
        engine.client.images.build(
            fileobj=context, custom_context=True, tag=name, rm=True, labels={LABEL: _owner()}
        )
    except _DOCKER_FAILURES as error:
        raise DockerError(f"building the image {name} failed: {_in_one_line(error)}") from None
    return name


class ContainerApp:
    """An app that runs in a container; a context manager that removes it.

    It runs as the calling user, without capabilities or network, and its memory cap includes swap.
    """

    runtime = "docker"

    def __init__(
        self, engine: Engine, app: AppFiles, image: str, rate: float, name: str = "app"
    ) -> None:
        """Start the app held before its first term.

        Raises `DockerError`, also when a container called `name` exists that is not the lab's.
        """
        self.app = app
        self.name = name
        self._engine = engine
        remove_container(engine, name)
        self._container: Container | None = None
        try:
            self._container = engine.client.containers.create(
                image,
                command=["--rate", str(rate), "--wait", "--lifetime", str(LIFETIME_S)],
                name=name,
                user=f"{os.getuid()}:{os.getgid()}",
                labels={LABEL: _owner()},
                network_mode="none",
                mem_limit=MEMORY_CAP_BYTES,
                memswap_limit=MEMORY_CAP_BYTES,
                pids_limit=64,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
            )
            self._container.start()
            self._container.reload()
            self.pid = int(self._container.attrs["State"]["Pid"])
            wait_until_held(self.pid)
        except (*_DOCKER_FAILURES, AppError) as error:
            self.close()
            raise DockerError(
                f"the container {name} did not start: {_in_one_line(error)}"
            ) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ContainerApp:
        """Return the running app."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the container, running or not."""
        self.close()

    def release(self) -> None:
        """Let the app begin, as `docker kill --signal USR1` does."""
        with _translate_errors(f"docker kill {self.name}"):
            self._running().kill(signal="SIGUSR1")

    def read_logs(self) -> str:
        """Return what the app has printed so far, as `docker logs` does."""
        with _translate_errors(f"docker logs {self.name}"):
            return bytes(self._running().logs()).decode(errors="replace")

    def read_source(self) -> str:
        """Return /app.c as `docker exec NAME cat /app.c` does."""
        with _translate_errors(f"docker exec {self.name}"):
            code, output = self._running().exec_run(["/bin/cat", "/app.c"])
        text = b"".join([output] if isinstance(output, bytes) else output).decode(errors="replace")
        if code != 0:
            raise DockerError(f"docker exec failed: {text.strip()}")
        return text

    def close(self) -> None:
        """Remove the container, running or not."""
        if self._container is not None:
            _remove(self._container)
            self._container = None

    def _running(self) -> Container:
        if self._container is None:
            raise DockerError(f"the container {self.name} has been removed")
        return self._container


def copy_from_image(engine: Engine, image: str, path: str, folder: Path) -> Path:
    """Copy a file out of an image into `folder`, at the same path, and return where it is.

    As `docker create IMAGE` and `docker cp` do it; the container made for it never runs.
    """
    try:
        donor = engine.client.containers.create(image, labels={LABEL: _owner()})
        try:
            chunks, _ = donor.get_archive(path)
            archive = io.BytesIO(b"".join(chunks))
        finally:
            _remove(donor)
    except _DOCKER_FAILURES as error:
        raise DockerError(f"docker cp from {image} failed: {_in_one_line(error)}") from None
    target = folder / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=archive) as files:
        file = files.extractfile(Path(path).name)
        if file is None:
            raise DockerError(f"{path} in {image} is not a file")
        target.write_bytes(file.read())
    target.chmod(0o755)
    return target


def find_container_pid(engine: Engine, name: str) -> int:
    """Return the process id, on this machine, of a running container's first process."""
    try:
        state = engine.client.containers.get(name).attrs["State"]
    except _DOCKER_FAILURES:
        raise DockerError(f"there is no container called {name}", "see: docker ps") from None
    if not state["Running"]:
        raise DockerError(f"the container {name} is not running", f"run: docker start {name}")
    return int(state["Pid"])


def remove_container(engine: Engine, name: str) -> None:
    """Remove the lab's container of that name, if any; raise `DockerError` for somebody else's."""
    try:
        found = engine.client.containers.get(name)
    except _DOCKER_FAILURES:
        return
    if found.labels.get(LABEL) != _owner():
        raise DockerError(
            f"a container called {name} exists already and is not this lab's",
            f"run: docker rename {name} SOMETHING-ELSE (or use --local)",
        )
    _remove(found)


def remove_leftovers(engine: Engine) -> list[str]:
    """Remove this user's containers and images of the lab; return what was removed."""
    mine: dict[str, str | list[str] | bool] = {"label": f"{LABEL}={_owner()}"}
    removed = []
    with _translate_errors("docker rm"):
        for container in engine.client.containers.list(all=True, filters=mine):
            removed.append(f"container {container.name}")
            _remove(container)
        for image in engine.client.images.list(filters=mine):
            removed += [f"image {tag}" for tag in image.tags]
            engine.client.images.remove(str(image.id), force=True)
    return removed


@contextlib.contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    """Make whatever docker's package raises a `DockerError` in one line."""
    try:
        yield
    except _DOCKER_FAILURES as error:
        raise DockerError(f"{what} failed: {_in_one_line(error)}", "see: docker ps -a") from None


def _read_last_line(path: Path) -> str:
    try:
        return (path.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
    except OSError:
        return "it left no log"


def _remove(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        pass
    except _DOCKER_FAILURES as error:
        raise DockerError(
            f"the container {container.name} could not be removed: {_in_one_line(error)}",
            "run: ./lab clean",
        ) from None


def _list_libraries(executable: Path) -> Iterator[str]:
    """Yield the loader and libraries that a program is linked against; a static one has none."""
    listed = subprocess.run(["ldd", str(executable)], capture_output=True, text=True, check=False)
    for line in listed.stdout.splitlines():
        paths = [word for word in line.split() if word.startswith("/")]
        if paths:
            yield paths[0]


def _list_busybox_commands(busybox: str) -> list[str]:
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split() if name != "busybox"]


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text.encode())
    archive.addfile(entry, io.BytesIO(text.encode()))


def _add_file(archive: tarfile.TarFile, path: Path, name: str, mode: int) -> None:
    data = path.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _owner() -> str:
    return str(os.getuid())


def _in_one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "explanation", None) or error).split())
