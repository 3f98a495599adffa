"""A process that holds a program still for a moment, for a notebook's kernel.

The kernel itself has threads, which a fork would leave behind half-way: so this one, a fresh
interpreter, does the forking. It is asked by a socket, in the words of the tracer service: "hold"
and "resume".
"""

from __future__ import annotations

import os
import socket
import sys
import time

from lablib.errors import TargetError
from lablib.language import term
from lablib.preload.layout import CLOCK_OF_BIRTHS
from lablib.tracing import protocol
from lablib.tracing.holder import Holder
from lablib.wording import os_reason


def main() -> None:
    """Answer until the other end of the socket is closed; what is held then goes on.

    The script's arguments are the socket's descriptor and the program's process id.
    """
    descriptor, pid = (int(word) for word in sys.argv[1:])
    connection = socket.socket(fileno=descriptor)
    while (message := protocol.receive(connection)) is not None:
        if message[0]["operation"] != "hold":
            protocol.send(connection, {"held_s": None})
        elif not _hold(connection, pid):
            break


def _hold(connection: socket.socket, pid: int) -> bool:
    """Hold the program until there is another request; False if there is none."""
    try:
        holder = Holder(pid)
    except TargetError as error:
        protocol.send(connection, {"refusal": protocol.describe_error(error)})
        return True
    held_s = None
    try:
        # Births are told by this clock, which goes by steps: none from now on is earlier.
        now_ns = time.clock_gettime_ns(CLOCK_OF_BIRTHS)
        threads = [(t.thread, t.stack_pointer, len(t.registers)) for t in holder.threads]
        registers = b"".join(each.registers for each in holder.threads)
        try:
            memory = os.open(f"/proc/{pid}/task/{threads[0][0]}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            refusal = TargetError(
                term(
                    "the memory of process {pid} can't be read ({reason})",
                    pid=pid,
                    reason=os_reason(error),
                )
            )
            protocol.send(connection, {"refusal": protocol.describe_error(refusal)})
            return True
        try:
            header = {"now_ns": now_ns, "threads": threads}
            protocol.send(connection, header, registers, memory)
        finally:
            os.close(memory)
        if protocol.receive(connection) is None:
            return False
    finally:
        held_s = holder.release()
    protocol.send(connection, {"held_s": held_s})
    return True
