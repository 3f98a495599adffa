"""What the tests share: a tracer service of their own, and what this machine can do."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from pathlib import Path

import pytest

from lablib import doctor
from lablib.engine import find_engine, stop_own_engine
from lablib.errors import DockerError, LabError
from lablib.records import Capability
from lablib.study import Runtime, choose_runtime
from lablib.tracing import client
from lablib.tracing.control import start_service


@pytest.fixture(scope="session", autouse=True)
def own_services():
    """Tests use a tracer service and, where none runs, an engine that end with them."""
    with tempfile.TemporaryDirectory(prefix="lab-tests-") as folder:
        os.environ["LAB_TRACER_SOCKET"] = str(Path(folder) / "tracer.sock")
        Path(folder).chmod(0o755)
        had_engine = _has_engine()
        yield
        with contextlib.suppress(LabError):
            client.stop_service()
        if not had_engine:
            stop_own_engine()


def _has_engine() -> bool:
    try:
        find_engine(may_start=False)
    except DockerError:
        return False
    return True


@functools.cache
def try_tracer() -> Capability:
    """Whether the tracer can attach here, found by the doctor's own trial."""

    def trial() -> str:
        start_service()
        return doctor.try_ebpf()

    return doctor.attempt("ebpf", trial)


@pytest.fixture
def tracer_service() -> None:
    """The tracer, on a machine where the doctor could attach it; a skip only where it could not."""
    capability = try_tracer()
    if not capability.works:
        give_up("ebpf", f"no eBPF here: {capability.reason}; {capability.fix}")


def give_up(capability: str, reason: str) -> None:
    """Skip; but where LAB_REQUIRE says that this machine has the capability, fail."""
    if capability in os.environ.get("LAB_REQUIRE", "").split():
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def find_docker() -> Runtime:
    """Docker, or the reason why there is none."""
    return choose_runtime()


@pytest.fixture
def docker_runtime() -> Runtime:
    """Docker, on a machine that has an engine or may start one."""
    runtime = find_docker()
    if runtime.engine is None:
        give_up("docker", f"no Docker here: {runtime.reason}")
    return runtime
