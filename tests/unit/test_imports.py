"""Imports point one way: the base <- the middle row <- plots, study <- report ... <- cli."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import lablib

PACKAGE = Path(lablib.__file__).parent
RANKS = {
    **dict.fromkeys(["", "language", "records"], 0),
    **dict.fromkeys(
        [
            "errors",
            "ptrace",
            "resources",
            "unwinding",
            "wording",
            "truth",
            "demangling",
            "drawing",
            "sysv",
            "localising",
            "minder",
            "scratch",
        ],
        1,
    ),
    **dict.fromkeys(["privilege", "release", "linking", "elf_symbols", "encoding", "document"], 2),
    **dict.fromkeys(
        [
            "engine",
            "holding",
            "apps",
            "chunks",
            "system",
            "symbols",
            "analysis",
            "reachability",
            "recording",
            "launcher",
            "proc",
            "steering",
            "page_cache",
            "exhaustion",
        ],
        3,
    ),
    **dict.fromkeys(
        [
            "containers",
            "startup",
            "plots",
            "figures",
            "report",
            "flame",
            "live",
            "windows",
            "tracing",
            "variants",
            "catalogue",
            "editing",
            "group_samples",
        ],
        4,
    ),
    **dict.fromkeys(["panels", "cleanup", "capped", "scanning", "preload", "bundle"], 5),
    **dict.fromkeys(["sources"], 6),
    **dict.fromkeys(["comparison", "study", "watching", "tools"], 7),
    **dict.fromkeys(["grading", "demo", "jupyter", "cli_trace", "site"], 8),
    **dict.fromkeys(
        [
            "doctor",
            "cli_compare",
            "cli_check",
            "cli_release",
            "incident_room",
            "cli_site",
            "presenter",
        ],
        9,
    ),
    **dict.fromkeys(["messages", "teaching", "where", "cli_present"], 10),
    **dict.fromkeys(["cli"], 11),
    **dict.fromkeys(["__main__"], 12),
}


def read_imports(path: Path) -> set[str]:
    """The modules of lablib that a file imports, by their first name below lablib."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lablib":
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            found |= {name if name in RANKS else "" for name in names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {name[1] for name in names if name[0] == "lablib" and len(name) > 1}
    return found


def test_every_module_has_a_rank():
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    modules |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert modules - {"__init__"} == set(RANKS) - {""}


def test_imports_point_to_lower_ranks_only():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).parts[0].removesuffix(".py").replace("__init__", "")
        for imported in read_imports(path) - {module}:
            if RANKS[imported] >= RANKS[module]:
                wrong.append(f"{module} imports {imported}")
    assert not wrong


def test_lablib_imports_without_its_optional_parts():
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['bcc', 'docker', 'symbolic']));"
        "import lablib, lablib.errors, lablib.records, lablib.analysis, lablib.tracing.client"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_service_needs_nothing_from_pypi_but_what_the_distribution_has():
    """Its imports, followed through lablib, end in the standard library.

    language.py reads a catalogue for a reader of another language only: the service has none.
    """
    pending, seen, foreign = ["tracing/service.py"], set(), set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((PACKAGE / name).read_text())):
            modules = []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            for module in filter(None, modules):
                if module.startswith("lablib"):
                    path = module.replace("lablib", "", 1).lstrip(".").replace(".", "/")
                    folders = [*Path(path).parents][:-1]  # importing a module imports these
                    files = (f"{path}.py", *(f"{each}/__init__.py" for each in (path, *folders)))
                    pending += [file for file in files if path and (PACKAGE / file).is_file()]
                elif module.split(".")[0] not in sys.stdlib_module_names:
                    foreign.add(module.split(".")[0])
    assert foreign == {"bcc", "babel"}


def test_the_service_speaks_english_whatever_is_asked_for():
    script = (
        "import os, sys; sys.modules['babel'] = None; os.geteuid = lambda: 1;"
        "sys.argv[1:] = ['--socket=/none', '--owner-uid=0'];"
        "from lablib.tracing import service; service.main()"
    )
    environment = {**os.environ, "LAB_LANG": "zh"}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE)
    assert (
        ran.stderr == b"lab-tracer: the tracer service must run as root; run: ./lab tracer start\n"
    )
