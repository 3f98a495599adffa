"""The study in a real container, looked at with Docker's own command line as well."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from docker.errors import NotFound
from parallel import MACHINE

from lablib import containers, study
from lablib.apps import DEBUG_DIR, build_app
from lablib.containers import ContainerApp, copy_from_image, find_container_pid
from lablib.errors import DockerError
from lablib.release import MEMORY_CAP_BYTES

pytestmark = [pytest.mark.usefixtures("tracer_service"), pytest.mark.xdist_group(MACHINE)]


@pytest.fixture
def docker(docker_runtime):
    """Run Docker's own command against the engine that the lab uses; returns what it prints."""

    def run(*words):
        environment = {**os.environ, "DOCKER_HOST": docker_runtime.engine.host}
        return subprocess.run(
            ["docker", *words], env=environment, capture_output=True, check=True, timeout=60
        ).stdout

    return run


def test_logs_exec_and_cp_work_and_the_cap_includes_swap(docker_runtime, docker, tmp_path):
    with study.start_app(docker_runtime, "fib_leak", rate=100, name="lab-test") as app:
        observation = study.observe(app, seconds=3)
        assert docker("logs", "lab-test").decode().splitlines()[:3] == [
            "2th => 1",
            "3th => 2",
            "4th => 3",
        ]
        assert docker("exec", "lab-test", "cat", "/app.c") == app.app.source.read_bytes()
        docker("cp", "lab-test:/app", str(tmp_path / "app"))
        assert (tmp_path / "app").read_bytes() == app.app.executable.read_bytes()
        host = json.loads(docker("inspect", "lab-test"))[0]["HostConfig"]
        assert (host["Memory"], host["MemorySwap"]) == (MEMORY_CAP_BYTES, MEMORY_CAP_BYTES)
        assert owner_of(app.pid) == os.getuid()
    top = observation.verdict.stacks[0]
    truth = app.app.truth["leaks"][0]
    frame = top.usage.frames[0]
    assert (frame.function, frame.file, frame.line) == (
        truth["function"],
        truth["file"],
        truth["line"],
    )
    assert top.kind == "leaking"
    assert top.growth_bytes_per_s == pytest.approx(100 * 8192, rel=0.1)
    assert top.usage.live_bytes == top.usage.live_blocks * 8192
    scan = observation.trace.scans[-1]
    assert scan.limits == ()
    (reach,) = (stack for stack in scan.stacks if stack.frames == top.usage.frames)
    assert reach.reached_blocks <= 1 + 0.3 * 100  # the newest count as reached
    assert reach.lost_bytes == reach.lost_blocks * 8192 > 0


def test_what_outgrows_its_container_is_killed_and_docker_allows_as_much_swap_again(docker_runtime):
    ended = study.outgrow_container("fib_leak", rate=8000, memory_mib=16, name="lab-test-outgrown")
    assert ended.memory_bytes == 16 << 20
    assert ended.memory_and_swap_bytes == 32 << 20
    assert ended.is_oom_killed
    assert ended.exit_code == 137
    assert "th => " in ended.last_line
    with pytest.raises(DockerError, match="no container called lab-test-outgrown"):
        find_container_pid(docker_runtime.engine, "lab-test-outgrown")


def test_the_line_that_is_shown_makes_the_same_container(docker_runtime, docker):
    with study.start_app(docker_runtime, "fib_leak", rate=7, name="lab-test") as app:
        shown = json.loads(docker("inspect", "lab-test"))[0]
        assert app.run_words[:4] == ("docker", "run", "--detach", "--name=lab-test")
        by_hand = [*app.run_words[1:3], "--name=lab-test-by-hand", *app.run_words[4:]]
        docker(*by_hand)
        try:
            ours = json.loads(docker("inspect", "lab-test-by-hand"))[0]
        finally:
            docker("rm", "--force", "lab-test-by-hand")
    assert shown["Config"]["Labels"].pop("memory-leak-lab-run")  # what its minder finds it by
    for part, names in {
        "HostConfig": (
            *("Memory", "MemorySwap", "NetworkMode", "PidsLimit", "CapDrop", "SecurityOpt"),
            *("CapAdd", "Privileged", "Binds", "PidMode", "IpcMode", "ReadonlyRootfs"),
        ),
        "Config": ("Image", "Cmd", "Entrypoint", "User", "Labels", "Env"),
    }.items():
        assert {n: shown[part][n] for n in names} == {n: ours[part][n] for n in names}


