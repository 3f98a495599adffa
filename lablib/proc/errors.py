"""What the kernel answers when a process can't be read, as sentences."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import psutil

from lablib.errors import ProcessError
from lablib.language import term

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def refuses_in_words(read: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Have a function whose first argument is `pid` raise `ProcessError` where it is refused."""

    @functools.wraps(read)
    def wrapper(*words: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        pid = words[0] if words else named["pid"]
        assert isinstance(pid, int)
        try:
            return read(*words, **named)
        except (ProcessLookupError, psutil.NoSuchProcess):
            raise make_gone(pid) from None
        except FileNotFoundError as error:
            if not Path("/proc/self", Path(str(error.filename)).name).exists():
                raise ProcessError(
                    term("this kernel has no {path}", path=error.filename),
                    term("use a kernel of a distribution"),
                ) from None
            raise make_gone(pid) from None
        except (PermissionError, psutil.AccessDenied):
            raise ProcessError(
                term("process {pid} is not yours to read", pid=pid),
                term("start it as the same user as the lab, or start the lab with: sudo ./lab"),
            ) from None

    return wrapper


def make_gone(pid: int) -> ProcessError:
    """Return the error for a process that has ended, or is the kernel's and has no memory."""
    return ProcessError(
        term("process {pid} is gone, or has no memory of its own", pid=pid),
        term("see which ones run: ps -e"),
    )
