"""x86-64 instructions as text, by the distribution's capstone library.

Its own Python package takes 22 MB and 0.13 seconds of each session, with all that it imports. Three
functions of the library are all that it takes here.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform

_CODE_BYTES = {5: 24, 4: 16}
"""Room for an instruction's code in the library's record of it, by the library's version."""

_CS_ARCH_X86, _CS_MODE_64 = 3, 1 << 3


class Disassembler:
    """The library, opened for x86-64."""

    def __init__(self, version: int) -> None:
        """Open it; raises `OSError` where there is none of this version."""
        self._library = ctypes.CDLL(f"libcapstone.so.{version}")
        self._library.cs_disasm.restype = ctypes.c_size_t
        self._library.cs_free.restype = None
        self._record = _make_record(_CODE_BYTES[version])
        self._handle = ctypes.c_size_t()
        if self._library.cs_open(_CS_ARCH_X86, _CS_MODE_64, ctypes.byref(self._handle)) != 0:
            raise OSError("capstone was built without x86")

    def read(self, code: bytes, address: int, count: int = 0) -> list[tuple[int, int, str, str]]:
        """Return (address, size in bytes, mnemonic, operands) of the instructions in `code`.

        `address` is where it lies. Ends before the first that is none, or after `count`, unless
        that is 0.
        """
        records = ctypes.POINTER(self._record)()
        found = self._library.cs_disasm(
            self._handle,
            code,
            ctypes.c_size_t(len(code)),
            ctypes.c_uint64(address),
            ctypes.c_size_t(count),
            ctypes.byref(records),
        )
        try:
            return [
                (each.address, each.size, each.mnemonic.decode(), each.operands.decode())
                for each in records[:found]
            ]
        finally:
            self._library.cs_free(records, ctypes.c_size_t(found))


@functools.cache
def load_disassembler() -> Disassembler | None:
    """Return this machine's disassembler, None where there is none."""
    if platform.machine() != "x86_64":
        return None
    for version in _CODE_BYTES:
        with contextlib.suppress(OSError):
            return Disassembler(version)
    return None


def _make_record(code_bytes: int) -> type[ctypes.Structure]:
    class Record(ctypes.Structure):
        """`struct cs_insn` of capstone.h."""

        _fields_ = (
            ("id", ctypes.c_uint),
            ("address", ctypes.c_uint64),
            ("size", ctypes.c_uint16),
            ("code", ctypes.c_uint8 * code_bytes),
            ("mnemonic", ctypes.c_char * 32),
            ("operands", ctypes.c_char * 160),
            ("detail", ctypes.c_void_p),
        )

    return Record
