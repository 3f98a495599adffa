"""The incident room's notebook, run unattended: what it says where nobody has answered anything."""

import re

import pytest
from bs4 import BeautifulSoup
from execution import run_notebook
from outputs import read_outputs, read_result, read_shown, read_table
from parallel import MACHINE

from lablib.editing import INCIDENTS_BUILD_DIR
from lablib.grading.labs import LABS_DIR, list_sources, load_lab
from lablib.incident_room import open_incident
from lablib.incident_room.evidence import list_sites
from lablib.incident_room.incidents import FOLDER_VARIABLE, incidents_dir
from lablib.recording import load_recording
from lablib.records import HeapTrace
from lablib.study import Runtime
from lablib.teaching import open_room
from lablib.teaching.experiments import RECORDINGS_DIR
from lablib.teaching.incident_room import RECORDED_KEY, RECORDED_STUDENTS

pytestmark = pytest.mark.xdist_group(MACHINE)

NAME = "11_incident_room"


def test_it_says_what_the_pager_says_and_under_which_cap():
    text, figures = read_outputs(NAME)
    assert len(figures) == 3
    pages = [load_lab("incident", source=s).pager for s in list_sources(LABS_DIR / "incident")]
    assert re.search(r"^PAGE  (.+)$", text, re.MULTILINE)[1] in pages
    cap = re.search(r"with (\d+ MiB) of memory and no swap", text)[1]
    assert read_table(NAME, "The service, by the kernel's account")["cap"] == [cap]
    assert f"of a cap of {cap}" in read_shown(NAME)


def test_what_was_seen_ahead_of_time_is_counted_by_terms():
    taken = read_table(NAME, "Who takes memory")
    assert taken
    assert all(re.fullmatch(r"[+-][\d,]+ bytes", row[4]) for row in taken.values())
    shown = read_shown(NAME)
    assert re.search(r"The resident set: .+ after 500 terms, .+ after 2,500 terms\.", shown)
    share = int(read_result(NAME, "How much of the growth comes in the second half").split()[0])
    assert 0 <= share <= 100


def test_what_nobody_has_answered_is_open_and_nothing_is_given_away():
    text, _ = read_outputs(NAME)
    assert "Name the function first" in text
    assert "Nothing to ship: the program is as it came." in text
    assert "Nothing is answered yet, so there is nothing to judge." in text
    assert "Still open: 3." in text
    outputs = [out for cell in run_notebook(NAME).cells for out in cell.get("outputs", [])]
    pages = [out["data"].get("text/html", "") for out in outputs if "data" in out]
    (page,) = (page for page in pages if "Post-mortem: the incident of" in page)
    soup = BeautifulSoup(page, "html.parser")
    assert [each.text for each in soup.select("p.open")] == [
        "Still to be written: what happened.",
        "Still to be written: the cause.",
        "Still to be named: the function.",
        "Still to be written: what was changed, or why nothing was.",
        "Nothing is proven yet.",
        "No time was predicted.",
        "Still to be written: what would have shown it before.",
    ]


def test_it_leaves_nothing():
    text, _ = read_outputs(NAME)
    name = re.search(r"What you do is kept in \S+/(\w+)\.$", text, re.MULTILINE)[1]
    assert "Nothing was written or changed, so nothing is kept" in text
    assert not (incidents_dir() / name).exists()
    assert not list(INCIDENTS_BUILD_DIR.glob(f"{name}-*"))


def test_where_recordings_are_asked_for_it_is_the_incident_that_was_recorded(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("LAB_SOURCE", "recorded")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "incidents"))
    room = open_room(runtime=Runtime(None, "a test"))
    student = room.room.incident.student
    assert open_room().room.incident.student == student in RECORDED_STUDENTS
    try:
        room.start_service()
        room.trace()
        assert room.rehearse().rounds[0].terms == 500
        assert open_room(new=True).room.incident.student != student  # of one that is under way
    finally:
        room.close()
    said = capsys.readouterr().out
    assert said.count("RECORDED, not live (LAB_SOURCE asks for it)") == 2
    assert "This is one of the 10 incidents that there are recordings of" in said


def test_a_recording_is_of_the_incident_that_has_its_name(monkeypatch, tmp_path):
    """One of each family; the places that take memory are functions of its program."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "incidents"))
    sources = []
    for student in RECORDED_STUDENTS:
        lab = open_incident(RECORDED_KEY, student).lab
        sources.append(lab.rendering.source)
        number = student.split()[1]
        trace, ahead = (
            load_recording(RECORDINGS_DIR / f"11_{what}_{number}.json.gz").value
            for what in ("trace", "rehearsal")
        )
        assert isinstance(trace, HeapTrace)
        assert len(ahead.rounds) == 5
        (question,) = (each for each in lab.questions if each.name == "function")
        assert {site.function for site in list_sites(ahead)} & set(question.expected)
    assert sorted(sources) == sorted(list_sources(LABS_DIR / "incident"))
