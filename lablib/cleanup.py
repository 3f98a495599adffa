"""Find and remove all that the lab has running: also what a crashed notebook left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import time

import psutil

from lablib.apps import BUILD_DIR
from lablib.containers import remove_leftovers
from lablib.editing import INCIDENTS_BUILD_DIR
from lablib.engine import find_engine, stop_own_engine
from lablib.errors import DockerError, LabError, TracerError
from lablib.scratch import remove_left_folders
from lablib.steering import list_segments
from lablib.sysv import list_system_v_segments, remove_system_v_segment
from lablib.tracing import client
from lablib.tracing.control import remove_groups

STOP_TIMEOUT_S = 10.0


def clean_up() -> list[str]:
    """Stop and remove this user's apps and their shared memory, containers, images, engine, tracer.

    Also the cgroups, swap and temporary folders of experiments that were killed. Returns a
    line for each thing removed. An engine that is not the lab's own runs on. Every step is taken
    even if another fails; the first failure is raised at the end.
    """
    removed: list[str] = []
    failures: list[LabError] = []
    steps = (
        *(_end_apps, _remove_segments, _remove_programs, _remove_from_engine),
        *(_stop_service, remove_groups, _stop_engine, _remove_folders),
    )
    for step in steps:
        try:
            removed += step()
        except LabError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return removed


def _remove_from_engine() -> list[str]:
    try:
        engine = find_engine(may_start=False)
    except DockerError:
        return []  # no engine, so there is nothing in one
    try:
        return remove_leftovers(engine)
    finally:
        engine.client.close()


def _stop_engine() -> list[str]:
    return ["the lab's Docker engine and its data"] if stop_own_engine() else []


def _end_apps() -> list[str]:
    ours = []
    for process in psutil.process_iter(["pid", "exe", "uids"]):
        executable, uids = process.info["exe"], process.info["uids"]
        is_app = executable and executable.startswith(f"{BUILD_DIR}/")
        if is_app and uids and uids.real == os.getuid():
            ours.append((process, executable))
            with contextlib.suppress(psutil.Error):  # it was faster
                process.kill()
    psutil.wait_procs([process for process, _ in ours], timeout=STOP_TIMEOUT_S)
    return [f"process {process.pid} ({executable})" for process, executable in ours]


def _remove_segments() -> list[str]:
    segments = list_segments()
    for segment in segments:
        segment.unlink(missing_ok=True)
    ids = [segment for segment in list_system_v_segments() if remove_system_v_segment(segment)]
    return [
        *(f"shared memory {segment}" for segment in segments),
        *(f"shared memory segment {segment} (System V)" for segment in ids),
    ]


def _remove_programs() -> list[str]:
    """Remove what the incident room has built; what a learner has written there stays."""
    folders = [*INCIDENTS_BUILD_DIR.glob("*")]
    shutil.rmtree(INCIDENTS_BUILD_DIR, ignore_errors=True)
    return [f"the programs of the incident {folder.name}" for folder in folders]


def _remove_folders() -> list[str]:
    return [f"the temporary folder {folder}" for folder in remove_left_folders()]


def _stop_service() -> list[str]:
    try:
        status = client.read_status()
        if os.getuid() not in (0, status["owner_uid"]):
            return []  # somebody else started it, for all of us
        pid = int(status["pid"])
        client.stop_service()
    except TracerError as error:
        if "does not run" in error.message:
            return []
        raise
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return ["the tracer service"]
