"""Which instruction of a function to probe, so that the kernel need not single-step it.

A probe replaces one instruction. Most instructions the kernel then has to execute out of line,
one single step with two traps, which costs more than ten times as much as the few that it emulates.
Those that each kernel since 5.8 emulates are a push of a register, a jump to an address in the code
and the one-byte nop (push_setup_ops and branch_setup_ops in arch/x86/kernel/uprobes.c).

A function's first such instruction is as good as its entry where each call passes it once, with the
arguments and the return address still in place. A jump may be one too: whether it is taken is
decided behind the probe, so that no way through the function is missed.

Whatever is doubtful is probed at the entry. x86-64 only; elsewhere, or without the distribution's
capstone, the entry is probed too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lablib.tracing.disassembler import load_disassembler

MAX_PROLOGUE_BYTES = 64
MAX_PROLOGUE_INSTRUCTIONS = 12

_PLAIN = frozenset(
    (
        *("mov", "movabs", "movzx", "movsx", "movsxd", "lea"),
        *("xor", "and", "or", "add", "sub", "shl", "shr", "sar", "neg", "not"),
    )
)
"""Instructions that write their first operand and go on to the next instruction."""

_READ_ONLY = frozenset(["cmp", "test", "nop", "endbr64"])

_STACK = frozenset(["rsp", "rbp"])
_WHOLE = {
    **{part: f"r{name}" for name in ("di", "si", "bp", "sp") for part in (f"e{name}", f"{name}l")},
    **{name: f"r{name}" for name in ("di", "si", "bp", "sp", "dx")},
    **dict.fromkeys(["edx", "dl", "dh"], "rdx"),
}
"""The 64-bit register that a name stands for a part of: those of the arguments and the stack."""

_BASE = 1 << 32  # so that no other number in the code looks like an address in it


@dataclass(frozen=True)
class Instruction:
    """One instruction, as capstone writes it, at `address`."""

    address: int
    code: bytes
    mnemonic: str
    operands: str

    @property
    def written(self) -> str | None:
        """The 64-bit register that a plain instruction writes, "" if none, None if unknown."""
        if self.mnemonic in _READ_ONLY:
            return ""
        name = self.operands.split(",")[0]
        if self.mnemonic not in _PLAIN or "[" in name:
            return None
        return _WHOLE.get(name, name)


@dataclass(frozen=True)
class Successor:
    """Where a function first calls or jumps, on the straight way from its entry."""

    address: int
    """Of the code, or, for a call through memory, of the eight bytes that hold its address."""
    is_slot: bool
    is_whole: bool
    """Nothing else was done: the two functions are one."""
    keeps_first_argument: bool


def choose_site(code: bytes, arguments: frozenset[str]) -> int:
    """Return the offset of the instruction to probe in a function, 0 for its entry.

    `code` is the whole function; `arguments` are the registers that the probe's program reads, by
    their 64-bit names. The site is passed exactly once by each call, the stack pointer, the frame
    pointer and these registers are there what they are at the entry.
    """
    for instruction in _read_prologue(code, 0):
        if _is_emulated(instruction.code):
            site = instruction.address
            return 0 if site and _may_jump_into(code, site) else site
        written = instruction.written
        if written is None or written in _STACK or written in arguments:
            return 0
    return 0


def find_successor(code: bytes, address: int) -> Successor | None:
    """Return where the function at `address` goes first, or None if that depends on something.

    A branch for a null first argument does not count: there `free` has nothing to do.
    """
    is_whole = keeps_first_argument = True
    previous = ""
    for instruction in _read_prologue(code, address):
        mnemonic = instruction.mnemonic.removeprefix("bnd ")
        if mnemonic in ("jmp", "call"):
            target = _parse_target(instruction)
            whole = is_whole and mnemonic == "jmp"
            return target and Successor(*target, whole, keeps_first_argument)
        is_null_check = mnemonic == "je" and previous == "test rdi, rdi"
        written = instruction.written
        if written is None and not is_null_check and mnemonic not in ("push", "cmovne", "cmove"):
            return None
        keeps_first_argument &= written != "rdi" and not mnemonic.startswith("cmov")
        is_whole &= mnemonic in ("endbr64", "nop")
        previous = f"{mnemonic} {instruction.operands}"
    return None


def _parse_target(instruction: Instruction) -> tuple[int, bool] | None:
    operand = instruction.operands
    if operand.startswith("0x"):
        return int(operand, 16), False
    before, _, offset = operand.partition("[rip + ")
    if before != "qword ptr " or not offset.startswith("0x"):
        return None
    return instruction.address + len(instruction.code) + int(offset.rstrip("]"), 16), True


def _is_emulated(code: bytes) -> bool:
    """Whether the kernel emulates this instruction; with any prefix it may not."""
    first, second = code[0], code[1] if len(code) > 1 else 0
    if len(code) == 1:
        return 0x50 <= first <= 0x57 or first == 0x90  # push; nop
    if len(code) == 2:
        is_push = first == 0x41 and 0x50 <= second <= 0x57
        return is_push or 0x70 <= first <= 0x7F or first == 0xEB  # jumps by 8 bits
    is_near_branch = len(code) == 6 and first == 0x0F and 0x80 <= second <= 0x8F
    return is_near_branch or (len(code) == 5 and first == 0xE9)


def _may_jump_into(code: bytes, site: int) -> bool:
    """Whether the function might come from elsewhere to what lies behind its entry, up to `site`.

    Jumps through a register are not seen: compilers make them for `switch`, whose cases do not
    lie in a prologue.
    """
    disassembler = load_disassembler()
    if disassembler is None:
        return True
    covered = 0
    for _, size, _, operands in disassembler.read(code, _BASE):
        covered += size
        if operands.startswith("0x") and "," not in operands:
            target = int(operands, 16) - _BASE
            if 0 < target <= site:
                return True
    return covered != len(code)


def _read_prologue(code: bytes, address: int) -> Iterator[Instruction]:
    disassembler = load_disassembler()
    if disassembler is None:
        return
    prologue = code[:MAX_PROLOGUE_BYTES]
    found = disassembler.read(prologue, address, MAX_PROLOGUE_INSTRUCTIONS)
    for at, size, mnemonic, operands in found:
        start = at - address
        yield Instruction(at, prologue[start : start + size], mnemonic, operands)
