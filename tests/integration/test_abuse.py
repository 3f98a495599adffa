"""The service holds under abuse and gives back what it took; the target is never harmed.

Every test ends with a census: the service is the same process, holds what it held, and has left
nothing behind. `./lab test --soak` runs the long forms.
"""

import contextlib
import os
import pwd
import random
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from abuse import (
    TRACING,
    Puppet,
    as_user,
    connect_as,
    converse,
    frame,
    openings,
    read_refusal,
    session_endings,
    session_messages,
    trace_requests,
)
from census import await_return, read_census, read_changed_code
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from targets import end_busy, held, held_with_pid
from workload import build_workload, trace_to_the_end

from lablib.errors import TargetError, TracerError
from lablib.symbols import ProcessSymbols
from lablib.tracing import client, protocol
from lablib.tracing.client import Tracer
from lablib.tracing.permission import Target
from lablib.tracing.service import MAX_SESSIONS, MAX_SESSIONS_PER_USER, SET_UP_TIMEOUT_S

NOBODY = pwd.getpwnam("nobody").pw_uid


@dataclass(frozen=True)
class Effort:
    """How much of everything; a session costs the kernel seconds, most of them at its end."""

    cycles: int
    sessions_per_user: int
    delays_s: tuple[float, ...]
    target_delays_s: tuple[float, ...]
    openings: int
    trace_requests: int
    messages: int
    examples_per_proof: int


SHORT = Effort(
    cycles=25,
    sessions_per_user=25,
    delays_s=(0.0, 0.1),
    target_delays_s=tuple(i / 40 for i in range(16)),
    openings=600,
    trace_requests=2,
    messages=3_000,
    examples_per_proof=300,
)
SOAK = Effort(
    cycles=1000,
    sessions_per_user=25,
    delays_s=tuple(i / 100 for i in range(40)),
    target_delays_s=tuple(i / 400 for i in range(400)),
    openings=100_000,
    trace_requests=200,
    messages=900_000,
    examples_per_proof=3_000,
)
"""A million requests, of which a hundred thousand on connections of their own: about an hour."""


@pytest.fixture(scope="module")
def programs():
    """The folder of the programs to trace, where every user may run them."""
    with tempfile.TemporaryDirectory(prefix="lab-abuse-") as folder:
        Path(folder).chmod(0o755)
        for name in ("busy", "big_malloc", "many_stacks", "numbered"):
            build_workload(name, Path(folder))
        yield Path(folder)


@pytest.fixture(autouse=True)
def service(root, tracer_service, programs):
    """The service's process id; after the test the same process holds what it held before."""
    pid = client.read_status()["pid"]
    await_end_of_sessions(pid)
    before = read_census(pid)
    yield pid
    assert client.read_status()["pid"] == pid
    assert await_return(pid, before) == ""


@pytest.fixture
def effort(request):
    return SOAK if request.config.getoption("--soak") else SHORT


@pytest.fixture
def victims(programs):
    """By user: a process that waits to be traced, and outlives whatever is done to it."""
    with contextlib.ExitStack() as stack:
        yield {uid: stack.enter_context(held(programs / "busy", uid)).pid for uid in (0, NOBODY)}


def await_end_of_sessions(service_pid, but=0):
    """Wait until those that have ended are gone: the kernel takes seconds for each, one by one."""
    deadline = time.monotonic() + 900
    while len(psutil.Process(service_pid).children()) > but and time.monotonic() < deadline:
        time.sleep(0.05)


def check_is_big_malloc(last):
    """Ten blocks of 1 MiB, and nothing missed."""
    assert (last.live_bytes, last.live_blocks, last.events.missed) == (10 << 20, 10, 0)


def check_exactness(programs):
    check_is_big_malloc(trace_to_the_end(programs / "big_malloc"))


def trace_request(pid, operation="trace_heap"):
    return {"operation": operation, "pid": pid}


