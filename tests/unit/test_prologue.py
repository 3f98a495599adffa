"""The first bytes of real allocators' functions, and of made ones, and where to probe them."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import give_up

from lablib.tracing.control import SYSTEM_PYTHON

CHECKOUT = Path(__file__).parents[2]

SCRIPT = """
import dataclasses, json, sys
sys.path.insert(0, sys.argv[1])
from lablib.tracing import prologue
if prologue.load_disassembler() is None:
    sys.exit(3)
answers = {}
for case in json.load(sys.stdin):
    code, argument = case.split(" ")
    successor = prologue.find_successor(bytes.fromhex(code), 0x1000)
    site = prologue.choose_site(bytes.fromhex(code), frozenset([argument]))
    answers[case] = site, successor and dataclasses.astuple(successor)
json.dump(answers, sys.stdout)
"""

SITES = {
    "glibc 2.36 malloc: push": ("415455534889fb4883ec10", 0),
    "glibc 2.36 calloc: push": ("41554889f841545553", 0),
    "glibc 2.36 realloc: push": ("415741564155415455", 0),
    "glibc 2.36 free: test, je": ("4885ff0f84bf00000055", 3),
    "glibc 2.36 memalign: cmpb, je": ("803d710e1400007407e932f6ffff", 7),
    "glibc 2.36 valloc: cmpb, push": ("803d310e140000534889fb", 7),
    "glibc 2.36 posix_memalign: cmpb, push": ("803d010214000041544989d4", 7),
    "jemalloc 5.3 malloc: cmp, ja": ("4881ff001000000f8793000000488d155c7f2c00", 7),
    "jemalloc 5.3 free: nine that write no argument, jne": (
        "4889f8488b150e530a004889f948c1e81a4881e1000000c025f00000006448030425000000"
        "004801d0483b88b00100000f858a000000",
        48,
    ),
    "jemalloc 5.3 rallocx: xor, jmp": ("31c9e9e91cffff", 2),
    "jemalloc 5.3 sdallocx: mov, cmp, ja": ("4989f84881fe00100000770c", 10),
    "tcmalloc 2.10 malloc: mov, test, jne": ("488b0559ab00004885c07575", 10),
    "tcmalloc 2.10 free: mov, test, jne": ("488b0559b11b004885c00f8590000000", 10),
    "tcmalloc 2.10 posix_memalign: lea, or, test, jne": ("488d46ff4883c8074885f0752b", 11),
    "mimalloc 2.0 free: mov, test, je": ("4889f94885ff745d488d7fff", 6),
    "mimalloc 2.0 malloc writes its argument": ("488b0549b400004889fe64488b38", 0),
    "musl 1.2.3 malloc: jmp": ("e96b190000", 0),
    "endbr64, push": ("f30f1efa554889fd4889f7", 4),
    "endbr64, test, je": ("f30f1efa4885ff7405" + "55", 7),
    "sub from the stack pointer, push": ("4883ec0855", 0),
    "the frame pointer written, push": ("4889e555", 0),
    "half of the argument written, push": ("83c70755", 0),
    "a store to memory, push": ("4889342455", 0),
    "call, push": ("e80000000055", 0),
    "ret, push": ("c355", 0),
    "an instruction that may trap into the kernel, push": ("0f0555", 0),
    "a nop of many bytes, push": ("0f1f44000055", 5),
    "a jump with a prefix that kernels refuse": ("4889f8f2e900000000", 0),
    "mov, push, and a jump back to the push": ("4889f855ebfd", 0),
    "mov, push, and a jump back to the entry": ("4889f855ebfa", 3),
    "mov, push, and what nobody can read": ("4889f85506", 0),
    "nothing": ("", 0),
}
"""Name -> (the function's code, where to probe it for a program that reads rdi)."""

WRITES_SECOND = "31f655"
"""xor, push: rsi is written before the push."""

SUCCESSORS = {
    "jmp": ("e9fb0f0000", [0x2000, False, True, True]),
    "endbr64, bnd jmp through a slot": ("f30f1efaf2ff25f50f0000", [0x2000, True, True, True]),
    "test, je, call": ("4885ff740d4883ec08e8ee0f0000", [0x1FFC, False, False, True]),
    "another argument, jmp": ("4889f7e9f80f0000", [0x2000, False, False, False]),
    "a choice, jmp": ("4881ff001000000f8793000000e900000000", None),
    "ret": ("c3", None),
    "jmp through a register": ("ffe0", None),
}
"""Name -> (the function's code at 0x1000, where it goes first)."""


@pytest.fixture(scope="module")
def answers():
    """What the distribution's Python, where the service runs, finds for each code."""
    codes = [code for code, _ in [*SITES.values(), *SUCCESSORS.values()]]
    cases = [*(f"{code} rdi" for code in [*codes, WRITES_SECOND]), f"{WRITES_SECOND} rsi"]
    command = [SYSTEM_PYTHON, "-I", "-B", "-c", SCRIPT, str(CHECKOUT)]
    run = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True)
    if run.returncode == 3:
        give_up("capstone", "capstone is not installed", could_have_run=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize(("code", "site"), SITES.values(), ids=SITES)
def test_the_site_is_the_first_cheap_instruction_that_each_call_passes_once(answers, code, site):
    assert answers[f"{code} rdi"][0] == site


@pytest.mark.parametrize(("code", "successor"), SUCCESSORS.values(), ids=SUCCESSORS)
def test_a_function_leads_where_its_straight_way_goes(answers, code, successor):
    assert answers[f"{code} rdi"][1] == successor


def test_an_argument_that_the_program_does_not_read_may_be_written(answers):
    assert answers[f"{WRITES_SECOND} rdi"][0] == 2
    assert answers[f"{WRITES_SECOND} rsi"][0] == 0
