"""What a user reads when something can't be done: one line, and exit 2."""

import json
import os
import socket
import subprocess
import sys

import pytest
from test_analysis import make_trace

from lablib.recording import save_trace


def run_lab(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lablib", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trace", "--pid", "4194304"], "no process 4194304"),
        (["trace", "--pid", "-1"], "no process -1"),
        (["trace"], "--pid"),
        (["trace", "--pid", "word"], "word"),
        (["replay", "/nowhere"], "/nowhere"),
        (["nonsense"], "nonsense"),
        (["demo", "--rate", "0"], "rate"),
        (["tracer", "explode"], "explode"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, said):
    ran = run_lab(*arguments)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1
    assert said in ran.stderr


def test_a_port_in_use_is_one_line_and_exit_2():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = run_lab("--port", str(taken.getsockname()[1]))
    assert ran.returncode == 2
    assert "is in use" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_replay_judges_a_saved_leak(tmp_path):
    path = save_trace(make_trace(range(20)), tmp_path / "a")
    ran = run_lab("replay", str(path), "--json")
    assert ran.returncode == 1
    document = json.loads(ran.stdout)
    assert document["verdict"]["kind"] == "leaking"
    assert document["stacks"][0]["frames"][0]["function"] == "grow"


def test_replay_for_people_has_no_colour_codes_in_a_pipe(tmp_path):
    path = save_trace(make_trace([3] * 20), tmp_path / "a")
    ran = run_lab("replay", str(path))
    assert ran.returncode == 0
    assert "\x1b" not in ran.stdout
    assert "Not a leak" in ran.stdout


def test_help_lists_every_verb():
    ran = run_lab("help")
    assert ran.returncode == 0
    for verb in ("demo", "doctor", "trace", "replay", "tracer", "clean", "test"):
        assert f"\n  {verb} " in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--lang", "klingon", "version"], {}), (["version"], {"LAB_LANG": "klingon"})],
)
def test_a_language_that_there_is_not_is_one_line_and_exit_2(arguments, environment):
    ran = run_lab(*arguments, **environment)
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert "klingon" in ran.stderr
    assert "zh" in ran.stderr


def test_the_language_speaks_in_a_verdict(tmp_path):
    path = save_trace(make_trace([3] * 20), tmp_path / "a")
    for arguments, environment in ((["--lang", "zh"], {}), ([], {"LAB_LANG": "zh_CN"})):
        ran = run_lab(*arguments, "replay", str(path), "--json", **environment)
        assert json.loads(ran.stdout)["verdict"]["sentence"].startswith("不是泄漏")
    ran = run_lab("--lang", "en", "replay", str(path), "--json", LAB_LANG="zh")
    assert json.loads(ran.stdout)["verdict"]["sentence"].startswith("Not a leak")
