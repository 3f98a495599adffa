"""The tracer service: the one part of the lab that runs as root.

It listens on a unix socket and gives each connection a process of its own. That process checks who
is asking, does what one session needs, and ends with the connection; the kernel then removes its
probes and maps. A crash in one session is that session's alone.

Runs in the system's Python with the distribution's bcc and capstone, and nothing from PyPI.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from lablib.errors import LabError, TracerBusyError, TracerError
from lablib.language import term
from lablib.tracing import holdings, protocol
from lablib.tracing.group_session import serve_group
from lablib.tracing.heap_program import HEAP_FUNCTIONS
from lablib.tracing.kernel import enter_private_mounts
from lablib.tracing.memleak import run_memleak
from lablib.tracing.memory_program import MEMORY_FUNCTIONS
from lablib.tracing.memory_session import MemoryOptions, MemorySession
from lablib.tracing.permission import Target, read_peer_uid
from lablib.tracing.pressure_program import PRESSURE_FUNCTIONS, read_event_offsets
from lablib.tracing.pressure_session import PressureSession
from lablib.tracing.program import TracerProgram, compile_tracer
from lablib.tracing.session import HeapSession, SessionOptions
from lablib.wording import os_reason

MAX_SESSIONS = 60
"""How many connections may be open at once; one more is refused with a sentence.

The kernel takes 64 programs on one tracepoint, from all who trace on the machine together.
"""

MAX_SESSIONS_PER_USER = 15

FREE_FOR_ALL_BLOCKS = 1 << 22
"""How many blocks anybody may ask room for: the kernel sets 16 bytes aside for each."""

FREE_FOR_ALL_FAULTS = 1 << 18
"""For how many different faults anybody may ask room: the kernel sets 96 bytes aside for each."""

SET_UP_TIMEOUT_S = 20
"""How long a connection may take to say what it wants; then its process is ended."""

ATTACH_TIMEOUT_S = 120
"""How long it may take to give it that, on however busy a machine; then its process is ended."""

TEND_INTERVAL_S = 0.05
"""How often a session looks after what the kernel reports, between its client's requests."""

_PR_SET_PDEATHSIG = 1