def test_a_paused_app_stands_still_and_is_removed_all_the_same(docker_runtime, docker):
    with study.start_app(docker_runtime, "fib_leak", rate=200, name="lab-test") as app:
        app.release()
        app.pause()
        await_stop(app.pid)
        before = app.read_logs()
        time.sleep(0.1)
        assert app.read_logs() == before
    assert "lab-test" not in docker("ps", "--all").decode()


def await_stop(pid):
    deadline = time.monotonic() + 10
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def owner_of(pid):
    return os.stat(f"/proc/{pid}").st_uid


def test_a_stripped_program_in_a_container_is_resolved_by_build_id(docker_runtime):
    with study.start_app(docker_runtime, "fib_leak", 100, stripped=True, name="lab-test") as app:
        observation = study.observe(app, seconds=2, debug_dirs=(DEBUG_DIR,))
    frame = observation.verdict.stacks[0].usage.frames[0]
    assert (frame.function, frame.file) == ("fibonacci", "fib_leak.c")


def test_a_stripped_program_without_its_debug_file_says_unknown(docker_runtime):
    with study.start_app(docker_runtime, "fib_leak", 100, stripped=True, name="lab-test") as app:
        observation = study.observe(app, seconds=2)
    frame = observation.verdict.stacks[0].usage.frames[0]
    assert (frame.function, frame.line, frame.module) == (None, None, "app")


def test_the_unstripped_program_comes_out_of_its_image(docker_runtime, tmp_path):
    with study.start_app(docker_runtime, "fib_leak", 1, name="lab-test"):
        path = copy_from_image(
            docker_runtime.engine, "memory-leak-lab/fib_leak:latest", "/app", tmp_path
        )
    assert path.read_bytes() == build_app("fib_leak").executable.read_bytes()


def test_a_container_of_somebody_elses_is_left_alone(docker_runtime):
    client = docker_runtime.engine.client
    app = build_app("fib_leak")
    with study.start_app(docker_runtime, "fib_leak", 1, name="lab-test"):
        foreign = client.containers.create("memory-leak-lab/fib_leak:latest", name="lab-foreign",
                                           labels={"memory-leak-lab": "-1"})  # fmt: skip
    try:
        with pytest.raises(DockerError, match="not this lab's"):
            ContainerApp(
                docker_runtime.engine, app, "memory-leak-lab/fib_leak:latest", 1, "lab-foreign"
            )
        assert client.containers.get("lab-foreign").id == foreign.id
    finally:
        foreign.remove(force=True)


def test_clean_passes_over_what_goes_by_itself(docker_runtime, monkeypatch):
    engine = docker_runtime.engine
    client = engine.client
    with study.start_app(docker_runtime, "fib_leak", 1, name="lab-test"):
        going, staying = (
            client.containers.create(
                "memory-leak-lab/fib_leak:latest", name=name, labels={containers.LABEL: "nobody's"}
            )
            for name in ("lab-going", "lab-staying")
        )
    list_all = client.api.containers

    def list_and_lose_one(**how):
        listed = list_all(**how)
        going.remove(force=True)
        return listed

    monkeypatch.setattr(client.api, "containers", list_and_lose_one)
    monkeypatch.setattr(containers, "_owner", lambda: "nobody's")
    try:
        assert containers.remove_leftovers(engine) == ["container lab-staying"]
        with pytest.raises(NotFound):
            client.containers.get(staying.id)
    finally:
        for container in (going, staying):
            with contextlib.suppress(NotFound):
                container.remove(force=True)


def test_nothing_of_a_study_is_left(docker_runtime):
    with study.start_app(docker_runtime, "fib_leak", 1, name="lab-test") as app:
        pid = app.pid
    assert not Path(f"/proc/{pid}").exists()
    containers = docker_runtime.engine.client.containers.list(all=True, ignore_removed=True)
    assert "lab-test" not in {container.name for container in containers}


def test_a_running_container_is_traced_by_its_name(docker_runtime):
    with study.start_app(docker_runtime, "fib_leak", rate=100, name="lab-test") as app:
        app.release()
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "lablib", "trace"),
                *("--container", "lab-test", "--seconds", "3", "--json"),
            ],
            env={**os.environ, "DOCKER_HOST": docker_runtime.engine.host},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ran.returncode == 1, ran.stderr
    document = json.loads(ran.stdout)
    assert document["verdict"]["kind"] == "leaking"
    assert document["stacks"][0]["frames"][0]["function"] == "fibonacci"
    assert document["complete"]
