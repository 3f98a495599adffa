"""Experiments in a capped group, as the notebook shows them; here from recordings."""

from dataclasses import replace

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from process_records import MIB, make_run

from lablib.errors import LabError
from lablib.recording import save_recording
from lablib.records import GroupEnd
from lablib.teaching import run_capped, show_badness, steer_group
from lablib.teaching.capped import word_end, word_events


@pytest.fixture
def outputs(monkeypatch):
    """What is displayed, as in a notebook: a list of messages."""
    had_shell = InteractiveShell.initialized()
    shell = InteractiveShell.instance()
    publisher = CapturingDisplayPublisher()
    monkeypatch.setattr(shell, "display_pub", publisher)
    yield publisher.outputs
    if not had_shell:
        InteractiveShell.clear_instance()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the recording `kill`, which is asked for."""
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    save_recording(make_run(), tmp_path / "kill.json.gz")
    return tmp_path


def test_victims_are_in_the_order_in_which_the_kernel_chose_them():
    run = make_run()
    assert [end.name for end in run.ends] == ["small", "large"]
    assert run.victims == ("large", "small")


def test_steps_and_ends_are_told_in_the_order_of_time():
    assert word_events(make_run()) == [
        "  0.1 s  1 reader read 40: 40 MiB, checksum 6",
        "  0.3 s  2 small grow 16",
        "  0.4 s  3 small touch 20: 74.8 ms, 4,032 major faults",
        "  0.6 s    small has ended: SIGKILL, victim number 2",
        "  0.6 s    large has ended: SIGKILL, victim number 1",
    ]


def test_a_single_victim_has_no_number_and_who_ended_by_itself_no_signal():
    end = GroupEnd(0.5, "eater", 812, "SIGKILL")
    assert word_end(end, ("eater",)) == "eater has ended: SIGKILL"
    assert word_end(GroupEnd(0.5, "eater", 812, ""), ()) == "eater has ended"


def test_a_step_is_found_by_its_first_words():
    run = make_run()
    assert run.find_step("small grow").answer == {"rate": 16}
    assert run.find_step("small").command == "small touch 20"
    with pytest.raises(StopIteration):
        run.find_step("large")


def test_the_sample_of_a_moment_is_the_last_before_it_or_the_first():
    run = make_run()
    assert run.sample_at(5.0) is run.samples[-1]
    assert run.sample_at(-1.0) is run.samples[0]


def test_the_sample_before_the_end_is_from_before_the_kill_and_not_only_before_it_was_noticed():
    run = make_run()
    seen = run.samples[0]
    assert replace(run, ends=()).sample_before_end() is seen
    killed = replace(seen, elapsed_s=0.55, memory=replace(seen.memory, oom_kills=1))
    gone = replace(seen, elapsed_s=0.58, members=seen.members[:1])
    late = replace(seen, elapsed_s=0.7)
    assert replace(run, samples=(seen, killed, gone, late)).sample_before_end() is seen
    assert replace(run, samples=(killed, late)).sample_before_end() is killed


def test_badness_is_shown_with_what_it_is_made_of(outputs):
    show_badness(make_run())
    lines = outputs[-1]["data"]["text/plain"].splitlines()
    assert lines[0].split()[:2] == ["process", "resident"]
    assert lines[1].split() == ["large", "38.0", "0.0", "0.1", "0", "38.1", "666"]
    assert lines[2].split() == ["small", "25.0", "0.0", "0.1", "100", "34.7", "699"]


def test_a_recorded_experiment_is_shown_as_one_and_gives_its_numbers(folder, outputs, capsys):
    run = run_capped("kill", [("eater", "grow", 16)], limit_mib=64, title="A kill", folder=folder)
    assert run.source.startswith("recorded: Linux ")
    assert run.samples[0].memory.anon_bytes == 63 * MIB
    said = capsys.readouterr().out
    assert "RECORDED, not live" in said
    assert "large has ended: SIGKILL" in said
    assert "Recorded on Linux " in outputs[-1]["data"]["text/plain"]


def test_what_is_recorded_can_t_be_steered_and_says_so(folder, outputs):
    group = steer_group("kill", [], limit_mib=64, swap_mib=32, folder=folder)
    with pytest.raises(LabError, match=r"a recording: there is no program to steer; .* doctor"):
        group.ask("grow", 8)
    group.stop()
    assert "Recorded on Linux " in outputs[-1]["data"]["text/plain"]