class Service:
    """The listening socket, and the processes that serve its connections."""

    def __init__(self, path: Path, owner_uid: int, program: TracerProgram) -> None:
        """Listen on `path`; `owner_uid` is the user who had the service started."""
        self._program = program
        self._path = path
        self._owner_uid = owner_uid
        self._uid_by_worker: dict[int, int] = {}
        self._is_stopping = False
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o666)  # everybody may ask; who may trace what is decided per request
        self._listener.listen(64)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then end every session and remove socket and log."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        while not self._is_stopping:
            ready, _, _ = select.select([self._listener], [], [], 0.5)
            self._reap_workers()
            if ready and not self._is_stopping:
                self._accept()
        self._end_all_workers()
        self._listener.close()
        self._path.unlink(missing_ok=True)
        if self._path.parent == protocol.RUN_DIR:
            self._path.with_suffix(".log").unlink(missing_ok=True)
            self._path.with_suffix(".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._path.parent.rmdir()  # unless the lab's engine still lives there

    def _stop(self, *_: object) -> None:
        self._is_stopping = True

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # the client went away again, or we are out of descriptors: serve the next
        with connection:
            uid = read_peer_uid(connection)
            refusal = self._find_refusal(uid)
            if refusal is not None:
                _send_error(connection, refusal)
                return
            try:
                worker = os.fork()
            except OSError as error:
                _send_error(
                    connection,
                    TracerError(
                        term("no process to serve you ({reason})", reason=os_reason(error))
                    ),
                )
                return
            if worker == 0:
                self._become_worker(connection, uid)
            self._uid_by_worker[worker] = uid

    def _find_refusal(self, uid: int) -> TracerError | None:
        own = sum(1 for other in self._uid_by_worker.values() if other == uid)
        if len(self._uid_by_worker) >= MAX_SESSIONS or own >= MAX_SESSIONS_PER_USER:
            return TracerBusyError(
                term(
                    "the tracer service is busy: {own} sessions are yours, {total} are open in all",
                    own=own,
                    total=len(self._uid_by_worker),
                ),
                term("end some of them and try again"),
            )
        return None

    def _become_worker(self, connection: socket.socket, uid: int) -> None:
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SET_UP_TIMEOUT_S)
            self._listener.close()
            serve_connection(connection, uid, self._owner_uid, self._program)
            status = 0
        except (BrokenPipeError, ConnectionResetError):
            status = 0  # the client is gone, and with it this session
        except Exception as error:  # nobody above can tell of it
            print(f"session of user {uid}: {type(error).__name__}: {error}", file=sys.stderr)
            _send_error(connection, TracerError(term("the tracer service met an error of its own")))
        finally:
            os._exit(status)

    def _reap_workers(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._uid_by_worker.pop(pid, None)
                if os.WIFSIGNALED(status):  # it had no chance to tidy up
                    sweep_up()

    def _end_all_workers(self) -> None:
        for worker in self._uid_by_worker:
            os.kill(worker, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while self._uid_by_worker and time.monotonic() < deadline:
            self._reap_workers()
            time.sleep(0.02)


def sweep_up() -> None:
    """Remove what killed sessions have left on the machine, and say so in the log."""
    try:
        removed = holdings.sweep()
    except OSError as error:
        removed = [f"what killed sessions have left can't be removed: {error}"]
    for line in removed:
        print(f"swept up: {line}", file=sys.stderr, flush=True)


def serve_connection(
    connection: socket.socket, caller_uid: int, owner_uid: int, program: TracerProgram
) -> None:
    """Serve one client from its first request to its last; errors go to the client as records."""
    try:
        limit = protocol.MAX_UNWIND_BYTES
        while message := protocol.receive(connection, max_payload_bytes=limit):
            if message[0].get("operation") != "status":
                signal.alarm(ATTACH_TIMEOUT_S)
                _serve_request(connection, message, caller_uid, owner_uid, program)
                return
            protocol.send(connection, _describe_service(owner_uid))
    except LabError as error:
        _send_error(connection, error)


def _serve_request(
    connection: socket.socket,
    message: protocol.Message,
    caller_uid: int,
    owner_uid: int,
    program: TracerProgram,
) -> None:
    request, payload = message
    operation = request.get("operation")
    if operation == "stop_service":
        _require_owner(caller_uid, owner_uid, term("stop the tracer service"))
        os.kill(os.getppid(), signal.SIGTERM)
        protocol.send(connection, {})
    elif operation == "trace_heap":
        options = SessionOptions.parse(request)
        if options.follows_forks:
            _require_owner(
                caller_uid,
                owner_uid,
                term("follow forks, which slows all that use the same C library"),
            )
        if (options.max_blocks or 0) > FREE_FOR_ALL_BLOCKS:
            _require_owner(
                caller_uid,
                owner_uid,
                term("ask for room for more than {count:,} blocks", count=FREE_FOR_ALL_BLOCKS),
            )
        with contextlib.closing(Target(protocol.read_pid(request), caller_uid)) as target:
            _serve_session(connection, HeapSession(program, target, options, payload))
    elif operation == "trace_memory":
        memory_options = MemoryOptions.parse(request)
        if memory_options.max_faults > FREE_FOR_ALL_FAULTS:
            _require_owner(
                caller_uid,
                owner_uid,
                term("ask for room for more than {count:,} faults", count=FREE_FOR_ALL_FAULTS),
            )
        with contextlib.closing(Target(protocol.read_pid(request), caller_uid)) as target:
            _serve_session(connection, MemorySession(program, target, memory_options, payload))
    elif operation == "trace_pressure":
        _serve_session(connection, PressureSession(program, caller_uid, request))
    elif operation == "make_group":
        serve_group(connection, caller_uid, request)
    elif operation == "run_memleak":
        _require_owner(
            caller_uid,
            owner_uid,
            term("run memleak, which reads a program's symbols with root's rights"),
        )
        signal.alarm(0)  # memleak has its own time limit
        with contextlib.closing(Target(protocol.read_pid(request), caller_uid)) as target:
            protocol.send(connection, run_memleak(connection, target, request))
    else:
        raise TracerError(term("the tracer service does not know this request"))


def _serve_session(
    connection: socket.socket, session: HeapSession | MemorySession | PressureSession
) -> None:
    signal.alarm(0)  # attached in time
    protocol.send(connection, session.description)
    while True:
        while not select.select([connection], [], [], TEND_INTERVAL_S)[0]:
            session.tend()
        message = protocol.receive(connection)
        if message is None:
            return
        operation = message[0].get("operation")
        protocol.send(connection, *session.answer(operation))
        if operation == "stop":
            return


def _describe_service(owner_uid: int) -> dict[str, Any]:
    return {
        "fingerprint": FINGERPRINT,
        "pid": os.getppid(),
        "owner_uid": owner_uid,
        "kernel": os.uname().release,
    }


def _require_owner(caller_uid: int, owner_uid: int, what: str) -> None:
    if caller_uid not in (0, owner_uid):
        raise TracerError(
            term(
                "only root and the user who started the tracer service (id {owner}) may {what}",
                owner=owner_uid,
                what=what,
            ),
            term("ask them"),
        )


def _send_error(connection: socket.socket, error: LabError) -> None:
    with contextlib.suppress(OSError):
        protocol.send(connection, {"error": protocol.describe_error(error)})


FINGERPRINT = protocol.service_fingerprint()
"""Of the code that this process runs, read when it started."""


def main() -> None:
    """Run the service in the foreground; `./lab tracer start` puts it in the background."""
    parser = argparse.ArgumentParser(prog="lab-tracer", description="the lab's tracer service")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--owner-uid", type=int, required=True)
    options = parser.parse_args()
    os.environ.pop("LAB_LANG", None)  # it has one language: its clients say what it tells
    try:
        if os.geteuid() != 0:
            raise TracerError(
                term("the tracer service must run as root"), term("run: ./lab tracer start")
            )
        lock = options.socket.with_suffix(".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # another one serves here already, or is about to
        enter_private_mounts()
        sweep_up()
        program = compile_tracer(
            [*HEAP_FUNCTIONS, *MEMORY_FUNCTIONS, *PRESSURE_FUNCTIONS], read_event_offsets()
        )
        Service(options.socket, options.owner_uid, program).run()
    except LabError as error:
        sys.exit(f"lab-tracer: {error}")
    except Exception as error:  # the one who started us reads the last line of our log
        sys.exit(f"lab-tracer: {type(error).__name__}: {error}")
