"""What runs first in the sandbox: it gives up rights, sets limits, and becomes the program.

    python3 -I -S inside.py ORDERS PROGRAM [ARGUMENT ...]

ORDERS is JSON: {"uid": null, "folder": "/work", "limits": {"DATA": 1000}, "ready": 4, "gate": 5}.

Run as a script by the system's Python, with the standard library alone. `uid` is who to become, or
null to stay. `ready` and `gate` are the descriptors of pipes: a byte goes out by the one when all
is prepared, and the program begins once one comes in by the other.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys


def main() -> None:
    """Do it; ends with 125 where something is refused."""
    orders, command = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        if orders["uid"] is not None:
            os.setgroups([])
            os.setresgid(orders["uid"], orders["uid"], orders["uid"])
            os.setresuid(orders["uid"], orders["uid"], orders["uid"])
        os.chdir(orders["folder"])
        for name, limit in orders["limits"].items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        os.write(orders["ready"], b"+")
        os.close(orders["ready"])
        if not os.read(orders["gate"], 1):
            sys.exit("the one who started the sandbox is gone")
        os.close(orders["gate"])
        os.execv(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(125)


if __name__ == "__main__":
    main()
