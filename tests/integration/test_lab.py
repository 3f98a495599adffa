"""The command itself: sets up, says why it can't, opens the workbook, examines the machine."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from census import read_groups
from parallel import MACHINE

import lablib
from lablib.tracing import client

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.usefixtures("root")


@pytest.fixture
def bare_checkout(tmp_path):
    """What ./lab needs to set up, in a folder with a space in its name, and nothing set up."""
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    for name in ("lab", "requirements.lock"):
        shutil.copy(ROOT / name, checkout)
    return checkout


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_it_runs_from_anywhere_and_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(ROOT / "lab")
    ran = run(tmp_path / "link", "--no-system", "version", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, f"{lablib.__version__}\n")


def test_a_second_start_installs_nothing():
    before = (ROOT / ".lab" / "ready").stat().st_mtime_ns
    assert run(ROOT / "lab", "--no-system", "version").stderr == ""
    assert (ROOT / ".lab" / "ready").stat().st_mtime_ns == before


def test_the_language_is_split_off_wherever_it_stands():
    for words in (["--lang", "tlh", "version"], ["version", "--lang=tlh"]):
        ran = run(ROOT / "lab", "--no-system", *words)
        assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
        assert "tlh" in ran.stderr
    ran = run(ROOT / "lab", "--no-system", "--lang", "zh", "version")
    assert (ran.returncode, ran.stdout) == (0, f"{lablib.__version__}\n")
    assert "--lang needs" in run(ROOT / "lab", "version", "--lang").stderr


def test_help_sets_nothing_up(bare_checkout):
    ran = run(bare_checkout / "lab", "help")
    assert ran.returncode == 0
    assert "./lab demo" in ran.stdout
    assert not (bare_checkout / ".venv").exists()


@needs_root
def test_without_a_network_the_set_up_says_so(bare_checkout):
    ran = run("unshare", "--net", bare_checkout / "lab", "--no-system", "version")
    assert ran.returncode == 2
    assert "the network can not be reached" in ran.stderr.splitlines()[-1]
    assert not (bare_checkout / ".lab" / "ready").exists()


@needs_root
def test_on_a_full_disk_the_set_up_says_so(bare_checkout):
    script = (
        'mount -t tmpfs -o size=4m tmpfs "$2" && cp "$1"/* "$2" 2>/dev/null; '
        '"$2/lab" --no-system version'
    )
    disk = bare_checkout / "disk"
    disk.mkdir()
    ran = run("unshare", "--mount", "sh", "-c", script, "sh", bare_checkout, disk)
    assert ran.returncode == 2
    assert "the disk is full" in ran.stderr.splitlines()[-1]


@pytest.mark.usefixtures("tracer_service")
@pytest.mark.xdist_group(MACHINE)
def test_the_doctor_tries_everything_and_leaves_nothing():
    ran = run(sys.executable, "-m", "lablib", "doctor", "--json")
    service = client.read_status()["pid"]
    found = {row["name"]: row for row in json.loads(ran.stdout)}
    assert {"compiler", "vmstat", "ebpf", "page faults", "memleak", "docker"} <= set(found)
    assert {"cgroup", "swap"} <= set(found)
    assert all(row["reason"] for row in found.values())
    assert found["ebpf"]["works"]
    assert found["page faults"]["works"]
    assert all(row["fix"] for row in found.values() if not row["works"])
    assert ran.returncode == (0 if all(row["works"] for row in found.values()) else 1)
    assert read_groups(service) == []


def test_the_workbook_opens_with_its_token_only_and_ends_on_sigterm():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workbook = subprocess.Popen(
        [sys.executable, "-m", "lablib", "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        address = next(
            match[0] for line in workbook.stdout if (match := re.search(r"http://\S+", line))
        )
        assert "/lab/tree/notebooks?token=" in address
        assert urllib.request.urlopen(address, timeout=30).status == 200
        contents = f"http://localhost:{port}/api/contents"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(contents, timeout=30)
        children = psutil.Process(workbook.pid).children(recursive=True)
    finally:
        workbook.send_signal(signal.SIGTERM)
        workbook.wait(30)
        workbook.stdout.close()
    assert psutil.wait_procs(children, timeout=30)[1] == []


WITHOUT_NETWORK = """
import fcntl, re, signal, socket, struct, subprocess, sys, urllib.parse, urllib.request
from bs4 import BeautifulSoup

with socket.socket() as any_socket:  # only the loopback, as SIOCSIFFLAGS sets it: IFF_UP
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))
command = [sys.executable, "-m", "lablib"]
subprocess.run([*command, "trace", "--", "/bin/true"], check=True)
workbook = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
try:
    found = filter(None, (re.search("http://\\S+", line) for line in workbook.stdout))
    address = next(found)[0]
    page = BeautifulSoup(urllib.request.urlopen(address, timeout=60), "html.parser")
    tags = page.find_all(["script", "link", "img"])
    parts = {tag.get("src") or tag.get("href") for tag in tags} - {None}
    for part in parts:
        urllib.request.urlopen(urllib.parse.urljoin(address, part), timeout=60).read()
    print(len(parts), "parts of the page were read")
finally:
    workbook.send_signal(signal.SIGTERM)
    workbook.wait(30)
"""


@needs_root
@pytest.mark.usefixtures("tracer_service")
def test_when_it_is_set_up_it_needs_no_network():
    ran = run("unshare", "--net", sys.executable, "-c", WITHOUT_NETWORK, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert int(re.search(r"^(\d+) parts of the page were read$", ran.stdout, re.MULTILINE)[1]) >= 3