def test_a_busy_program_is_traced_over_and_over_and_never_notices(service, programs, effort):
    with held(programs / "busy") as process:
        process.send_signal(signal.SIGUSR1)
        for cycle in range(effort.cycles):
            await_end_of_sessions(service, but=8)
            with connect_as(0) as connection:
                request = trace_request(process.pid, TRACING[cycle // 4 % len(TRACING)])
                assert "opened_ns" in converse(connection, frame(request), 1)[0]
                if cycle % 4 == 1:
                    converse(connection, frame({"operation": "snapshot"}), 1)
                elif cycle % 4 == 2:
                    converse(connection, frame({"operation": "stop"}), 1)
                elif cycle % 4 == 3:
                    for session in psutil.Process(service).children():
                        with contextlib.suppress(psutil.NoSuchProcess):
                            session.kill()
        end_busy(process)


def test_a_client_killed_before_its_request_leaves_nothing():
    whole = frame({"operation": "status"})
    for begun in (b"", whole[:3], whole[:8], whole[:-4]):
        with Puppet() as puppet:
            puppet.send(begun)
            puppet.kill()


def test_a_client_killed_while_it_is_being_attached_leaves_nothing(service, victims, effort):
    for delay_s in effort.delays_s:
        await_end_of_sessions(service, but=8)
        with Puppet() as puppet:
            puppet.send(frame(trace_request(victims[0])))
            time.sleep(delay_s)
            puppet.kill()


def test_a_target_killed_while_it_is_being_attached_leaves_nothing(service, programs, effort):
    for delay_s in effort.target_delays_s:
        await_end_of_sessions(service, but=8)
        with held(programs / "busy") as process, connect_as(0) as connection:
            connection.sendall(frame(trace_request(process.pid)))
            time.sleep(delay_s)
            process.kill()
            process.wait()
            for answer in converse(connection, b"", 1):
                check_answer(answer)


def test_a_client_killed_in_its_session_leaves_nothing(victims):
    for asks in (None, "snapshot", "stop"):
        with Puppet() as puppet:
            puppet.send(frame(trace_request(victims[0])))
            assert "opened_ns" in puppet.receive()
            if asks is not None:
                puppet.send(frame({"operation": asks}))
            if asks == "stop":
                assert "counters" in puppet.receive()
            puppet.kill()


def test_a_client_that_does_not_read_a_large_reply_holds_nobody_up(service, programs):
    with held(programs / "many_stacks") as process, Puppet() as puppet:
        puppet.send(frame(trace_request(process.pid)))
        puppet.receive()
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) == 0
        puppet.send(frame({"operation": "snapshot"}))
        puppet.read(1000)
        started_s = time.monotonic()
        assert client.read_status()["pid"] == service
        assert time.monotonic() - started_s < 5
        check_exactness(programs)
        puppet.kill()


def test_a_client_killed_while_memleak_runs_takes_it_along(service, victims):
    with Puppet() as puppet:
        puppet.send(frame({"operation": "run_memleak", "pid": victims[0], "seconds": 30}))
        deadline = time.monotonic() + 30
        while not read_changed_code(victims[0]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert read_changed_code(victims[0])
        puppet.kill()


def test_a_request_that_is_none_is_answered_with_a_sentence():
    limit = protocol.MAX_REQUEST_BYTES
    for data, sentence in (
        (b"\xff" * 8, "longer than any"),
        (frame({"operation": "x" * limit}), "longer than any"),
        (frame({"operation": "status"}, payload_bytes=1 << 31), "longer than any"),
        (frame({"operation": "x" * (limit - 20)}), "does not know"),
        (frame({"operation": "status"})[:-1], "in the middle of a message"),
        (frame(["status"]), "not a JSON object"),
        (frame({})[:8] + b"{]", "not JSON"),
    ):
        with connect_as(NOBODY) as connection:
            assert sentence in read_refusal(converse(connection, data)[0])


@pytest.mark.alone
def test_of_a_hundred_sessions_of_four_users_each_is_exact_or_refused_with_a_sentence(
    service, programs, effort, monkeypatch
):
    monkeypatch.setattr(client, "BUSY_TIMEOUT_S", 0)  # none of them will end soon
    users = range(NOBODY - 3, NOBODY + 1)
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(held(programs / "big_malloc", uid)) for uid in users]
        tracers, refusals = [], []
        for uid, target in zip(users, targets, strict=True):
            symbols = stack.enter_context(contextlib.closing(ProcessSymbols(target.pid)))
            for _ in range(effort.sessions_per_user):
                with as_user(uid):
                    try:
                        tracers.append(stack.enter_context(Tracer(target.pid, symbols)))
                    except TracerError as refusal:
                        refusals.append(str(refusal))
        for target in targets:
            target.send_signal(signal.SIGUSR1)
        assert [target.wait(60) for target in targets] == [0] * len(targets)
        for tracer in tracers:
            check_is_big_malloc(tracer.stop())
    served = min(effort.sessions_per_user, MAX_SESSIONS_PER_USER)
    assert len(tracers) == served * len(users)
    assert all("busy" in refusal and "end some of them" in refusal for refusal in refusals)
    await_end_of_sessions(service)


def test_a_user_gets_a_share_of_the_sessions_and_a_sentence_beyond_it(service):
    users = range(NOBODY - MAX_SESSIONS // MAX_SESSIONS_PER_USER + 1, NOBODY + 1)
    with contextlib.ExitStack() as stack:
        for uid in users:
            for _ in range(MAX_SESSIONS_PER_USER):
                stack.enter_context(connect_as(uid))
            with connect_as(uid) as connection:
                said = read_refusal(converse(connection, frame({"operation": "status"}))[0])
                assert f": {MAX_SESSIONS_PER_USER} sessions are yours" in said
        with connect_as(0) as connection:
            said = read_refusal(converse(connection, frame({"operation": "status"}))[0])
            assert f"{MAX_SESSIONS} are open in all" in said
    await_end_of_sessions(service)


def test_nobody_reaches_a_process_of_somebody_else(victims):
    for pid in (victims[0], os.getpid(), 1):
        for operation in (*TRACING, "run_memleak", "stop_service"):
            with connect_as(NOBODY) as connection:
                answer = converse(connection, frame({"operation": operation, "pid": pid}))[0]
                assert answer["error"]["kind"] in ("TargetError", "TracerError")


def test_a_reused_process_id_is_not_taken_for_the_process_that_had_it(programs):
    program = programs / "big_malloc"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(held(program))
        symbols = stack.enter_context(contextlib.closing(ProcessSymbols(first.pid)))
        tracer = stack.enter_context(Tracer(first.pid, symbols))
        target = stack.enter_context(contextlib.closing(Target(first.pid, caller_uid=0)))
        first.kill()
        first.wait()
        second = stack.enter_context(held_with_pid(program, programs / "numbered", first.pid))
        with pytest.raises(TargetError, match="ended before"):
            target.check()
        second.send_signal(signal.SIGUSR1)
        assert second.wait(60) == 0
        last = tracer.stop()
        assert (last.live_bytes, last.events.allocations, last.is_running) == (0, 0, False)


def test_a_client_that_does_not_say_what_it_wants_is_let_go(service, effort):
    with connect_as(NOBODY) as silent, connect_as(NOBODY) as stuttering:
        stuttering.sendall(frame({})[:3])
        if effort is SHORT:  # its own alarm comes after 20 seconds
            while len(psutil.Process(service).children()) < 2:
                time.sleep(0.05)
            time.sleep(0.5)
            for session in psutil.Process(service).children():
                session.send_signal(signal.SIGALRM)
        for connection in (silent, stuttering):
            connection.settimeout(SET_UP_TIMEOUT_S + 10)
            assert connection.recv(1) == b""


def run_examples(number, strategy, check):
    """Have hypothesis check so many examples, other ones each time."""
    settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )(given(strategy)(check))()


def check_answer(answer):
    """An answer is a record; an error in it has its sentence, and is none of the service's own."""
    assert isinstance(answer, dict)
    if "error" in answer:
        said = read_refusal(answer)
        assert said
        assert "error of its own" not in said
        assert "that can't be read" not in said


def test_fuzzed_openings_are_all_answered(service, programs, victims, effort):
    def check(opening):
        uid, data = opening
        with connect_as(uid) as connection:
            answers = converse(connection, data)
        assert bool(answers) == bool(data)
        for answer in answers:
            check_answer(answer)
            assert "error" in answer or "fingerprint" in answer
        # Only after its status may more be asked on the same connection.
        assert all("fingerprint" in answer for answer in answers[:-1])

    for _ in range(0, effort.openings, effort.examples_per_proof):
        for uid in victims:
            data = openings(uid, victims[0])
            run_examples(effort.examples_per_proof // 2, st.tuples(st.just(uid), data), check)
        assert client.read_status()["pid"] == service
        check_exactness(programs)


def test_fuzzed_options_and_unwind_tables_are_taken_or_refused(service, programs, effort):
    with held(programs / "busy", NOBODY) as process:

        def check(request):
            await_end_of_sessions(service, but=8)
            with connect_as(NOBODY) as connection:
                check_answer(converse(connection, request, 1)[0])
                for answer in converse(connection, frame({"operation": "stop"}), 1):
                    check_answer(answer)

        process.send_signal(signal.SIGUSR1)
        run_examples(effort.trace_requests, trace_requests(process.pid), check)
        end_busy(process)


def test_fuzzed_messages_in_a_session_are_all_answered(service, programs, victims, effort):
    answered = 0

    def check(conversation):
        nonlocal answered
        connection, messages = conversation
        answers = converse(connection, b"".join(messages), len(messages))
        assert len(answers) == len(messages)
        answered += len(answers)
        for answer in answers:
            check_answer(answer)

    many = st.lists(session_messages, min_size=10, max_size=50)
    while answered < effort.messages:
        for uid, pid in victims.items():
            with connect_as(uid) as connection:
                assert "opened_ns" in converse(connection, frame(trace_request(pid)), 1)[0]
                in_session = st.tuples(st.just(connection), many)
                run_examples(effort.examples_per_proof // 4, in_session, check)
                check((connection, [random.choice(session_endings)]))
        assert client.read_status()["pid"] == service
        check_exactness(programs)
