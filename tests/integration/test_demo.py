"""The main job, from the command line: find the leak, name it, prove the fix, leave nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from descendants import list_own_apps
from parallel import MACHINE
from waiting import wait_until

from lablib.apps import LocalApp, build_app

pytestmark = [pytest.mark.usefixtures("tracer_service"), pytest.mark.xdist_group(MACHINE)]

ROOT = Path(__file__).parents[2]


def start_demo(*options):
    return subprocess.Popen(
        [sys.executable, "-m", "lablib", "demo", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def apps_running():
    """The leaky apps that run now, in a container or not."""
    in_containers = []
    for pid in psutil.pids():  # psutil's own processes remember what they were before exec
        with contextlib.suppress(OSError):
            in_containers += [pid] if os.readlink(f"/proc/{pid}/exe") == "/app" else []
    return [*in_containers, *list_own_apps()]


def check_document(document, runtime, rate):
    assert document["runtime"] == runtime
    leak, fixed = document["leak"], document["fixed"]
    assert leak["source"] == fixed["source"] == "ebpf"
    assert leak["complete"]
    assert fixed["complete"]
    top = leak["stacks"][0]
    frame = top["frames"][0]
    truth = json.loads((ROOT / "leaky_apps" / "fib_leak.json").read_text())["leaks"][0]
    assert (frame["function"], frame["file"], frame["line"]) == (
        truth["function"],
        truth["file"],
        truth["line"],
    )
    assert [f["function"] for f in top["frames"][:2]] == ["fibonacci", "child"]
    assert top["growth_bytes_per_s"] == pytest.approx(rate * 8192, rel=0.1)
    assert leak["verdict"]["kind"] == "leaking"
    assert fixed["verdict"]["kind"] in ("clean", "churn", "plateau")
    fix = document["fix"]
    assert fix["kind"] == "fixed"
    assert "kept 8,192 bytes a term; fib_fixed keeps 0." in fix["sentence"]
    assert fix["comparison"]["stacks"][0]["after"]["kept_bytes"] == 0
    stripped = document["memleak"]["stripped"]
    assert any("fibonacci" in frame for frame in document["memleak"]["stacks"][0]["frames"])
    assert "[unknown]" in stripped["bare"]["stacks"][0]["frames"][0]
    assert "fibonacci" in stripped["copied_binary"]["stacks"][0]["frames"][0]
    assert "fibonacci" in stripped["debug_file"]["stacks"][0]["frames"][0]
    assert stripped["lablib"]["stacks"][0]["frames"][0]["function"] == "fibonacci"
    rss = [sample["rss_bytes"] for sample in document["vmstat"]]
    assert len(rss) >= 4
    assert rss[-1] - rss[0] > 0.5 * rate * 8192 * (len(rss) - 2)
    assert all(Path(path).stat().st_size > 500 for path in document["artefacts"])
    assert sum(path.endswith(".png") for path in document["artefacts"]) == 2


@pytest.mark.usefixtures("docker_runtime")
def test_the_case_study_in_docker():
    demo = start_demo("--docker", "--json", "--seconds", "5")
    output, errors = demo.communicate(timeout=180)
    assert demo.returncode == 0, errors
    check_document(json.loads(output), "docker", 100)
    assert apps_running() == []


def test_the_case_study_locally_and_a_second_one_meanwhile():
    first = start_demo("--local", "--json", "--seconds", "5", "--rate", "50")
    wait_until(apps_running)
    second = start_demo("--local")
    said, told = second.communicate(timeout=60)
    output, errors = first.communicate(timeout=180)
    assert second.returncode == 2
    assert "another demo of yours is running" in told
    assert len(told.splitlines()) == 1, said
    assert first.returncode == 0, errors
    check_document(json.loads(output), "local", 50)
    assert apps_running() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_running(number):
    demo = start_demo("--local")
    wait_until(lambda: apps_running() or demo.poll() is not None)
    assert demo.poll() is None, demo.communicate()
    time.sleep(1)  # whatever it is doing then
    os.kill(demo.pid, number)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 128 + number
    assert "Traceback" not in errors
    assert apps_running() == []


def test_without_a_compiler_it_says_what_to_install():
    demo = subprocess.run(
        [sys.executable, "-m", "lablib", "demo", "--local", "--json"],
        cwd=ROOT,
        env={**os.environ, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert demo.returncode == 2
    assert demo.stdout == ""
    assert "sudo apt-get install gcc" in demo.stderr.splitlines()[-1]


def test_a_stripped_program_is_traced_and_says_what_is_missing():
    with LocalApp(build_app("fib_leak", stripped=True), rate=100) as app:
        app.release()
        ran = subprocess.run(
            [sys.executable, "-m", "lablib", "trace", "--pid", str(app.pid), "--seconds", "3"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ran.returncode == 1
    assert "leaks" in ran.stdout
    assert ran.stderr.count("\n") == 1
    assert "fib_leak has no line numbers; build it with -g" in ran.stderr
