"""Where the test's virtual machine lives: a network, a libvirt and a Vagrant of its own.

All of it is in one folder and below one process, so that nothing is left when that process ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from lablib.privilege import root_prefix

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "memory-leak-lab"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
HOST_PORT = 8899
TEST_MACHINE = {"LAB_VM_MEMORY": "3072", "LAB_VM_CPUS": "2", "LAB_VM_PORT": str(HOST_PORT)}
BOX = "plain"
GENTLY = ("nice", "-n", "19", "ionice", "-c3")
ROOM_TIMEOUT_S = 60.0

Say = Callable[[str], None]


class Room:
    """The inside of a room: runs commands there, as root."""

    def __init__(self, folder: Path, holder: int, certificates: Path, say: Say) -> None:
        """`holder` is the process whose namespaces are the room's."""
        self._say = say
        self._enter = [
            *root_prefix("a virtual machine"),
            *("nsenter", f"--target={holder}", "--mount", "--pid", "--net", "env"),
            *(f"HOME={folder}", f"VAGRANT_HOME={folder}/vagrant", f"VAGRANT_CWD={CHECKOUT}"),
            *(f"VAGRANT_DOTFILE_PATH={folder}/dot", "VAGRANT_CHECKPOINT_DISABLE=1"),
            *("VAGRANT_DEFAULT_PROVIDER=libvirt", f"LAB_VM_BOX={BOX}"),
            *(f"{name}={value}" for name, value in TEST_MACHINE.items()),
            *([f"LAB_VM_CA_FILE={certificates}"] if certificates.stat().st_size else []),
            *GENTLY,
        ]

    def run(self, *words: str | Path) -> str:
        """Return what a command says, on both streams; its lines are shown as they come."""
        command = [*self._enter, *map(str, words)]
        lines = []
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:  # a line of progress ends in a carriage return
                if "Progress:" not in line:
                    lines.append(line)
                    self._say(line.rstrip())
        said = "".join(lines)
        assert process.returncode == 0, f"{' '.join(map(str, words))}:\n{said}"
        return said

    def read(self, *words: str | Path) -> str:
        """Return the standard output of a command, which may fail; shows nothing."""
        command = [*self._enter, *map(str, words)]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


@contextlib.contextmanager
def open_room(say: Say) -> Iterator[Room]:
    """Make a room, and remove all that was made in it, also after a failure."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="vm-", dir=CACHE))
    folder.chmod(0o755)
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    say("making a network and a libvirt of the test's own")
    process = subprocess.Popen(
        [*root_prefix("a virtual machine"), *words, HERE / "room.sh", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the room can't be made; see above"
        certificates = folder / "certificates.pem"
        certificates.write_text("".join(path.read_text() for path in CERTIFICATES.glob("*.crt")))
        yield Room(folder, _find_holder(process.pid), certificates, say)
    finally:
        assert process.stdin is not None
        process.stdin.close()  # its first process ends, and the kernel ends all others
        process.wait(ROOM_TIMEOUT_S)
        _remove(folder)


def _find_holder(pid: int) -> int:
    (holder,) = (
        child.pid
        for child in psutil.Process(pid).children(recursive=True)
        if child.cmdline() == ["sleep", "infinity"]
    )
    return holder


def build_box(say: Say) -> Path:
    """Return a Vagrant box with this Debian's stock kernel; made anew when its recipe changes."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.M))
    assert release["ID"] == "debian", "the test's box is made of Debian's packages: run it there"
    suite = release["VERSION_CODENAME"]
    mirror = _find_mirror(suite)
    recipe = (HERE / "build_box.sh").read_bytes() + f"{suite} {mirror}".encode()
    folder = CACHE / f"box-{hashlib.sha256(recipe).hexdigest()[:12]}"
    box = folder / "plain.box"
    if not box.exists():
        _remove(*CACHE.glob("box-*"))
        folder.mkdir(parents=True)
        words = [*root_prefix("building a box"), *GENTLY, HERE / "build_box.sh"]
        with subprocess.Popen(
            [*words, suite, mirror, _find_public_key(), folder],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                say(line.rstrip())
        assert process.returncode == 0, f"the box could not be built; see {folder}"
    return box


def _find_mirror(suite: str) -> str:
    """Where this machine's apt has the distribution's packages from."""
    chosen = (f"Codename: {suite}", "Origin: Debian", "Component: main", "Created-By: Packages")
    listed = subprocess.check_output(
        ["apt-get", "indextargets", "--format", "$(SITE)", *chosen], text=True
    )
    return listed.split()[0]


def _remove(*folders: Path) -> None:
    """What root has written too."""
    words = [*root_prefix("removing the machine"), "rm", "-rf", "--one-file-system"]
    subprocess.run([*words, *folders], check=True)


def _find_public_key() -> Path:
    """The key that Vagrant offers to a new machine."""
    listed = subprocess.check_output(["dpkg", "-L", "vagrant"], text=True).splitlines()
    (key,) = (Path(line) for line in listed if line.endswith("/keys/vagrant.pub"))
    return key


def make_say(write: Callable[[str], None]) -> Say:
    """Return what shows a line of progress, with the minutes since now before it."""
    start_s = time.monotonic()

    def say(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - start_s), 60)
        write(f"{minutes:3d}:{seconds:02d}  {line}\n")

    return say
