"""A saved session comes back as it was, and anything else is refused in a sentence."""

import dataclasses
import gzip
import json

import pytest
from test_analysis import make_trace

from lablib.errors import RecordingError
from lablib.language import Term, term
from lablib.recording import FORMAT, load_recording, load_trace, save_recording, save_trace


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


def test_a_text_for_the_reader_keeps_its_template(tmp_path):
    """It was recorded in English, and is said in the language of whoever replays it."""
    blocks = term("{number} blocks", number=3)
    sentence = term("{blocks} of {name}, {share:.1f}", blocks=blocks, name="f", share=0.25)
    trace = dataclasses.replace(make_trace([1]), source=sentence)
    path = save_recording({"trace": trace, "text": sentence}, tmp_path / "a.json.gz")
    value = load_recording(path).value
    for text in (value["trace"].source, value["text"]):
        assert text == "3 blocks of f, 0.2"
        assert isinstance(text, Term)
        assert (text.template, text.fields["share"]) == (sentence.template, 0.25)
        assert text.fields["blocks"].template == "{number} blocks"


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


def rewrite(path, change):
    """Change the JSON in a file."""
    document = json.loads(gzip.decompress(path.read_bytes()))
    change(document)
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(format=FORMAT[:-1] + "2"),
        lambda document: document.pop("kernel"),
        lambda document: document["value"].update(kind="Path"),
        lambda document: document["value"].update(kind="plain", value=[1]),
        lambda document: document["value"].update(kind="plain", value={"text": "a"}),
        lambda document: document["value"].update(
            kind="plain", value={"text": 1, "template": "{n}", "fields": {"n": [1]}}
        ),
        lambda document: document["value"]["fields"].update(snapshots=1),
        lambda document: document["value"]["fields"].update(seconds=1),
        lambda document: document["value"]["fields"].update(kernel=5),
        lambda document: document["value"]["fields"].pop("target"),
        lambda document: document["value"]["fields"]["snapshots"][0]["stacks"][0].update(
            frames=[9]
        ),
        lambda document: document["value"]["fields"]["snapshots"][0]["stacks"][0].update(
            frames=[-1]
        ),
        lambda document: document["shared"].append(["Path", {}]),
        lambda document: document.update(shared=None),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path, change):
    path = save_trace(make_trace([1, 5]), tmp_path / "a.json.gz")
    assert load_recording(path)
    with pytest.raises(RecordingError, match="not a session that this lab saved"):
        load_recording(rewrite(path, change))


def test_a_recording_of_something_else_is_no_heap_trace(tmp_path):
    with pytest.raises(RecordingError, match="not a session"):
        load_trace(save_recording([1, 2], tmp_path / "a.json.gz"))
