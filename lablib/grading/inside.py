"""What runs first in the sandbox: it gives up rights, sets limits, and becomes the program.

    python3 -I -S inside.py ORDERS PROGRAM [ARGUMENT ...]

ORDERS is JSON: {"uid": null, "folder": "/work", "limits": {"DATA": 1000}, "ready": 4, "gate": 5,
"places": {"/tmp": [BYTES, FILES]}, "may_fork": false}.

Run as a script by the system's Python, with the standard library alone. `uid` is who to become, or
null to stay. `ready` and `gate` are the descriptors of pipes: a byte goes out by the one when all
is prepared, and the program begins once one comes in by the other. `places` get a tmpfs each, so
large and with so many files: what else the program sees it can't write to. Nor can it make
namespaces of its own, in which it could mount another, nor without `may_fork` other processes,
which nobody would look at.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import signal
import struct
import sys

CALLS = {
    "x86_64": (
        0xC000003E,
        {"clone": 56, "fork": 57, "vfork": 58, "unshare": 272, "setns": 308, "clone3": 435},
    ),
    "aarch64": (0xC00000B7, {"clone": 220, "unshare": 97, "setns": 268, "clone3": 435}),
}
"""The kernel's number of each architecture, and there of the system calls that are filtered.

From <linux/audit.h> and <asm/unistd.h>.
"""

CLONE_THREAD, CLONE_NEWNS, CLONE_NEWUSER = 0x10000, 0x20000, 0x10000000
MS_NOSUID, MS_NODEV = 2, 4
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 22, 38, 47
CAPABILITY_VERSION_3 = 0x20080522
SECCOMP_MODE_FILTER, SECCOMP_ALLOW, SECCOMP_ERRNO, SECCOMP_KILL = 2, 0x7FFF0000, 0x50000, 1 << 31
LOAD_WORD, JUMP_EQUAL, JUMP_IF_FROM, JUMP_IF_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
FIRST_X32_NUMBER = 0x40000000
NUMBER_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT = 0, 4, 16

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Do it; ends with 125 where something is refused."""
    orders, command = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        mount_places(orders["places"])
        if orders["uid"] is not None:
            os.setgroups([])
            os.setresgid(orders["uid"], orders["uid"], orders["uid"])
            os.setresuid(orders["uid"], orders["uid"], orders["uid"])
        drop_capabilities()
        os.chdir(orders["folder"])
        for name, limit in orders["limits"].items():
            # At the first limit of processor time comes SIGXCPU, which tells; at the last SIGKILL.
            last = limit + 1 if name == "CPU" else limit
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, last))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        forbid_calls(orders["may_fork"])
        os.write(orders["ready"], b"+")
        os.close(orders["ready"])
        if not os.read(orders["gate"], 1):
            sys.exit("the one who started the sandbox is gone")
        os.close(orders["gate"])
        os.execv(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(125)


def mount_places(places: dict[str, tuple[int, int]]) -> None:
    """Mount a tmpfs of so many bytes and files on each place; raises `OSError`."""
    require(libc.unshare(CLONE_NEWNS))
    for place, (size_bytes, files) in places.items():
        options = f"size={size_bytes},nr_inodes={files},mode=1777".encode()
        require(libc.mount(b"tmpfs", place.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, options))


def drop_capabilities() -> None:
    """Give up what the mounts needed, for ever; raises `OSError`."""
    require(libc.prctl(PR_CAP_AMBIENT, 4, 0, 0, 0))  # PR_CAP_AMBIENT_CLEAR_ALL
    header, none = struct.pack("Ii", CAPABILITY_VERSION_3, 0), bytes(6 * 4)
    require(libc.capset(header, none))
    require(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def forbid_calls(may_fork: bool) -> None:
    """Have the kernel refuse this process namespaces, and processes unless `may_fork`.

    So for good, and for all that it starts. clone3 takes its flags from memory, where no filter can
    read them: without it, libraries use clone. Who uses the numbers of another instruction set is
    killed. Raises `OSError`.
    """
    if platform.machine() not in CALLS:
        raise OSError(errno.ENOSYS, f"no filter of system calls for {platform.machine()}")
    architecture, numbers = CALLS[platform.machine()]
    refused = {"clone3": errno.ENOSYS, "unshare": errno.EPERM, "setns": errno.EPERM}
    if not may_fork:
        refused |= {"fork": errno.EPERM, "vfork": errno.EPERM}
    lines = [
        (LOAD_WORD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, SECCOMP_KILL),
        (LOAD_WORD, 0, 0, NUMBER_AT),
        (JUMP_IF_FROM, 0, 1, FIRST_X32_NUMBER),
        (RETURN, 0, 0, SECCOMP_ERRNO | errno.ENOSYS),
    ]
    for name, error in refused.items():
        if name in numbers:
            lines += [(JUMP_EQUAL, 0, 1, numbers[name]), (RETURN, 0, 0, SECCOMP_ERRNO | error)]
    lines += [
        (JUMP_EQUAL, 1, 0, numbers["clone"]),
        (RETURN, 0, 0, SECCOMP_ALLOW),
        (LOAD_WORD, 0, 0, FIRST_ARGUMENT_AT),
        (JUMP_IF_ANY_BIT, 0, 1, CLONE_NEWUSER)
        if may_fork
        else (JUMP_IF_ANY_BIT, 1, 0, CLONE_THREAD),
        (RETURN, 0, 0, SECCOMP_ERRNO | errno.EPERM),
        (RETURN, 0, 0, SECCOMP_ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    described = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(program))
    require(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0))


def require(result: int) -> None:
    """Raise the `OSError` of a call into libc that has failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
