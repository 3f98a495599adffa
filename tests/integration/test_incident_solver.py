"""An incident of each family, worked from the page to the post-mortem by a script.

The script has what a learner has: incident_solver.py.
"""

import json
import os
import signal

import pytest
from conftest import require_tracer, try_capped_groups
from incident_solver import SPEED, solve
from jupyter_client.manager import start_new_kernel
from parallel import MACHINE
from submissions import KEY, list_patches, make_program
from waiting import wait_until

from lablib.apps import APPS_DIR
from lablib.containers import LABEL
from lablib.editing import INCIDENTS_BUILD_DIR
from lablib.grading.labs import LABS_DIR, list_sources
from lablib.grading.variants import draw_data
from lablib.incident_room import IncidentRoom, open_incident
from lablib.incident_room.incidents import FOLDER_VARIABLE
from lablib.incident_room.page import to_markdown
from lablib.incident_room.postmortem import compose
from lablib.study import Runtime

pytestmark = pytest.mark.xdist_group(MACHINE)

CHECKOUT = APPS_DIR.parent
SOURCES = list_sources(LABS_DIR / "incident")


@pytest.fixture
def incidents(tmp_path, monkeypatch):
    """A folder of its own for the incidents: a learner's own are left alone."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "incidents"))
    return tmp_path / "incidents"


def draw_one_of(source):
    """An incident of a family: of the students' names the first that is drawn this one."""
    names = (f"student {number}" for number in range(1000))
    folder = LABS_DIR / "incident"
    student = next(n for n in names if draw_data(folder, KEY, n)["sources"] == [source])
    return open_incident(KEY.decode(), student)


def give_fix(incident):
    """What gives the solver the reference fix: only to whom names the right place."""
    (question,) = (each for each in incident.lab.questions if each.name == "function")

    def give(function):
        assert function in question.expected, f"{function} is not where it comes from"
        source = incident.lab.rendering.source
        (patch,) = list_patches("incident", source, "solution")
        return make_program(incident.lab, patch)

    return give


@pytest.mark.parametrize("source", SOURCES)
def test_a_script_that_has_what_a_learner_has_works_it_and_the_judge_passes_it(incidents, source):
    require_tracer()
    incident = draw_one_of(source)
    with IncidentRoom(incident, Runtime(None, "a test"), SPEED) as room:
        diagnosis, report = solve(room, give_fix(incident))
        assert [each for each in report.findings if each.state == "failed"] == []
        assert report.has_passed
        if try_capped_groups().works:
            assert report.points == report.possible
        assert diagnosis.is_leak == bool(list_patches("incident", source, "solution"))
        assert room.list_open() == []
    page = incident.post_mortem.with_suffix(".html").read_text()
    assert diagnosis.function in page
    assert ("as it came: nothing was changed" in page) != diagnosis.is_leak
    assert f"{report.points:g} of {report.possible:g} points. It has passed." in page


def test_the_kernel_kills_it_at_the_cap_of_its_container(incidents, docker_runtime):
    """The clock of the incident says when, and what is down counts as impact."""
    require_tracer()
    incident = draw_one_of("families/log_archive.c")
    room = IncidentRoom(incident, docker_runtime, speed=400)
    with room:
        service = room.start_service()
        container = docker_runtime.engine.client.containers.get(room.name)
        assert LABEL in container.labels  # so ./lab clean finds it where this kernel dies
        room.answer(oom_seconds=900)
        wait_until(lambda: room.timeline.find("kill"))
        assert service.end.is_oom_killed
        assert service.end.service_s == service.end.terms / room.terms.rate
        assert max(each.charged_bytes or 0 for each in room.kept.samples) <= room.terms.limit_bytes
        room.start_service()
        title, parts = compose(room.see())
        assert room.service.runtime == "docker"
    text = to_markdown(title, parts)
    assert "killed it 1 time" in text
    assert "It was down for" in text
    engine = docker_runtime.engine.client
    assert not engine.containers.list(all=True, filters={"name": room.name})
    assert not engine.images.list(name=f"memory-leak-lab/{room.name}")


def test_another_kernel_finds_the_incident_as_it_was_left(incidents):
    """Nothing is lost when the notebook's kernel dies: it is on the disk."""
    first = IncidentRoom(open_incident(), Runtime(None, "a test"), SPEED)
    first.note("it has begun")
    first.answer(oom_seconds="never")
    again = open_incident()  # `first` was never closed
    with IncidentRoom(again, Runtime(None, "a test"), SPEED) as room:
        assert again == first.incident
        assert [each.text for each in room.timeline.find("note", "answer")] == [
            "it has begun",
            "oom_seconds: never",
        ]
        room.start_service()
        assert room.look()["cap"] == room.terms.limit_bytes
    assert json.loads((again.folder / "answers.json").read_text())["oom_seconds"] == "never"
    assert not list(INCIDENTS_BUILD_DIR.glob(f"{again.name}-*"))


KERNEL = """
from lablib.teaching import open_room
room = open_room({key!r}, "monday")
room.note("begun")
room.start_service()
"""


def test_a_kernel_that_is_killed_or_restarted_leaves_nothing_running(incidents, docker_runtime):
    """And the next one finds the incident, its notes and its clock."""
    engine = docker_runtime.engine.client
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(CHECKOUT))

    def find_container():
        reply = client.execute_interactive(KERNEL.format(key=KEY.decode()), timeout=120)
        assert reply["content"]["status"] == "ok", reply["content"]
        name = f"incident-{open_incident(KEY.decode(), 'monday').name}"
        return engine.containers.get(name)

    def is_gone(container):
        image = container.attrs["Config"]["Image"]
        mine = {"id": container.id}
        left = engine.containers.list(all=True, filters=mine, ignore_removed=True)
        return not left and not engine.images.list(name=image)

    try:
        first = find_container()
        manager.restart_kernel(now=True)  # what a learner does with Restart
        client.wait_for_ready(timeout=120)
        second = find_container()
        assert second.id != first.id
        wait_until(lambda: is_gone(first))
        assert engine.containers.get(second.id).status == "running"
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        wait_until(lambda: is_gone(second))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    incident = open_incident(KEY.decode(), "monday")
    with IncidentRoom(incident, Runtime(None, "a test"), SPEED) as room:
        assert len(room.timeline.find("note")) == 2
        assert not list(INCIDENTS_BUILD_DIR.glob(f"{incident.name}-*"))


def test_an_incident_that_nobody_worked_on_leaves_nothing(incidents):
    with IncidentRoom(open_incident(), Runtime(None, "a test"), SPEED) as room:
        pid = room.start_service().pid
        room.write_post_mortem()
    assert not os.path.exists(f"/proc/{pid}")
    assert not incidents.exists()
