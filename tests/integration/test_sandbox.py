"""The sandbox holds, for root and for an ordinary user, with a cgroup of its own and without."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import try_capped_groups
from hostile import PROGRAMS
from parallel import MACHINE

import lablib
from lablib.errors import GradingError
from lablib.grading import limits
from lablib.grading.limits import Limits
from lablib.grading.sandbox import Sandboxed

pytestmark = pytest.mark.xdist_group(MACHINE)

NOBODY = pwd.getpwnam("nobody").pw_uid
CHECKOUT = Path(lablib.__file__).parents[1]
IN_GROUP = {
    "memfd_hog": "memory",
    "shared_hog": "memory",
    "segment_hog": "memory",
}
ANYWHERE = {
    "thread_bomb": "processes",
    "one_large_file": "disk",
    "many_files": "disk",
    "shared_files": "disk",
    "complains_gigabytes": "output",
    "memory_hog": "memory",
    "escapes": "itself",
    "setuid_shell": "itself",
    "fork_bomb": "itself",
}


def run_as(uid, how, names):
    """Run programs in the sandbox as a user, and return how each run of them ended."""
    with tempfile.TemporaryDirectory(prefix="lab-sandbox-") as folder:
        shutil.copytree(PROGRAMS, f"{folder}/programs")
        shutil.copy(Path(__file__).with_name("sandbox_runs.py"), folder)
        os.chmod(folder, 0o777)
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TMPDIR": folder, "HOME": folder}
        words = [sys.executable, "-B", f"{folder}/sandbox_runs.py", f"{folder}/programs", how]
        ran = subprocess.run(
            [*words, *names],
            capture_output=True,
            text=True,
            env=environment,
            cwd="/",
            **({} if uid == os.getuid() else {"user": uid, "group": uid, "extra_groups": []}),
        )
        left = sorted(path.name for path in Path(folder).iterdir())
    assert ran.returncode == 0, ran.stderr
    assert left == ["programs", "sandbox_runs.py"]
    return json.loads(ran.stdout)


def is_readable_by(uid):
    """Whether another user may run the tests' Python with this checkout."""
    if uid == os.getuid():
        return True
    words = [sys.executable, "-c", "import lablib.grading.sandbox"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    try:
        ran = subprocess.run(words, user=uid, group=uid, env=environment, cwd="/")
    except PermissionError:
        return False
    return ran.returncode == 0


@pytest.fixture(scope="module", params=["caller", "nobody"])
def runs(request):
    """How each run of the programs ended, with a group and without, for one user."""
    uid = os.getuid() if request.param == "caller" else NOBODY
    if uid != os.getuid() and os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    if not is_readable_by(uid):
        pytest.skip("another user can't read this checkout, or the Python of the tests")
    has_groups = try_capped_groups().works
    with ThreadPoolExecutor(2) as pool:
        alone = pool.submit(run_as, uid, "alone", list(ANYWHERE))
        grouped = pool.submit(run_as, uid, "group", list(IN_GROUP)) if has_groups else None
        return {"alone": alone.result(), "group": grouped and grouped.result()}


@pytest.mark.parametrize("name", ANYWHERE)
def test_a_limit_ends_a_run_and_the_next_one_begins_afresh(runs, name):
    ended = [run["ended_by"] for run in runs["alone"]["runs"][name]]
    assert ended == [ANYWHERE[name]] * (1 if name == "memory_hog" else 2)


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("escapes", "reached nothing\n"),
        ("setuid_shell", "made 3\n"),
        ("fork_bomb", "0 children\n"),
    ],
)
def test_what_it_must_not_do_it_can_t(runs, name, output):
    assert [run["output"] for run in runs["alone"]["runs"][name]] == [output] * 2


@pytest.mark.parametrize("name", IN_GROUP)
def test_memory_that_no_process_maps_counts_too_in_a_group(runs, capped_groups, name):
    assert runs["group"]["has_group"]
    assert [run["ended_by"] for run in runs["group"]["runs"][name]] == ["memory"]


def test_where_the_machine_s_memory_runs_out_nobody_is_blamed(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FLOOR_BYTES", 1 << 60)
    with Sandboxed(tmp_path, ["/usr/bin/sleep", "60"], Limits(seconds=60.0), None) as program:
        program.release()
        with pytest.raises(GradingError, match="nobody can say"):
            program.finish()


def test_who_only_computes_has_run_out_of_time_on_a_busy_machine_too(tmp_path, monkeypatch):
    monkeypatch.setattr(limits.os, "getloadavg", lambda: (100.0, 100.0, 100.0))
    words = ["/usr/bin/sh", "-c", "while :; do :; done"]
    with Sandboxed(tmp_path, words, Limits(seconds=1.0), None) as program:
        program.hold()
        program.run_to_exit()
        program.release()
        run = program.finish()
    assert run.ended_by == "time"
    assert run.seconds >= 1


def hold_at_exit_and_fail(folder):
    """Fail while a program is held at its exit."""
    with Sandboxed(folder, ["/bin/true"], Limits(), None) as program:
        program.hold()
        raise ZeroDivisionError(program.run_to_exit())


def test_who_is_held_at_its_exit_ends_with_an_error_of_ours(tmp_path):
    with pytest.raises(ZeroDivisionError, match="True"):
        hold_at_exit_and_fail(tmp_path)
