"""A saved session comes back as it was, and anything else is refused in a sentence."""

import dataclasses

import pytest
from test_analysis import make_trace

from lablib.errors import RecordingError
from lablib.recording import load_trace, save_trace


def test_a_trace_survives_saving_and_loading(tmp_path):
    trace = make_trace([1, 5, 9], freed=[0, 1, 2])
    assert load_trace(save_trace(trace, tmp_path / "new" / "a.json.gz")) == trace


def test_mappings_and_how_it_ended_survive_too(tmp_path):
    trace = make_trace([1])
    mapping = dataclasses.replace(trace.snapshots[0].stacks[0], kind="mapping")
    last = dataclasses.replace(
        trace.snapshots[0], mappings=(mapping,), is_running=False, has_executed=True
    )
    trace = dataclasses.replace(trace, snapshots=(last,), sample_bytes=4096)
    assert load_trace(save_trace(trace, tmp_path / "a.json.gz")) == trace


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b broken", b"{}", b"\0" * 100])
def test_another_file_is_no_session(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(RecordingError):
        load_trace(path)


def test_a_missing_file_and_a_full_disk_are_sentences(tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        load_trace(tmp_path / "nowhere")
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(RecordingError, match="No space left"):
        save_trace(make_trace([1]), tmp_path / "full")
