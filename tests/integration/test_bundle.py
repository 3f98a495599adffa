"""A bundle has all that the set-up fetches: with it a checkout is set up without a network."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

import lablib
from lablib.bundle import make_bundle
from lablib.errors import LabError

ROOT = Path(__file__).parents[2]
NEEDED = ("click", "uv")  # to set up, and to say a version

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(scope="module")
def lock(tmp_path_factory):
    """A lock file of the few packages that `./lab version` needs."""
    pinned = (ROOT / "requirements.lock").read_text()
    entries = [re.search(rf"^{name}==(.*\\\n)+.*\n", pinned, re.MULTILINE)[0] for name in NEEDED]
    path = tmp_path_factory.mktemp("lock") / "requirements.lock"
    path.write_text("".join(entries))
    return path


@pytest.fixture(scope="module")
def bundle(lock, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "a bundle.tar"
    made = make_bundle(path, lock, (), Console())
    assert (made.wheels, made.packages) == (len(NEEDED), 0)
    assert made.size_bytes == path.stat().st_size > 1 << 20
    return path


@pytest.fixture
def checkout(lock, tmp_path):
    """A checkout with that lock file, in a folder with a space in its name."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for path in (ROOT / "lab", lock):
        shutil.copy(path, folder)
    (folder / "lablib").symlink_to(ROOT / "lablib")
    return folder


def set_up(checkout, *options):
    """Set up without a network, and have the lab say its version."""
    command = ["unshare", "--net", checkout / "lab", "--no-system", *options, "version"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def change(bundle, folder, name, old, new):
    """Unpack the bundle, and replace something in one of its files."""
    folder.mkdir()
    subprocess.run(["tar", "-xf", bundle, "-C", folder], check=True)
    path = next(folder.glob(name))
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))


def sum_up(folder):
    """Write the hashes of the files as they are now."""
    words = "find manifest wheels -type f -exec sha256sum {} + > SHA256SUMS"
    subprocess.run(["sh", "-c", words], cwd=folder, check=True)


def pack(folder):
    path = folder.with_suffix(".tar")
    subprocess.run(["tar", "-cf", path, "-C", folder, "."], check=True)
    return path


def test_it_sets_up_without_a_network_and_the_next_start_needs_neither(bundle, checkout):
    ran = set_up(checkout, "--bundle", bundle)
    assert (ran.returncode, ran.stdout) == (0, f"{lablib.__version__}\n"), ran.stderr
    assert not (checkout / ".lab" / "bundle").exists()
    again = set_up(checkout)
    assert (again.returncode, again.stdout, again.stderr) == (0, f"{lablib.__version__}\n", "")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("manifest", b"python 3", b"python 2", "is for Python 2."),
        ("manifest", b"architecture ", b"architecture not-", "is for not-"),
        ("manifest", b"lock ", b"lock 1", "is for another version of the lab"),
    ],
)
def test_for_another_machine_it_is_refused_in_a_sentence(
    bundle, checkout, tmp_path, name, old, new, said
):
    change(bundle, tmp_path / "changed", name, old, new)
    sum_up(tmp_path / "changed")
    ran = set_up(checkout, "--bundle", pack(tmp_path / "changed"))
    assert ran.returncode == 2
    assert said in ran.stderr.splitlines()[-1]
    assert "make one on a machine like this with: ./lab bundle" in ran.stderr.splitlines()[-1]
    assert not (checkout / ".lab" / "ready").exists()
    assert not (checkout / ".lab" / "bundle").exists()


def test_for_another_distribution_it_is_refused_before_anything_is_installed(
    bundle, checkout, tmp_path
):
    change(bundle, tmp_path / "changed", "manifest", b"distribution ", b"distribution not-")
    sum_up(tmp_path / "changed")
    command = [checkout / "lab", f"--bundle={pack(tmp_path / 'changed')}", "version"]
    ran = subprocess.run(["unshare", "--net", *command], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert re.search(r"is for not-\w+ .*, and this machine has \w+", ran.stderr.splitlines()[-1])
    assert "going to install" not in ran.stderr


def test_a_damaged_one_is_refused(bundle, checkout, tmp_path):
    change(bundle, tmp_path / "changed", "wheels/click*", b"PK", b"KP")
    ran = set_up(checkout, "--bundle", pack(tmp_path / "changed"))
    assert ran.returncode == 2
    assert "damaged or incomplete" in ran.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "words", [["--bundle"], ["--bundle", "/nowhere"], ["--bundle", "/etc/hosts"]]
)
def test_a_file_that_is_none_is_a_sentence(checkout, words):
    ran = subprocess.run([checkout / "lab", *words], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert re.search("./lab bundle|no bundle of the lab", ran.stderr.splitlines()[-1])


def test_what_can_not_be_fetched_leaves_no_file(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"click==0.0.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(LabError, match="the Python packages could not be fetched"):
        make_bundle(tmp_path / "bundle.tar", lock, (), Console())
    assert list(tmp_path.iterdir()) == [lock]
