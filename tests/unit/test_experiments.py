"""An experiment runs live where it can; else its recording is shown, and says that it is one."""

import dataclasses
import datetime
import gzip
import re

import pytest
from process_records import make_run

from lablib.encoding import Encoder
from lablib.errors import (
    AppError,
    DockerError,
    PrivilegeError,
    RecordingError,
    TargetError,
    ToolMissingError,
    TracerError,
)
from lablib.recording import load_recording, save_recording
from lablib.records import (
    AddressSpace,
    Chunk,
    ContainerEnd,
    Frame,
    HeapMap,
    MemoryCall,
    MemoryTrace,
    PageFault,
    ProcessSizes,
    ResidentPages,
    Segment,
    Target,
    Vma,
)
from lablib.teaching import experiments
from lablib.teaching.experiments import CHECKOUT, RECORDINGS_DIR, run_or_replay, trace_during

FRAMES = (Frame("touch", "app", 7, "app.c", 12, True), Frame(None, "libc.so.6", 99))
TRACE = MemoryTrace(
    source="ebpf",
    kernel="6.1.0",
    target=Target(812, "./app"),
    seconds=1.5,
    faults=(
        PageFault(0x7F0000001000, True, False, False, False, 3, 0.25, FRAMES),
        PageFault(0x7F0000002000, False, True, True, True, 1, 0.5, FRAMES[1:], is_major=True),
    ),
    calls=(MemoryCall(0.1, 812, "brk", 0x5000, -4096, 0x5000, FRAMES),),
    missed_by_reason={"faults_full": 2},
    stack_floor=0x7F0000000000,
    stack_start=0x7FFF00000000,
)
VMA = Vma(0x1000, 0x3000, "rw-p", path="/bin/app", flags="rd wr")
SPACE = AddressSpace(
    812,
    "./app",
    (
        Segment(0x1000, 0x2000, "data", "the kernel, at exec", VMA, "app", ".data"),
        Segment(0x2000, 0x3000, "bss", "the kernel, at exec", VMA, "app"),
    ),
)
SIZES = [ProcessSizes(0.1 * i, 4096, 4096, None, 0, 4096, 0, 0, 0, 4096, i, 0) for i in range(3)]
PAGES = ResidentPages(0x1000, 4096, bytes([0, 1, 9, 255]))
HEAP = HeapMap.of(0x1000, 0x2000, [Chunk(0x1000, 32, "used"), Chunk(0x1020, 4064, "top")])
END = ContainerEnd("live", 32 << 20, 64 << 20, 137, True, 1.5, "5th => 5")
ALL = {"trace": TRACE, "sizes": SIZES, "both": (SPACE, PAGES), "heap": HEAP, "pages": 1000}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("LAB_SOURCE", "LAB_SAVE_RECORDINGS"):
        monkeypatch.delenv(name, raising=False)


def fail_with(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    "value", [TRACE, SPACE, SIZES, PAGES, HEAP, make_run(), END, ALL, 3, None, "text", [True]]
)
def test_whatever_records_hold_survives_saving_and_loading(value, tmp_path):
    loaded = load_recording(save_recording(value, tmp_path / "a.json.gz"))
    assert loaded.value == value
    assert type(loaded.value) is type(value)
    assert loaded.date <= datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    assert loaded.kernel


def test_what_is_shared_is_written_once():
    encoder = Encoder()
    encoder.encode(ALL)
    assert len(encoder.shared) == len(FRAMES) + 1


@pytest.mark.parametrize("value", [object(), {1: 2}, [object()], {"a": lambda: 1}, b"bytes"])
def test_what_is_no_record_is_not_saved(value, tmp_path):
    with pytest.raises(RecordingError, match="can't be recorded"):
        save_recording(value, tmp_path / "a.json.gz")


def test_live_is_live(tmp_path, capsys):
    assert run_or_replay("name", lambda: TRACE, tmp_path) is TRACE
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error_type", [TracerError, DockerError, ToolMissingError, PrivilegeError])
def test_where_the_tracer_cant_be_had_the_recording_says_that_it_is_one(
    error_type, tmp_path, capsys
):
    path = save_recording(ALL, tmp_path / "name.json.gz")
    made = load_recording(path)
    shown = run_or_replay("name", fail_with(error_type("there is none", "get one")), tmp_path)
    assert shown["trace"].source == f"recorded: Linux {made.kernel}, {made.date}"
    assert shown["trace"].faults == TRACE.faults
    assert shown["sizes"] == SIZES
    said = capsys.readouterr().out
    assert said.startswith("RECORDED, not live (there is none; get one)")
    assert made.date in said
    assert made.kernel in said
    assert said.count("\n") == 1


def test_without_a_recording_the_error_remains(tmp_path):
    with pytest.raises(TracerError, match="does not run"):
        run_or_replay("name", fail_with(TracerError("does not run")), tmp_path)


@pytest.mark.parametrize(
    "error", [TargetError("gone"), AppError("broken"), ValueError("wrong"), KeyboardInterrupt()]
)
def test_other_errors_are_never_hidden_by_a_recording(error, tmp_path):
    save_recording(TRACE, tmp_path / "name.json.gz")
    with pytest.raises(type(error)):
        run_or_replay("name", fail_with(error), tmp_path)


def test_a_recording_can_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    with pytest.raises(RecordingError, match="no recording of name"):
        run_or_replay("name", lambda: TRACE, tmp_path)
    save_recording([TRACE], tmp_path / "name.json.gz")
    (shown,) = run_or_replay("name", fail_with(AssertionError()), tmp_path)
    assert shown.source.startswith("recorded: ")


def test_what_was_run_is_saved_where_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_SAVE_RECORDINGS", "1")
    assert run_or_replay("name", lambda: SIZES, tmp_path / "new") is SIZES
    assert load_recording(tmp_path / "new" / "name.json.gz").value == SIZES


def test_no_recording_tells_where_it_was_made(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_SAVE_RECORDINGS", "1")
    command = str(CHECKOUT / "leaky_apps" / "build" / "pages")
    run_or_replay("name", lambda: [dataclasses.replace(TRACE, target=Target(1, command))], tmp_path)
    (trace,) = load_recording(tmp_path / "name.json.gz").value
    assert trace.target.command == "leaky_apps/build/pages"


@pytest.mark.parametrize("path", sorted(RECORDINGS_DIR.glob("*")), ids=lambda path: path.name)
def test_each_recording_of_the_workbook_can_be_replayed_and_tells_of_no_folder(path):
    assert load_recording(path).value
    told = re.findall(r'"(/[^"]*)"', gzip.decompress(path.read_bytes()).decode())
    known = ("/usr/", "/lib", "/dev/", "/sys/", "/app ", "/>")  # the last ends a tag of XML
    assert [each for each in told if not each.startswith(known)] == []


def test_the_recordings_are_small():
    assert 0 < sum(path.stat().st_size for path in RECORDINGS_DIR.glob("*")) < 500_000


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_without_the_tracer_the_act_is_done_once_and_the_recording_shown(
    is_asked_for, tmp_path, monkeypatch, capsys
):
    if is_asked_for:
        monkeypatch.setenv("LAB_SOURCE", "recorded")
    monkeypatch.setattr(experiments, "start_service", fail_with(TracerError("no tracer")))
    save_recording(({"pages": 5}, TRACE), tmp_path / "name.json.gz")
    done = []
    answer, trace = trace_during("name", 812, lambda: done.append("act"), tmp_path)
    assert done == ["act"]
    assert answer == {"pages": 5}
    assert trace.source.startswith("recorded: ")
    assert "RECORDED, not live" in capsys.readouterr().out
