"""The compiler is another process: whatever becomes of it is a sentence."""

import pytest

from lablib.errors import TracerError
from lablib.tracing import compiler


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("import os; os.kill(os.getpid(), 11)", "bcc's compiler was ended by SIGSEGV"),
        ("raise MemoryError", "bcc's compiler ended with status 1"),
    ],
)
def test_a_crash_of_the_compiler_is_a_sentence(monkeypatch, script, sentence):
    monkeypatch.setattr(compiler, "_BOOTSTRAP", script)
    with pytest.raises(TracerError, match=sentence):
        compiler.compile_program("", [], [], [])


def test_without_bcc_the_error_names_the_package(monkeypatch):
    without = f"import sys; sys.modules['bcc'] = None; {compiler._BOOTSTRAP}"
    monkeypatch.setattr(compiler, "_BOOTSTRAP", without)
    with pytest.raises(TracerError, match="bcc is missing; run: sudo apt-get install"):
        compiler.compile_program("", [], [], [])
