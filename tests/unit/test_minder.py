"""A container goes also when whoever started it can't see to it any more."""

import io
import subprocess
from types import SimpleNamespace

import docker
import pytest
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import ConnectionError as NoAnswer

from lablib import containers, minder
from lablib.containers import ContainerApp
from lablib.engine import Engine
from lablib.errors import DockerError


class Client:
    """An engine that has one container, and may refuse."""

    def __init__(self, make=None, remove=None):
        self.calls = []
        self.containers = self.images = self
        self._make, self._remove = make, remove

    def close(self):
        pass

    def get(self, name):
        raise NotFound(name)

    def list(self, **options):
        self.calls.append(options["filters"])
        return [SimpleNamespace(remove=lambda **how: self.calls.append(how))]

    def create(self, *words, **options):
        if self._make:
            raise self._make
        raise AssertionError("not asked for")

    def remove(self, image, **how):
        self.calls.append(image)


@pytest.fixture
def mind(monkeypatch):
    """Run the minder against engines, one for each look, with a letter."""
    monkeypatch.setattr(minder, "PAUSE_S", 0)

    def run(engines, letter=b""):
        def connect(base_url):
            engine = engines.pop(0)
            if isinstance(engine, Exception):
                raise engine
            return engine

        monkeypatch.setattr(docker, "DockerClient", connect)
        monkeypatch.setattr("sys.argv", ["minder.py", "unix:///x", "run=1", "image"])
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(letter)))
        minder.main()
        return engines

    return run


def test_a_minder_with_a_letter_does_nothing(mind):
    assert len(mind([Client()], b".")) == 1


def test_a_minder_removes_what_has_the_label_and_the_image(mind):
    looks = [Client() for _ in range(minder.LOOKS)]
    first = looks[0]
    assert mind(looks) == []
    assert first.calls == [{"label": "run=1"}, {"force": True, "v": True}, "image"]


def test_a_minder_waits_for_an_engine_that_is_started_anew(mind):
    looks = [Client() for _ in range(minder.LOOKS)]
    last = looks[-1]
    assert mind([DockerException("gone"), NoAnswer("gone"), *looks]) == []
    assert "image" in last.calls


def test_a_minder_gives_up_on_an_engine_that_stays_away(mind, monkeypatch):
    monkeypatch.setattr(minder, "PATIENCE_S", 0)
    assert mind([]) == []


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Start a container in an engine with a minder that notes its letter; return that."""
    noted = tmp_path / "letter"

    def start_minder(engine, label, image):
        command = ["/bin/sh", "-c", 'cat >"$1"', "sh", str(noted)]
        return subprocess.Popen(command, stdin=subprocess.PIPE)

    monkeypatch.setattr(containers, "_start_minder", start_minder)

    def run(client):
        app = SimpleNamespace()
        with pytest.raises(DockerError):
            ContainerApp(Engine(client, "unix:///x", False), app, "image", 1, owns_image=True)
        return noted.read_bytes() if noted.exists() else None

    return run


def test_what_an_engine_may_have_made_is_left_to_the_minder(start):
    client = Client(make=APIError("it took too long"))
    assert start(client) == b""
    assert client.calls == ["image"]


def test_an_image_goes_where_the_name_is_somebody_elses(start):
    client = Client()
    client.get = lambda name: SimpleNamespace(labels={})
    assert start(client) is None  # there was nothing to mind yet
    assert client.calls == ["image"]


def test_a_container_that_cannot_be_removed_is_left_to_the_minder(start, monkeypatch):
    def fail(**how):
        raise APIError("no")

    client = Client()
    client.create = lambda *words, **options: SimpleNamespace(
        name="app", start=lambda: fail(), remove=fail
    )
    assert start(client) == b""
