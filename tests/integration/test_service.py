"""The service decides who may trace whom, and outlives whatever its clients do."""

import contextlib
import os
import pwd
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from waiting import wait_until

from lablib.apps import LocalApp, build_app
from lablib.errors import TargetError, TracerError
from lablib.symbols import ProcessSymbols
from lablib.tracing import client, control, protocol
from lablib.tracing.client import Tracer

pytestmark = pytest.mark.usefixtures("tracer_service")

NOBODY = pwd.getpwnam("nobody").pw_uid
needs_root = pytest.mark.usefixtures("root")


@pytest.fixture
def app():
    with LocalApp(build_app("alloc_free"), rate=1000) as running:
        yield running


def ask_as_nobody(pid):
    """Ask the service, as user nobody, to trace a process; return what it answers."""
    script = (
        "import os, socket, sys; sys.path.insert(0, sys.argv[1])\n"
        "from lablib.tracing import protocol\n"
        "connection = socket.socket(socket.AF_UNIX); connection.connect(sys.argv[2])\n"
        "protocol.send(connection, {'operation': sys.argv[3], 'pid': int(sys.argv[4])})\n"
        "print(protocol.receive(connection, 1 << 20, 1 << 20))\n"
    )
    root = str(Path(protocol.__file__).parents[2])

    def ask(operation):
        words = [root, str(protocol.socket_path()), operation, str(pid)]
        return subprocess.run(
            ["/usr/bin/python3", "-I", "-B", "-c", script, *words],
            user=NOBODY,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout

    return ask


@needs_root
@pytest.mark.parametrize("operation", ["trace_heap", "trace_memory"])
def test_another_users_process_is_refused(app, operation):
    answer = ask_as_nobody(app.pid)(operation)
    assert "TargetError" in answer
    assert f"process {app.pid} is not yours" in answer


@needs_root
def test_a_user_may_trace_a_process_of_their_own():
    sleeper = subprocess.Popen(["sleep", "60"], user=NOBODY)
    try:
        assert "allocator" in ask_as_nobody(sleeper.pid)("trace_heap")
        assert "stack_start" in ask_as_nobody(sleeper.pid)("trace_memory")
    finally:
        sleeper.kill()
        sleeper.wait()


@needs_root
def test_neither_the_service_nor_a_session_has_the_compiler_in_its_memory(app):
    service = psutil.Process(client.read_status()["pid"])
    mapped = []
    with contextlib.closing(ProcessSymbols(app.pid)) as symbols, Tracer(app.pid, symbols) as tracer:
        tracer.snapshot()
        for process in (service, *service.children()):
            with contextlib.suppress(psutil.NoSuchProcess):  # the session of an earlier test
                mapped.append({Path(file.path).name for file in process.memory_maps()})
    alive = [names for names in mapped if any(name.startswith("libc.so") for name in names)]
    assert len(alive) >= 2
    for names in alive:
        assert not [name for name in names if name.startswith(("libbcc", "libLLVM", "libclang"))]


@needs_root
def test_only_root_and_the_owner_may_stop_it_or_run_memleak(app):
    ask = ask_as_nobody(app.pid)
    assert "may stop the tracer service" in ask("stop_service")
    assert "may run memleak" in ask("run_memleak")
    assert client.read_status()["fingerprint"] == protocol.service_fingerprint()


def test_a_process_that_is_gone_is_a_sentence():
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(TargetError, match=f"no process {ended.pid}"):
        Tracer(ended.pid, ProcessSymbols(ended.pid))


@pytest.mark.parametrize("pid", [0, -1, 1 << 40, None, "1", 1.5, True])
def test_a_pid_that_is_none_is_refused(pid):
    with (
        contextlib.closing(client.connect()) as connection,
        pytest.raises((TracerError, TargetError)),
    ):
        client.ask(connection, operation="trace_heap", pid=pid)


def test_what_it_refuses_is_said_in_its_clients_language(monkeypatch):
    monkeypatch.setenv("LAB_LANG", "zh")
    with (
        contextlib.closing(client.connect()) as connection,
        pytest.raises(TracerError) as refused,
    ):
        client.ask(connection, operation="trace_heap", pid=0)
    assert str(refused.value) == "请求里没有有效的进程号"
    assert refused.value.message == "the request names no valid process id"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff" * 64,
        struct.pack("!II", 10, 0) + b"not json!!",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_garbage_leaves_the_service_well(data):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(protocol.socket_path()))
        connection.sendall(data)
    assert client.read_status()["pid"] > 0


