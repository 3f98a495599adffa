"""Compile the kernel side, in a process of its own that ends with its work.

bcc's compiler is LLVM and clang: 60 MB that would stay in the service and in each of its sessions,
for two seconds' work. So the service asks this module's `main`, run by a Python of its own, and
gets the instructions and the maps' shapes. A crash there is an error like any other.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lablib.errors import TracerError
from lablib.language import term
from lablib.tracing.bytecode import CompiledFunction, CompiledProgram, find_maps
from lablib.tracing.maps import MapShape, read_map_shape
from lablib.tracing.protocol import describe_error, read_error

_CHECKOUT = Path(__file__).resolve().parents[2]
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from lablib.tracing.compiler import main; main()"
)
_PR_SET_PDEATHSIG = 1


def compile_program(
    source: str, flags: Sequence[str], functions: Iterable[str], maps: Iterable[str]
) -> CompiledProgram:
    """Return the functions and the maps of a C program, those that are named.

    Takes about two seconds of one core, and what bcc makes of the running kernel. What the compiler
    has to say goes to standard error. Raises `TracerError`.
    """
    request = {
        "source": source,
        "flags": list(flags),
        "functions": list(functions),
        "maps": list(maps),
    }
    run = subprocess.run(
        [sys.executable, "-I", "-B", "-c", _BOOTSTRAP, str(_CHECKOUT)],
        input=json.dumps(request).encode(),
        stdout=subprocess.PIPE,
        check=False,
    )
    if run.returncode != 0:
        raise TracerError(
            term("bcc's compiler {end}", end=_describe_end(run.returncode)),
            term("the tracer service's log may say why"),
        )
    answer = json.loads(run.stdout)
    if "error" in answer:
        raise read_error(answer["error"])
    return CompiledProgram(
        functions={
            name: CompiledFunction(
                bytes.fromhex(code), {int(number): used for number, used in uses.items()}
            )
            for name, (code, uses) in answer["functions"].items()
        },
        shapes={name: MapShape(*fields) for name, fields in answer["maps"].items()},
    )


def _describe_end(status: int) -> str:
    if status > 0:
        return term("ended with status {status}", status=status)
    return term("was ended by {signal}", signal=signal.Signals(-status).name)


def main() -> None:
    """Read a request from standard input, and write what comes of it to standard output."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)  # nothing that bcc prints may come between
        json.dump(_compile(json.load(sys.stdin)), output)


def _compile(request: dict[str, Any]) -> dict[str, Any]:
    try:
        import bcc  # the distribution's, in this process only
    except ImportError as error:
        missing = TracerError(
            term("{name} is missing", name=error.name),
            term("run: sudo apt-get install python3-bpfcc"),
        )
        return {"error": describe_error(missing)}
    try:
        program = bcc.BPF(text=request["source"].encode(), cflags=request["flags"])
    except Exception as error:  # bcc raises bare Exception
        refused = TracerError(
            term("this kernel did not take the tracer's program ({error})", error=error),
            term("see ./lab doctor"),
        )
        return {"error": describe_error(refused)}
    code = {name: program.dump_func(name) for name in request["functions"]}
    descriptors = {name: program[name].map_fd for name in request["maps"]}
    names = {descriptor: name for name, descriptor in descriptors.items()}
    shapes = {name: read_map_shape(descriptor) for name, descriptor in descriptors.items()}
    return {
        "functions": {name: (code[name].hex(), find_maps(code[name], names)) for name in code},
        "maps": {
            name: [getattr(shape, field) for field, _ in MapShape._fields_]
            for name, shape in shapes.items()
        },
    }
