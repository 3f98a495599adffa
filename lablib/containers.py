"""The leaky apps in Docker: an image from scratch, a container with a cap."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from lablib.apps import Instrument
from lablib.engine import DOCKER_FAILURES, Engine, tell, translate_errors
from lablib.errors import AppError, DockerError
from lablib.language import term
from lablib.records import AppFiles, ContainerEnd
from lablib.release import LIFETIME_S, MEMORY_CAP_BYTES, wait_until_held

LABEL = "memory-leak-lab"
"""The label of everything that the lab makes in an engine; its value is the owner's user id."""


_RUN_LABEL = f"{LABEL}-run"
_MINDER = Path(__file__).with_name("minder.py")
_REMOVAL_TIMEOUT_S = 20.0


def build_image(engine: Engine, app: AppFiles, tag: str) -> str:
    """Build an image FROM scratch out of an app, and return its name.

    In it are the program at /app, its source at /app.c, the loader and libraries that it needs,
    a /tmp, and a busybox under the names of its commands. Nothing is pulled. Raises `DockerError`.
    """
    busybox = shutil.which("busybox")
    if busybox is None:
        raise DockerError(
            term("the image needs busybox"), term("run: sudo apt-get install busybox-static")
        )
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        _add_text(archive, "Dockerfile", 'FROM scratch\nCOPY root/ /\nENTRYPOINT ["/app"]\n')
        _add_file(archive, app.executable, "root/app", 0o755)
        _add_file(archive, app.source, "root/app.c", 0o644)
        if app.plugin is not None:
            _add_file(archive, app.plugin, "root/app.so", 0o755)
        _add_scratch_folder(archive)
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
    except DOCKER_FAILURES as error:
        raise DockerError(
            term("building the image {name} failed: {error}", name=name, error=tell(error))
        ) from None
    return name


class ContainerApp(AbstractContextManager["ContainerApp"]):
    """An app that runs in a container; a context manager that removes it.

    It runs as the calling user, without capabilities or network. Its memory cap includes swap, but
    where it is given another cap alone, as `docker run -m` does. It goes also when this process is
    killed: another one minds it (minder.py).
    """

    instrument: Instrument | None = None
    runtime = "docker"
    run_words: tuple[str, ...]
    """The command that starts such a container by hand."""

    def __init__(
        self,
        engine: Engine,
        app: AppFiles,
        image: str,
        rate: float,
        name: str = "app",
        memory_bytes: int | None = None,
        swaps: bool = True,
        owns_image: bool = False,
    ) -> None:
        """Start the app held before its first term.

        With `memory_bytes` that is its memory, and how much swap comes on top is Docker's choice;
        none, if it is not to swap. An image that it owns goes with it.

        Raises `DockerError`, also when a container called `name` exists that is not the lab's.
        """
        self.app = app
        self.name = name
        self._engine = engine
        self._image = image if owns_image else ""
        self._minder: subprocess.Popen[bytes] | None = None
        self._container: Container | None = None
        words = ["--rate", f"{rate:g}", "--wait", "--lifetime", str(LIFETIME_S)]
        options = _limit_container(name, memory_bytes, swaps)
        self.run_words = _word_run(image, options, words)
        token = secrets.token_hex(8)
        options["labels"] = {**options["labels"], _RUN_LABEL: token}
        try:
            remove_container(engine, name)
            self._minder = _start_minder(engine, f"{_RUN_LABEL}={token}", self._image)
            self.pid = self._start(image, words, options)
            wait_until_held(self.pid)
        except (*DOCKER_FAILURES, AppError) as error:
            self.close()
            raise DockerError(
                term("the container {name} did not start: {error}", name=name, error=tell(error))
            ) from None
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        """Remove the container, running or not."""
        self.close()

    def release(self) -> None:
        """Let the app begin, as `docker kill --signal USR1` does."""
        with translate_errors(f"docker kill {self.name}"):
            self._running().kill(signal="SIGUSR1")

    def pause(self) -> None:
        """Stop the app where it is, as `docker kill --signal STOP` does: it stays as it is."""
        with translate_errors(f"docker kill {self.name}"):
            self._running().kill(signal="SIGSTOP")

    def read_logs(self) -> str:
        """Return what the app has printed so far, as `docker logs` does."""
        with translate_errors(f"docker logs {self.name}"):
            return bytes(self._running().logs()).decode(errors="replace")

    def wait(self, timeout_s: float) -> ContainerEnd:
        """Return how the app has ended, as soon as it has; `DockerError` if it takes longer."""
        began_s = time.monotonic()
        with translate_errors(f"docker wait {self.name}"):
            container = self._running()
            exit_code = int(container.wait(timeout=timeout_s)["StatusCode"])
            seconds = time.monotonic() - began_s
            container.reload()
            state, limits = container.attrs["State"], container.attrs["HostConfig"]
        return ContainerEnd(
            source="live",
            memory_bytes=int(limits["Memory"]),
            memory_and_swap_bytes=int(limits["MemorySwap"]),
            exit_code=exit_code,
            is_oom_killed=bool(state["OOMKilled"]),
            seconds=seconds,
            last_line=(self.read_logs().splitlines() or [""])[-1],
        )

    def read_source(self) -> str:
        """Return /app.c as `docker exec NAME cat /app.c` does."""
        with translate_errors(f"docker exec {self.name}"):
            code, output = self._running().exec_run(["/bin/cat", "/app.c"])
        text = b"".join([output] if isinstance(output, bytes) else output).decode(errors="replace")
        if code != 0:
            raise DockerError(term("docker exec failed: {said}", said=text.strip()))
        return text

    def close(self) -> None:
        """Remove the container, running or not; what that fails at is left to the minder."""
        letter = b""
        try:
            if self._container is not None:
                _remove(self._container)
                self._container, letter = None, b"."
            if self._image:
                remove_image(self._engine, self._image)
                self._image = ""
        except BaseException:
            letter = b""
            raise
        finally:
            self._dismiss_minder(letter)

    def _dismiss_minder(self, letter: bytes) -> None:
        """Close the minder's input; without a letter it looks for what was made, and removes it.

        An engine may have made a container of which it could not tell us any more.
        """
        minder, self._minder = self._minder, None
        if minder is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it goes on by itself
                minder.communicate(letter, _REMOVAL_TIMEOUT_S)

    def _start(self, image: str, words: list[str], options: dict[str, Any]) -> int:
        self._container = self._engine.client.containers.create(image, words, **options)
        self._container.start()
        self._container.reload()
        return int(self._container.attrs["State"]["Pid"])

    def _running(self) -> Container:
        if self._container is None:
            raise DockerError(term("the container {name} has been removed", name=self.name))
        return self._container


