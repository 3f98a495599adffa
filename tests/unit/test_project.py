"""The project's files agree with each other."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from rattler import MatchSpec, Version, VersionSpec

import benchmarks
from lablib.apps import find_source, list_apps, list_corpus, read_truth
from lablib.catalogue import write_catalogue
from lablib.truth import WHAT_LEAKS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
C_FILES = sorted(
    path.relative_to(ROOT)
    for folder in ("leaky_apps", "lablib", "labs", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".c", ".cpp", ".h") and "build" not in path.relative_to(ROOT).parts
)
ALLOCATES = re.compile(
    r"\b(x?malloc|calloc|realloc|mmap|pthread_create|open|accept4|getline|strdup|asprintf|shmget"
    r"|shm_open)\(|\bnew \w"
)
CONDA_NAMES = {"docker": "docker-py", "matplotlib": "matplotlib-base"}


def read_project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read_environment():
    """What environment.yml takes from conda, and what from pip."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    from_pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    return [entry for entry in listed if isinstance(entry, str)], from_pip


def test_environment_yml_lists_the_direct_dependencies():
    conda, from_pip = read_environment()
    wanted = [
        re.sub(r"^[\w-]+", lambda match: CONDA_NAMES.get(match[0], match[0]), requirement)
        for requirement in read_project()["dependencies"]
    ]
    python = f"python{read_project()['requires-python']}"
    assert sorted(conda + from_pip) == sorted([python, "pip", *wanted])


def test_conda_reads_environment_yml_and_takes_the_versions_that_the_lock_pins():
    conda, from_pip = read_environment()
    lock = (ROOT / "requirements.lock").read_text()
    pinned = re.findall(r"^([\w-]+)==(\S+)", lock, re.MULTILINE)
    for words in (entry for entry in conda if entry != "pip"):
        spec = MatchSpec(words, strict=True)
        if spec.name.normalized == "python":
            versions = [f"3.{minor}.0" for minor in range(10, 14)]
        else:
            versions = [
                v for name, v in pinned if CONDA_NAMES.get(name, name) == spec.name.normalized
            ]
        assert versions, words
        assert all(VersionSpec(spec.version).matches(Version(v)) for v in versions), words
    for requirement in map(Requirement, from_pip):
        versions = [version for name, version in pinned if name == requirement.name]
        assert versions, requirement
        assert all(map(requirement.specifier.contains, versions)), requirement


def test_lock_pins_every_direct_dependency_with_hashes():
    lock = (ROOT / "requirements.lock").read_text()
    project = read_project()
    extras = project["optional-dependencies"]
    for requirement in project["dependencies"] + extras["test"] + extras["nbgrader"]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert re.search(rf"^{name}==[^\n]+\\\n +--hash=sha256:", lock, re.MULTILINE), name


def test_no_file_names_a_host_to_fetch_from():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock


def test_every_package_is_packaged_with_its_scripts_styles_and_settings():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("lablib/**/__init__.py")]
    assert sorted(tools["packages"]) == sorted(".".join(folder.parts) for folder in folders)
    packaged = {
        path
        for package, patterns in tools["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    wanted = ("js", "css", "json", "html", "po")
    assert packaged == {path for ext in wanted for path in ROOT.glob(f"lablib/**/*.{ext}")}


@pytest.mark.parametrize("name", list_apps())
def test_ground_truth_names_a_line_that_allocates_in_that_function(name):
    truth = read_truth(name)
    assert truth["is_leak"] == bool(truth["leaks"])
    for leak in truth["leaks"]:
        assert leak["file"] == find_source(name).name
        lines = find_source(name).read_text().splitlines()
        assert ALLOCATES.search(lines[leak["line"] - 1])
        above = "\n".join(lines[: leak["line"]])
        functions = re.findall(r"^\S.*\b(\w+)\(.*\)$", above, re.MULTILINE)
        assert functions[-1] == leak["function"]
        assert leak["what"] in WHAT_LEAKS


def test_the_page_about_the_apps_is_made_from_their_truth():
    page = (ROOT / "leaky_apps" / "README.md").read_text()
    assert page == write_catalogue(), "run: python -m lablib.catalogue > leaky_apps/README.md"


def test_the_corpus_has_leaks_and_look_alikes_of_all_kinds():
    truths = [read_truth(name) for name in list_corpus()]
    assert sum(truth["is_leak"] for truth in truths) >= 26
    assert sum(not truth["is_leak"] for truth in truths) >= 12
    assert {leak["what"] for truth in truths for leak in truth["leaks"]} == set(WHAT_LEAKS)
    kinds = {"leaking", "growing", "plateau", "churn", "clean", "retention"}
    assert all(set(truth["verdicts"]) <= kinds and truth["verdicts"] for truth in truths)
    for truth in truths:
        assert truth["is_leak"] == bool({"leaking", "growing"} & set(truth["verdicts"]))


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs_and_with_one_title(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("name", benchmarks.NAMES)
def test_each_benchmark_can_be_run_and_has_its_page(name):
    assert callable(importlib.import_module(f"benchmarks.{name}").main)
    assert f"benchmarks/{name}.md" in (ROOT / "docs" / "tracing.md").read_text()
    assert (ROOT / "benchmarks" / f"{name}.md").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        *(["clang-format", "--dry-run", "-Werror", str(path)] for path in C_FILES),
    ],
    ids=" ".join,
)
def test_linters_are_content(command):
    tool = Path(sys.executable).with_name(command[0])
    checked = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
