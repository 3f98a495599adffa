"""What the tests share: a tracer service of their own, and what this machine can do."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from parallel import UnitScheduling, write_units

from lablib import doctor
from lablib.engine import find_engine, stop_own_engine
from lablib.errors import DockerError, LabError
from lablib.jupyter.server import NotebookServer, start_notebook_server
from lablib.language import LOCALES
from lablib.localising import make_workbook
from lablib.privilege import root_prefix
from lablib.records import Capability
from lablib.study import Runtime, choose_runtime
from lablib.tracing import client, protocol
from lablib.tracing.control import SYSTEM_PYTHON, start_service

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

TESTS = Path(__file__).parent
JUPYTER_FOLDERS = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "IPYTHONDIR",
)
FOLDER = pytest.StashKey[Path]()
HAD_ENGINE = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have the tests of endurance take as long as it takes: `./lab test --soak`."""
    parser.addoption("--soak", action="store_true", help="the long forms of the abuse tests: hours")
    parser.addoption("--labs", action="store_true", help="all wrong fixes of all labs: minutes")
    parser.addoption(
        "--unprivileged", action="store_true", help="all notebooks without any privilege: minutes"
    )
    parser.addoption(
        "--vm", action="store_true", help="a virtual machine, and nothing else: half an hour"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Read the virtual machine's tests with `--vm` alone, and nothing else then."""
    if collection_path.parent == TESTS and collection_path.is_dir():
        return (collection_path.name == "vm") != config.getoption("--vm") or None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only an option asks for: no skip, because it was not asked for."""
    for name in ("labs", "unprivileged"):
        if not config.getoption(f"--{name}"):
            left_out = [item for item in items if item.get_closest_marker(name)]
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
    if is_worker(config):
        write_units(items, config.stash[FOLDER] / "units.json")


def pytest_configure(config: pytest.Config) -> None:
    """Each process uses a tracer service of its own; its socket lies in a folder of the session.

    So do its incidents: those that a learner works on are left alone.
    """
    given = getattr(config, "workerinput", {"workerid": "main", "folder": ""})
    folder = config.stash[FOLDER] = Path(given["folder"] or tempfile.mkdtemp(prefix="lab-tests-"))
    folder.chmod(0o755)
    socket = folder / given["workerid"] / "tracer.sock"
    socket.parent.mkdir(mode=0o755)
    os.environ["LAB_TRACER_SOCKET"] = str(socket)
    os.environ["LAB_INCIDENTS"] = str(socket.with_name("incidents"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a process that is about to start where the session's folder is."""
    node.workerinput["folder"] = str(node.config.stash[FOLDER])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> UnitScheduling:
    """With `-n 3`, as `./lab test` runs the whole suite: which process takes which tests."""
    return UnitScheduling(config, log, config.stash[FOLDER] / "units.json")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember whether an engine runs that shall run on."""
    config = session.config
    starts_none = is_worker(config) or config.getoption("--vm")  # those have one in the machine
    config.stash[HAD_ENGINE] = starts_none or _has_engine()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the services of all processes, those that died too, and the engine that they started."""
    if is_worker(session.config):
        return
    for socket in session.config.stash[FOLDER].glob("*/tracer.sock"):
        os.environ["LAB_TRACER_SOCKET"] = str(socket)
        with contextlib.suppress(LabError):
            client.stop_service()
    if not session.config.stash[HAD_ENGINE]:
        stop_own_engine()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's folder."""
    if not is_worker(config):
        shutil.rmtree(config.stash[FOLDER], ignore_errors=True)


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of several processes that run the tests of a session."""
    return hasattr(config, "workerinput")


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
    """The tracer; a skip only where this machine lacks what any tracer needs."""
    require_tracer()


def require_tracer() -> None:
    """Skip or fail where the tracer can't attach."""
    capability = try_tracer()
    if not capability.works:
        log = protocol.socket_path().with_suffix(".log")
        said = log.read_text() if log.exists() else ""
        reason = f"no eBPF here: {capability.reason}; {capability.fix} {said}"
        give_up("ebpf", reason, could_have_run=takes_bpf_programs())


@functools.cache
def try_capped_groups() -> Capability:
    """Whether a program can be given a limit and swap here, found by the doctor's own trials."""

    def trial() -> str:
        start_service()
        return f"{doctor.try_cgroup()}; {doctor.try_swap()}"

    return doctor.attempt("cgroup", trial)


@pytest.fixture
def capped_groups(tracer_service: None) -> None:
    """Memory cgroups that can be made, as not every container has them."""
    capability = try_capped_groups()
    if not capability.works:
        reason = f"no capped groups here: {capability.reason}; {capability.fix}"
        give_up("cgroup", reason, could_have_run=False)


@pytest.fixture
def root() -> None:
    """Root's rights, for what no other user can do."""
    if os.geteuid() != 0:
        give_up("root", "needs root: run sudo ./lab test", could_have_run=False)


def give_up(capability: str, reason: str, could_have_run: bool) -> None:
    """Skip; but fail on a machine that could, or that LAB_REQUIRE says must have the capability."""
    if could_have_run or capability in os.environ.get("LAB_REQUIRE", "").split():
        pytest.fail(reason)
    pytest.skip(reason)


def takes_bpf_programs() -> bool:
    """Whether bcc loads a program of one line as root here: nothing of our own tracer is in it."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bcc\n"
        "from lablib.tracing.kernel import enter_private_mounts; enter_private_mounts()\n"
        "bcc.BPF(text='int f(void *c) { return 0; }').load_func('f', bcc.BPF.KPROBE)\n"
    )
    words = [SYSTEM_PYTHON, "-I", "-B", "-c", script, str(Path(__file__).parents[1])]
    try:
        return subprocess.run([*root_prefix("bcc"), *words], capture_output=True).returncode == 0
    except (LabError, FileNotFoundError):
        return False


@functools.cache
def find_docker() -> Runtime:
    """Docker, or the reason why there is none."""
    return choose_runtime()


@pytest.fixture
def docker_runtime() -> Runtime:
    """Docker, on a machine that has an engine or may start one."""
    runtime = find_docker()
    if runtime.engine is None:
        give_up("docker", f"no Docker here: {runtime.reason}", could_have_run=has_engine_and_root())
    return runtime


def has_engine_and_root() -> bool:
    """Whether an engine is installed and may be started."""
    try:
        root_prefix("Docker's engine")
    except LabError:
        return False
    return shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is not None


@pytest.fixture(scope="module")
def notebook_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookServer]:
    """JupyterLab as ./lab runs it, on a copy of the notebooks and with no settings of a user's."""
    with serve_notebooks(tmp_path_factory.mktemp("jupyter"), "en") as server:
        yield server


@pytest.fixture(scope="module")
def chinese_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookServer]:
    """The same as ./lab --lang zh runs it: the Chinese notebooks are in notebooks/zh."""
    with serve_notebooks(tmp_path_factory.mktemp("jupyter"), "zh") as server:
        yield server


@contextlib.contextmanager
def serve_notebooks(folder: Path, language: str) -> Iterator[NotebookServer]:
    """Run JupyterLab on a copy of the notebooks in a folder."""
    root = folder / "root"
    hidden = shutil.ignore_patterns(".*")
    for name in ("notebooks", "labs"):
        shutil.copytree(TESTS.parent / name, root / name, ignore=hidden)
    for notebook in (TESTS / "browser" / "data").glob("*.ipynb"):
        shutil.copy(notebook, root / "notebooks")
    if LOCALES[language]:
        make_workbook(root / "notebooks", LOCALES[language])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_LANG", language)
        for variable in JUPYTER_FOLDERS:
            patch.setenv(variable, str(folder / variable.lower()))
        with start_notebook_server(root, folder / "jupyter.log") as server:
            yield server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The distribution's Chromium, without a window, for as long as a module's tests take.

    No longer: while Playwright runs, no other test could run an event loop.
    """
    from notebook_page import launch_chromium
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, contextlib.ExitStack() as running:
        try:
            browser = running.enter_context(launch_chromium(playwright))
        except LookupError as error:
            give_up("browser", str(error), could_have_run=False)
        yield browser
