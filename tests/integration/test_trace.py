"""`./lab trace` from outside: what it prints, writes, and leaves running."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest
from workload import build_workload

pytestmark = pytest.mark.usefixtures("tracer_service")

LAB = [sys.executable, "-m", "lablib", "trace"]


def trace(*words, **kwargs):
    return subprocess.run(
        [*LAB, *map(str, words)], capture_output=True, text=True, timeout=60, **kwargs
    )


def read_document(finished):
    assert finished.returncode in (0, 1), finished.stderr
    return json.loads(finished.stdout)


@pytest.fixture
def startup_leak(tmp_path):
    return build_workload("startup", tmp_path)


def test_a_command_is_traced_from_before_its_main(startup_leak):
    document = read_document(trace("--json", "--", startup_leak))
    assert document["complete"]
    assert (document["exit_code"], document["ended"]) == (0, "exited")
    leaks = [s for s in document["stacks"] if s["frames"][0]["function"] == "leak"]
    assert sum(stack["live_bytes"] for stack in leaks) == 100_000
    assert sum(stack["live_blocks"] for stack in leaks) == 1000


def test_a_commands_arguments_output_and_exit_code_are_its_own(tmp_path):
    odd = ["", "a b", "--json", "-x", "line\nbreak", "ü"]
    script = "import sys; print(sys.argv[1:]); sys.exit(7)"
    finished = trace("--json", "--", "/usr/bin/python3", "-c", script, *odd)
    assert str(odd) in finished.stderr
    assert read_document(finished)["exit_code"] == 7


def test_a_command_that_is_not_there_is_a_sentence():
    finished = trace("--", "/no/such/program")
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "/no/such/program" in finished.stderr


def test_a_command_is_ended_when_its_time_is_over():
    finished = trace("--json", "--seconds", "1", "--", "sleep", "987")
    assert read_document(finished)["exit_code"] is None
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "987"]
    ]


def test_ctrl_c_ends_the_tracing_with_a_verdict():
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        tracing = subprocess.Popen(
            [*LAB, "--json", "--pid", str(sleeper.pid)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert f"process {sleeper.pid}: " in tracing.stderr.readline()  # after five seconds
        tracing.send_signal(signal.SIGINT)
        out, _ = tracing.communicate(timeout=60)
        assert json.loads(out)["target"]["pid"] == sleeper.pid
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_the_flame_graph_and_the_session_are_saved(startup_leak, tmp_path):
    flame, session = tmp_path / "f.svg", tmp_path / "s.json.gz"
    first = read_document(trace("--json", "--flame", flame, "--save", session, "--", startup_leak))
    titles = " ".join(ElementTree.parse(flame).getroot().itertext())
    assert "leak_in_constructor" in titles
    assert "100,000 bytes" in titles
    command = [sys.executable, "-m", "lablib", "replay", "--json", session]
    again = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    assert again["stacks"] == first["stacks"]
    assert again["mappings"] == first["mappings"]


def test_a_flame_graph_that_can_not_be_written_is_a_sentence(startup_leak):
    finished = trace("--flame", "/proc/no.svg", "--", startup_leak)
    assert finished.returncode == 2
    assert "/proc/no.svg could not be written" in finished.stderr


@pytest.fixture
def actor(tmp_path):
    """A program that does one action for each line it reads."""
    process = subprocess.Popen(
        [build_workload("actions", tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    yield process
    process.kill()
    process.communicate()


def test_windows_tell_what_each_action_left_behind(actor):
    tracing = subprocess.Popen(
        [*LAB, "--json", "--window", "--pid", str(actor.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    await_line(tracing.stderr, "Ctrl-D")
    for _ in range(3):
        do_action(actor, tracing)
    out, _ = tracing.communicate()
    document = json.loads(out)
    left = [(window["live_bytes"], window["live_blocks"]) for window in document["windows"]]
    assert left == [(5000 + 40, 2), (40, 1), (40, 1)]
    verdicts = {s["frames"][0]["function"]: s["verdict"] for s in document["stacks"]}
    assert verdicts == {"lose": "leaking", "fill_cache": "plateau"}
    assert document["verdict"]["kind"] == "leaking"
    assert tracing.returncode == 1


def await_line(stream, text):
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"no line with {text!r}")


def do_action(actor, tracing):
    tracing.stdin.write("\n")
    await_line(tracing.stderr, "is open")
    actor.stdin.write("\n")
    assert actor.stdout.readline() == "done\n"
    tracing.stdin.write("\n")
    await_line(tracing.stderr, "left behind")


def test_what_is_freed_after_its_window_is_not_left_behind(actor):
    from lablib.records import TraceOptions
    from lablib.symbols import ProcessSymbols
    from lablib.tracing.client import Tracer

    options = TraceOptions(opens_window=False)
    with Tracer(actor.pid, ProcessSymbols(actor.pid), options) as tracer:
        assert tracer.snapshot().events.allocations == 0
        tracer.open_window()
        actor.stdin.write("keep\n")
        actor.stdout.readline()
        assert tracer.close_window().live_bytes == 5000 + 40 + 999
        actor.stdin.write("free\n")
        actor.stdout.readline()
        last = tracer.stop()
        assert last.live_bytes == 5000 + 40
        assert last.events.allocations == 4
        assert last.events.missed == 0


def test_children_are_followed_and_keep_their_own_books(tmp_path):
    program = build_workload("forks", tmp_path)
    document = read_document(trace("--json", "--follow-forks", "--", program))
    assert document["live_bytes"] == 0
    found = sorted((c["live_bytes"], c["live_blocks"], c["ended"]) for c in document["children"])
    assert found == [
        (0, 0, "became another program"),
        (5_000, 5, "exited"),
        (77_000, 1_000, "exited"),
    ]
    assert document["complete"]
    assert document["events"]["from_before"] == 1  # the child's free of its parent's block


def test_children_are_not_followed_unasked(tmp_path):
    document = read_document(trace("--json", "--", build_workload("forks", tmp_path)))
    assert (document["live_bytes"], document["children"]) == (0, [])


def test_a_command_can_count_its_own_heap(startup_leak):
    document = read_document(trace("--json", "--source", "preload", "--", startup_leak))
    assert (document["source"], document["complete"]) == ("preload", True)
    leaks = [s for s in document["stacks"] if s["frames"][0]["function"] == "leak"]
    assert sum(stack["live_bytes"] for stack in leaks) == 100_000


def test_a_program_that_runs_already_can_not_be_counted_from_inside():
    finished = trace("--source", "preload", "--pid", os.getpid())
    assert finished.returncode == 2
    assert "must be started with it" in finished.stderr
    assert "--source preload -- COMMAND" in finished.stderr


def test_two_ways_to_name_a_target_are_one_too_many():
    finished = trace("--pid", os.getpid(), "--", "true")
    assert finished.returncode == 2
    assert "give one of" in finished.stderr


def test_a_program_that_becomes_another_says_so(tmp_path):
    document = read_document(trace("--json", "--", "/usr/bin/env", "true"))
    assert document["ended"] == "became another program"


def test_nothing_of_it_is_left(startup_leak):
    read_document(trace("--json", "--", startup_leak))
    me = psutil.Process()
    assert not [child for child in me.children(recursive=True) if "startup" in child.name()]
    assert Path(startup_leak).exists()