def _start_minder(engine: Engine, label: str, image: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", str(_MINDER), engine.host, label, *([image] if image else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


_FLAGS = {
    "name": "--name",
    "user": "--user",
    "labels": "--label",
    "network_mode": "--network",
    "mem_limit": "--memory",
    "memswap_limit": "--memory-swap",
    "pids_limit": "--pids-limit",
    "cap_drop": "--cap-drop",
    "security_opt": "--security-opt",
}
"""How `docker run` calls the options of `docker.containers.create`."""


def _limit_container(name: str, memory_bytes: int | None, swaps: bool) -> dict[str, Any]:
    """Return the options of a container: who it is, and all that it may not do."""
    return {
        "name": name,
        "user": f"{os.getuid()}:{os.getgid()}",
        "labels": {LABEL: _owner()},
        "network_mode": "none",
        "mem_limit": memory_bytes or MEMORY_CAP_BYTES,
        "memswap_limit": (None if swaps else memory_bytes) if memory_bytes else MEMORY_CAP_BYTES,
        "pids_limit": 64,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }


def _word_run(image: str, options: dict[str, Any], words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of the `docker run` that makes the same container."""
    flags = []
    for option, value in options.items():
        if value is None:
            continue
        if isinstance(value, dict):
            value = [f"{key}={each}" for key, each in value.items()]
        for each in value if isinstance(value, list) else [value]:
            flags.append(f"{_FLAGS[option]}={each}")
    return ("docker", "run", "--detach", *flags, image, *words)


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
    except DOCKER_FAILURES as error:
        raise DockerError(
            term("docker cp from {image} failed: {error}", image=image, error=tell(error))
        ) from None
    target = folder / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=archive) as files:
        file = files.extractfile(Path(path).name)
        if file is None:
            raise DockerError(term("{path} in {image} is not a file", path=path, image=image))
        target.write_bytes(file.read())
    target.chmod(0o755)
    return target


def find_container_pid(engine: Engine, name: str) -> int:
    """Return the process id, on this machine, of a running container's first process."""
    try:
        state = engine.client.containers.get(name).attrs["State"]
    except DOCKER_FAILURES:
        raise DockerError(
            term("there is no container called {name}", name=name), term("see: docker ps")
        ) from None
    if not state["Running"]:
        raise DockerError(
            term("the container {name} is not running", name=name),
            term("run: docker start {name}", name=name),
        )
    return int(state["Pid"])


def remove_container(engine: Engine, name: str) -> None:
    """Remove the lab's container of that name, if any; raise `DockerError` for somebody else's."""
    try:
        found = engine.client.containers.get(name)
    except DOCKER_FAILURES:
        return
    if found.labels.get(LABEL) != _owner():
        raise DockerError(
            term("a container called {name} exists already and is not this lab's", name=name),
            term("run: docker rename {name} SOMETHING-ELSE (or use --local)", name=name),
        )
    _remove(found)


def remove_image(engine: Engine, image: str) -> None:
    """Remove one of the lab's images, if it is there; raises `DockerError` where that fails."""
    with translate_errors(f"docker rmi {image}"), contextlib.suppress(docker.errors.ImageNotFound):
        engine.client.images.remove(image, force=True)


def remove_leftovers(engine: Engine) -> list[str]:
    """Remove this user's containers and images of the lab; return what was removed."""
    mine: dict[str, str | list[str] | bool] = {"label": f"{LABEL}={_owner()}"}
    removed = []
    with translate_errors("docker rm"):
        for container in engine.client.containers.list(all=True, filters=mine, ignore_removed=True):
            removed.append(f"container {container.name}")
            _remove(container)
        for image in engine.client.images.list(filters=mine):
            removed += [f"image {tag}" for tag in image.tags]
            remove_image(engine, str(image.id))
    return removed


def _remove(container: Container) -> None:
    deadline_s = time.monotonic() + _REMOVAL_TIMEOUT_S
    try:
        while True:
            try:
                container.remove(force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                # 409: another one, such as a minder, is about to remove it
                if error.status_code != 409 or time.monotonic() > deadline_s:
                    raise
            time.sleep(0.05)
    except DOCKER_FAILURES as error:
        raise DockerError(
            term(
                "the container {name} could not be removed: {error}",
                name=container.name,
                error=tell(error),
            ),
            term("run: ./lab clean"),
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


def _add_scratch_folder(archive: tarfile.TarFile) -> None:
    """Add a /tmp that any user may write to, on the disk like the rest of the container."""
    folder = tarfile.TarInfo("root/tmp")
    folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
    archive.addfile(folder)


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
