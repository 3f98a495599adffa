"""The lab in a virtual machine: `vagrant up` on a plain box, emulated; only with `./lab test --vm`.

Under emulation, so that it runs where no hardware help is to be had, and on a stock kernel. The
whole takes about half an hour, nearly all of it in the first test's `vagrant up`.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from room import CHECKOUT, HOST_PORT, Room, build_box, make_say, open_room

TOOLS = ("vagrant", "debootstrap", "libvirtd", "virtlogd", "qemu-img", "slirp4netns", "sfdisk")
FETCH = """
import sys, urllib.error, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=300) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""
CELL_TIMEOUT_S = 900
DOCTOR_RUN = CHECKOUT / "docs" / "machines" / "debian-12-vm.json"
"""What docs/what-works-where.md says of this machine: a run of the doctor that was kept."""


@dataclass(frozen=True)
class Machine:
    """A machine that `vagrant up` has made, what that has said, and what its doctor found."""

    room: Room
    said: str
    doctor: list[dict[str, Any]]

    def run(self, command: str) -> str:
        """What a command says in the machine, run by its ordinary user in the checkout."""
        return self.room.run("vagrant", "ssh", "-c", f"cd memory-leak-lab && {command}")

    @property
    def token(self) -> str:
        return re.findall(rf"http://127\.0\.0\.1:{HOST_PORT}/\S*token=(\w+)", self.said)[-1]

    def fetch(self, path: str) -> str:
        """The status and the body that JupyterLab answers with on the forwarded port."""
        url = f"http://127.0.0.1:{HOST_PORT}{path}"
        return self.room.read("/usr/bin/python3", "-c", FETCH, url)


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"not installed: {missing}; ./lab test --vm installs them"
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(text, end="", flush=True)

    say = make_say(write)
    write("\n")
    box = build_box(say)
    with open_room(say) as room:
        room.run("vagrant", "validate")
        room.run("vagrant", "box", "add", "--name", "plain", box)
        said = room.run("vagrant", "up")
        doctor = "cd memory-leak-lab && ./lab --no-system doctor --json 2>/dev/null; true"
        yield Machine(room, said, json.loads(room.run("vagrant", "ssh", "-c", doctor)))
        room.run("vagrant", "destroy", "--force")
        assert room.read("virsh", "-q", "-c", "qemu:///system", "list", "--all").strip() == ""


def test_one_up_is_enough_without_a_question_or_a_reboot(machine):
    assert "has BPF and uprobes" in machine.said
    assert "Waiting for machine to reboot" not in machine.said
    assert machine.token


def test_jupyterlab_answers_with_its_token_and_refuses_without(machine):
    assert machine.fetch(f"/api/contents/notebooks?token={machine.token}").startswith("200 ")
    assert machine.fetch("/api/contents/notebooks").startswith("403")
    assert machine.fetch("/api/contents/notebooks?token=wrong").startswith("403")


def test_the_address_can_be_read_again(machine):
    assert f"token={machine.token}" in machine.room.run("vagrant", "ssh", "-c", "lab-address")


def test_the_learner_is_an_ordinary_user_who_may_use_docker_and_the_tracer(machine):
    assert machine.run("id -un && docker ps -q && ./lab --no-system tracer status").split()[0] == (
        "vagrant"
    )
    assert "active" in machine.run("systemctl is-active memory-leak-lab-tracer memory-leak-lab")


def test_the_demo_names_the_leak_on_the_stock_kernel_by_ebpf_and_docker(machine):
    machine.run("./lab --no-system demo --rate 20 --json >/tmp/demo.json")
    demo = json.loads(machine.room.read("vagrant", "ssh", "-c", "cat /tmp/demo.json"))
    assert demo["runtime"] == "docker"
    assert demo["leak"]["source"] == "ebpf"
    assert demo["leak"]["complete"]
    assert demo["leak"]["verdict"]["kind"] == "leaking"
    assert demo["leak"]["stacks"][0]["frames"][0]["function"] == "fibonacci"
    assert demo["fix"]["kind"] == "fixed"


def test_a_notebook_runs_with_the_tracer(machine):
    said = machine.run(
        "cd notebooks && ../.venv/bin/jupyter nbconvert --to notebook --execute --stdout "
        f"--ExecutePreprocessor.timeout={CELL_TIMEOUT_S} 02_promised_and_paid.ipynb"
    )
    assert "the tracer (ebpf):" in said


def test_what_works_is_what_the_docs_say(machine):
    kept = json.loads(DOCTOR_RUN.read_text())
    works = {found["name"]: (found["works"], found["reason"]) for found in machine.doctor}
    assert {name: is_there for name, (is_there, _) in works.items()} == {
        found["name"]: found["works"] for found in kept
    }, works


def test_a_second_provision_changes_nothing(machine):
    said = machine.room.run("vagrant", "provision")
    assert "lab: nothing had to be changed" in said
    assert f"token={machine.token}" in said
