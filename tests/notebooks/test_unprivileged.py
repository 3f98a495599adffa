"""The workbook and a trace as a user without any privilege, in a namespace without capabilities.

One notebook is run every time; `./lab test --unprivileged` runs them all.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import give_up
from execution import NAMES

from lablib.apps import APPS_DIR

CHECKOUT = APPS_DIR.parent
NOBODY = 65534
NO_RIGHTS = ("setpriv", "--no-new-privs")
AS_NOBODY = (
    *NO_RIGHTS,
    *(f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--bounding-set=-all", "--inh-caps=-all"),
)
OWN_NAMESPACE = ("unshare", "--user", "--map-current-user")
COPIED = ("lablib", "leaky_apps", "notebooks", "labs", "tests", "benchmarks", "pyproject.toml")

COUNTED_LIVE = {"06_what_is_a_leak": 1, "09_fibonacci_case": 2, "11_incident_room": 1}
"""How often a notebook traces a heap: always live, from inside the program."""
EVERY_TIME = "06_what_is_a_leak"
TIMEOUT_S = 400

RUN = """
import json, sys
sys.path.insert(0, "tests/notebooks")
import nbformat
from execution import NOTEBOOKS, execute
notebook = execute(nbformat.read(NOTEBOOKS / f"{sys.argv[1]}.ipynb", as_version=4))
outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
print(json.dumps([out.get("text", "") for out in outputs if out.output_type == "stream"]))
"""


@pytest.fixture(scope="module")
def unprivileged():
    """Run Python in a copy of the checkout, with no right that any user has not."""
    before = AS_NOBODY if os.geteuid() == 0 else NO_RIGHTS
    with tempfile.TemporaryDirectory(prefix="lab-unprivileged-") as name:
        home = Path(name)
        home.chmod(0o755)
        _copy(home)
        for words in ((*before, *OWN_NAMESPACE), before):  # some systems have closed namespaces
            if (
                subprocess.run([*words, sys.executable, "-c", ""], capture_output=True).returncode
                == 0
            ):
                break
        else:
            reason = "no other user can run this Python, or setpriv is missing"
            give_up("unprivileged", reason, could_have_run=False)
        environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": str(home),
            "PYTHONPATH": str(home / "lab"),
            "LAB_TRACER_SOCKET": str(home / "no-tracer.sock"),
        }

        def run(*arguments):
            return subprocess.run(
                [*words, sys.executable, *arguments],
                cwd=home / "lab",
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )

        yield run


def _copy(home):
    unwanted = shutil.ignore_patterns("__pycache__", "*.so", ".*")
    for name in COPIED:
        source, target = CHECKOUT / name, home / "lab" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=unwanted)
        else:
            shutil.copy(source, target)
    if os.geteuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def test_a_command_is_traced_by_itself_where_nothing_else_can(unprivileged):
    made = unprivileged("-c", "from lablib.apps import build_app; build_app('fib_leak')")
    assert made.returncode == 0, made.stderr
    program = ("leaky_apps/build/fib_leak", "--terms", "90", "--rate", "0")
    traced = unprivileged("-m", "lablib", "trace", "--json", "--", *program)
    assert "no eBPF here" in traced.stderr
    document = json.loads(traced.stdout)
    assert (document["source"], document["complete"]) == ("preload", True)
    largest = document["stacks"][0]
    assert (largest["live_bytes"], largest["live_blocks"]) == (90 * 8192, 90)
    place = largest["frames"][0]
    line = (CHECKOUT / "leaky_apps" / "fib_leak.c").read_text().splitlines()[place["line"] - 1]
    assert (place["function"], place["file"]) == ("fibonacci", "fib_leak.c")
    assert "alloc(" in line


def test_it_has_no_capability(unprivileged):
    status = unprivileged("-c", "print(open('/proc/self/status').read())").stdout
    fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == EVERY_TIME else pytest.mark.unprivileged)
        for name in NAMES
    ],
)
def test_a_notebook_runs_without_any_privilege(name, unprivileged):
    finished = unprivileged("-c", RUN, name)
    assert finished.returncode == 0, finished.stderr[-3000:]
    text = "".join(json.loads(finished.stdout))
    assert text.count("LIVE, counted from inside the program") == COUNTED_LIVE.get(name, 0)
