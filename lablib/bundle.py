"""An archive of all that the set-up fetches, for a room without network.

    manifest     what the bundle is for: distribution, architecture, Python, requirements.lock
    SHA256SUMS   of every other file
    wheels/      the Python packages of requirements.lock
    packages/    the distribution's packages with all that they need, and an index for apt

`./lab --bundle FILE` checks it and sets up from it; it is plain files, because nothing but a shell
is sure to be there then.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lablib.errors import LabError
from lablib.wording import count_of, format_size

POLL_S = 0.5

_FROM_NOTHING = ("-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=1")
"""apt's options for a machine with no package at all, so that it takes all that is needed."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was made: where it is, its size, and how many packages of each kind it has."""

    path: Path
    size_bytes: int
    wheels: int
    packages: int

    @property
    def sentence(self) -> str:
        """What was made, in one line."""
        wheels = count_of(self.wheels, "Python package")
        packages = count_of(self.packages, "package")
        size = format_size(self.size_bytes)
        return f"{self.path}: {size}, {wheels} and {packages} of the distribution"


def name_bundle() -> str:
    """Return the usual name of a bundle of this machine."""
    distribution = read_distribution().replace(" ", "-")
    machine, version = platform.machine(), ".".join(platform.python_version_tuple()[:2])
    return f"memory-leak-lab-{distribution}-{machine}-python{version}.tar"


def read_distribution() -> str:
    """Return the distribution's id and version, such as "debian 12", from /etc/os-release."""
    told = platform.freedesktop_os_release()
    return f"{told['ID']} {told.get('VERSION_ID', '')}".strip()


def make_bundle(path: Path, lock: Path, packages: Sequence[str], console: Console) -> Bundle:
    """Fetch all packages of the lock file and of the distribution, and write them to `path`.

    `packages` are names for apt; with none, or without apt, the bundle has only Python's packages.
    A file that is there is replaced when the new one is whole. Raises `LabError` when something
    can't be fetched, and `OSError`.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=path.parent) as name:
        folder = Path(name)
        _fetch_wheels(folder / "wheels", lock, console)
        if packages and shutil.which("apt-get"):
            _fetch_packages(folder / "packages", packages, console)
        _write_manifest(folder, lock)
        draft = Path(f"{folder}.tar")
        try:
            with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as archive:
                for each in sorted(folder.iterdir()):
                    archive.add(each, each.name, filter=_forget_owner)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return Bundle(
            path,
            path.stat().st_size,
            len(list(folder.glob("wheels/*.whl"))),
            len(list(folder.glob("packages/*.deb"))),
        )


def _fetch_wheels(folder: Path, lock: Path, console: Console) -> None:
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"),
        *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("-r", str(lock), "-d", str(folder)),
    ]
    _fetch("the Python packages", command, folder, console)


def _fetch_packages(folder: Path, packages: Sequence[str], console: Console) -> None:
    """Have apt fetch packages with all that they need, and write an index of them beside them."""
    (folder / "partial").mkdir(parents=True)
    command = [
        *("apt-get", "-q", "-y", *_FROM_NOTHING, "-o", f"Dir::Cache::archives={folder}"),
        *("--no-install-recommends", "--download-only", "install", *packages),
    ]
    _fetch("the distribution's packages", command, folder, console)
    shutil.rmtree(folder / "partial")
    (folder / "lock").unlink(missing_ok=True)
    (folder / "Packages").write_text("\n".join(map(_describe_deb, sorted(folder.glob("*.deb")))))


def _fetch(what: str, command: Sequence[str], folder: Path, console: Console) -> None:
    """Run a command that fills a folder, and show how far it is; raise `LabError` if it fails."""
    folder.mkdir(exist_ok=True)
    with (
        console.status(f"fetching {what}") as status,
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=said, stderr=said, stdin=subprocess.DEVNULL) as fetching,
    ):
        while True:
            try:
                fetching.wait(POLL_S)
                break
            except subprocess.TimeoutExpired:
                status.update(f"fetching {what}: {format_size(_measure(folder))}")
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if fetching.returncode != 0:
        raise LabError(
            f"{what} could not be fetched: {lines[-1] if lines else 'no reason was given'}",
            "making a bundle needs the network, and package lists that are up to date",
        )
    console.print(f"fetched {what}: {format_size(_measure(folder))}")


def _measure(folder: Path) -> int:
    """Return the size of all files below a folder, some of which may be about to go."""
    sizes = []
    for path in folder.rglob("*"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return sum(sizes)


def _describe_deb(path: Path) -> str:
    """Return a package's paragraph of apt's index (deb822)."""
    told = subprocess.run(["dpkg-deb", "-f", path], capture_output=True, text=True, check=True)
    return (
        f"{told.stdout.strip()}\nFilename: ./{path.name}\n"
        f"Size: {path.stat().st_size}\nSHA256: {_hash(path)}\n"
    )


def _write_manifest(folder: Path, lock: Path) -> None:
    checksum = subprocess.run(["cksum"], input=lock.read_bytes(), capture_output=True, check=True)
    facts = {
        "distribution": read_distribution(),
        "architecture": platform.machine(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "lock": checksum.stdout.decode().strip(),
    }
    (folder / "manifest").write_text("".join(f"{name} {fact}\n" for name, fact in facts.items()))
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sums = "".join(f"{_hash(path)}  {path.relative_to(folder)}\n" for path in paths)
    (folder / "SHA256SUMS").write_text(sums)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _forget_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whoever unpacks it gets files of their own, which apt's user may read."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o755 if member.isdir() else 0o644
    return member


def list_wanted_packages() -> list[str]:
    """Return the distribution's packages that `lab`, which has started us, would install."""
    return os.environ.get("LAB_PACKAGES", "").split()
