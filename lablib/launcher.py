"""Start a program within limits, then become it: run as a script, in an interpreter of its own.

    python -I -S launcher.py MEMORY_BYTES LIFETIME_S PARENT_PID COMMAND [ARGUMENT ...]

The program gets a process group of its own, dies with its parent, may hold MEMORY_BYTES of private
writable memory whether in RAM or in swap (RLIMIT_DATA counts both; thread stacks too), writes no
core file, and ends after LIFETIME_S. These limits survive exec, so no supervisor is left beside it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the limits and exec the command."""
    memory_bytes, lifetime_s, parent_pid = (int(word) for word in sys.argv[1:4])
    command = sys.argv[4:]
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("the parent ended before its program began")
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(lifetime_s)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