def test_another_version_is_refused_with_the_command_that_mends_it(monkeypatch):
    monkeypatch.setattr(protocol, "service_fingerprint", lambda: "0" * 12)
    with pytest.raises(TracerError, match=r"another version.*lab tracer stop"):
        client.connect()
    with pytest.raises(TracerError, match="another version"):
        control.start_service()


def ends_every_session():
    """Whether the service comes down to no process but itself within 20 seconds."""
    service = psutil.Process(client.read_status()["pid"])
    deadline = time.monotonic() + 20
    while service.children() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not service.children()


def test_a_client_that_dies_takes_its_session_with_it(app):
    script = (
        "import sys, time; from lablib.tracing.client import Tracer\n"
        "from lablib.symbols import ProcessSymbols; pid = int(sys.argv[1])\n"
        "Tracer(pid, ProcessSymbols(pid)); print('attached', flush=True); time.sleep(60)\n"
    )
    dying = subprocess.Popen(
        [sys.executable, "-c", script, str(app.pid)], stdout=subprocess.PIPE, text=True
    )
    assert dying.stdout.readline() == "attached\n"
    dying.kill()
    dying.wait()
    dying.stdout.close()
    assert ends_every_session()
    assert psutil.Process(app.pid).is_running()


def test_a_killed_target_leaves_its_last_snapshot(app):
    symbols = ProcessSymbols(app.pid)
    with contextlib.closing(symbols), Tracer(app.pid, symbols) as tracer:
        app.release()
        wait_until(lambda: tracer.snapshot().events.allocations > 100)
        os.kill(app.pid, signal.SIGKILL)
        app.wait(5)
        last = tracer.stop()
    assert not last.is_running
    assert last.events.allocations > 100
    assert last.events.missed == 0
    assert ends_every_session()


def test_two_sessions_on_one_process_agree(app):
    symbols = ProcessSymbols(app.pid)
    with (
        contextlib.closing(symbols),
        Tracer(app.pid, symbols) as first,
        Tracer(app.pid, symbols) as second,
    ):
        app.release()
        wait_until(lambda: first.snapshot().events.allocations > 100)
        os.kill(app.pid, signal.SIGKILL)
        app.wait(5)
        assert first.stop().events == second.stop().events


PRIVILEGED = """
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	getchar();
	if (argc > 1)
		execv(argv[1], argv + 1);
	for (int i = 0; i < 200; i++, usleep(20000))
		if (!malloc(12345))
			return 1;
	return 0;
}
"""


@pytest.fixture
def programs(tmp_path):
    """One program three times: plain, setuid root and setgid; where nobody may run them."""
    for folder in [tmp_path, *tmp_path.parents[:3]]:
        if folder != Path("/tmp"):
            folder.chmod(0o755)
    (tmp_path / "p.c").write_text(PRIVILEGED)
    subprocess.run(["gcc", "-o", tmp_path / "plain", tmp_path / "p.c"], check=True)
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2755)):
        (tmp_path / name).write_bytes((tmp_path / "plain").read_bytes())
        (tmp_path / name).chmod(mode)
    return tmp_path


def start_as_nobody(*command):
    """Start one that waits for a line, and return when it has its libraries."""
    process = subprocess.Popen(
        command, user=NOBODY, group=NOBODY, extra_groups=[], stdin=subprocess.PIPE
    )
    wait_until(lambda: "libc.so" in Path(f"/proc/{process.pid}/maps").read_text())
    return process


@needs_root
def test_a_program_with_more_rights_than_its_caller_is_refused(programs):
    for name in ("setuid", "setgid"):
        process = start_as_nobody(programs / name)
        try:
            for operation in ("trace_heap", "trace_memory"):
                assert "TargetError" in ask_as_nobody(process.pid)(operation), name
        finally:
            process.kill()
            process.communicate()


@needs_root
def test_becoming_a_setuid_program_ends_the_counting(programs):
    process = start_as_nobody(programs / "plain", programs / "setuid")
    try:
        with Tracer(process.pid, ProcessSymbols(process.pid)) as tracer:
            process.stdin.write(b"\n\n")
            process.stdin.flush()
            wait_until(lambda: not tracer.snapshot().is_running)
            last = tracer.stop()
    finally:
        process.kill()
        process.communicate()
    assert not last.is_running
    assert all(stack.live_bytes % 12345 for stack in last.stacks)


def test_a_second_service_on_the_same_socket_leaves_the_first_alone():
    before = client.read_status()["pid"]
    command = [control.SYSTEM_PYTHON, "-I", "-B", "-c", control._BOOTSTRAP, control._CHECKOUT]
    options = ["--socket", protocol.socket_path(), "--owner-uid", str(os.getuid())]
    second = subprocess.run([*command, *options], capture_output=True, timeout=30)
    assert second.returncode == 0
    assert client.read_status()["pid"] == before
