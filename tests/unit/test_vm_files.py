"""The virtual machine's files: what they say to each other, and what can be run of them here."""

import http.server
import os
import re
import runpy
import shlex
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lablib.tracing import control, protocol

ROOT = Path(__file__).parents[2]
SCRIPTS = [*(ROOT / "vm").glob("*.sh"), *(ROOT / "tests" / "vm").glob("*.sh")]
VAGRANTFILE = (ROOT / "Vagrantfile").read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_shell_that_can_be_run(script):
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)


def test_the_vagrantfile_runs_scripts_that_are_there():
    named = re.findall(r'path: "([^"]+)"', VAGRANTFILE)
    assert named
    assert all((ROOT / path).is_file() for path in named)


def test_the_vagrantfile_explains_each_variable_that_it_reads():
    code = re.sub(r"^#.*$", "", VAGRANTFILE, flags=re.MULTILINE)
    explained = re.findall(r"^# (LAB_VM_\w+) ", VAGRANTFILE, re.MULTILINE)
    assert set(re.findall(r"LAB_VM_\w+", code)) == set(explained)
    for variable in explained:
        assert variable in (ROOT / "README.md").read_text()


def test_what_is_made_on_one_side_is_not_copied_to_the_other():
    made = set(re.search(r"MADE_HERE = %w\[(.*)\]", VAGRANTFILE)[1].split())
    provision = (ROOT / "vm" / "provision.sh").read_text()
    assert set(re.findall(r"--exclude=(\S+)", provision)) == made
    ignored = (ROOT / ".gitignore").read_text().split()
    assert made - {".git"} <= {line.rstrip("/") for line in ignored}


def test_jupyterlab_listens_where_the_vagrantfile_forwards_to():
    (port,) = re.findall(r"guest: (\d+)", VAGRANTFILE)
    assert f"--port {port}" in (ROOT / "vm" / "provision.sh").read_text()
    assert f"127.0.0.1:{port}" in (ROOT / "vm" / "address").read_text()
    assert 'host_ip: "127.0.0.1"' in VAGRANTFILE


def test_the_tracers_unit_runs_what_starting_it_by_hand_runs(monkeypatch):
    monkeypatch.delenv("LAB_TRACER_SOCKET", raising=False)
    unit = control.describe_unit()
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1]
    words = shlex.split(command)
    assert words[:3] == [control.SYSTEM_PYTHON, "-I", "-B"]
    assert words[-4:] == ["--socket", f"{protocol.RUN_DIR}/tracer.sock", *words[-2:]]
    assert words[-2:] == ["--owner-uid", str(os.getuid())]
    assert f"RuntimeDirectory={protocol.RUN_DIR.name}\n" in unit


def test_a_path_in_the_tracers_unit_stands_for_itself(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_TRACER_SOCKET", f'{tmp_path}/100% "$HOME" \\n/tracer.sock')
    command = re.search(r"^ExecStart=(.*)$", control.describe_unit(), re.MULTILINE)[1]
    assert r'/100%% \"$$HOME\" \\n/tracer.sock"' in command


def test_the_tracers_unit_waits_for_its_socket_and_no_longer_than_its_process_lives(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("LAB_TRACER_SOCKET", f"{tmp_path}/tracer.sock")
    line = re.search(r"^ExecStartPost=(.*) \$MAINPID$", control.describe_unit(), re.MULTILINE)[1]
    words = [word.replace("$$", "$") for word in shlex.split(line)]
    with subprocess.Popen(["sleep", "60"]) as service:
        waiting = subprocess.Popen([*words, str(service.pid)])
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{tmp_path}/tracer.sock")
            assert waiting.wait(60) == 0
        (tmp_path / "tracer.sock").unlink()
        service.kill()
    assert subprocess.run([*words, str(service.pid)], timeout=60).returncode == 1


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Runs the script that prints the address, with paths of this test and the guest's port."""
    settings = tmp_path / "settings.json"
    settings.write_text('{"IdentityProvider": {"token": "abc"}}')
    functions = runpy.run_path(str(ROOT / "vm" / "address"))
    globals_of_main = functions["main"].__globals__
    globals_of_main.update(SETTINGS=settings, REMEMBERED=tmp_path / "port", WAIT_S=0.0)

    def run(port, *words):
        globals_of_main["GUEST_URL"] = f"http://127.0.0.1:{port}"
        monkeypatch.setattr(sys, "argv", ["lab-address", *words])
        functions["main"]()

    return run


@pytest.fixture
def jupyterlab():
    """Answers like JupyterLab to who has the token; its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path.endswith("?token=abc") else 403)
            self.end_headers()

        def log_message(self, *words):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_address_has_the_hosts_port_and_the_token_and_is_remembered(
    address, jupyterlab, capsys
):
    address(jupyterlab, "--port", "9999")
    first = capsys.readouterr().out
    assert "http://127.0.0.1:9999/lab?token=abc" in first
    address(jupyterlab)
    assert capsys.readouterr().out == first


def test_no_address_is_printed_where_jupyterlab_does_not_answer(address, capsys):
    with socket.socket() as silent:  # bound, and not listening: nobody else gets the port
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(SystemExit, match="does not answer"):
            address(silent.getsockname()[1], "--port", "9999")
    assert capsys.readouterr().out == ""
